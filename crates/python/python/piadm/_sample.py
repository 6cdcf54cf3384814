"""The calls: one run, many runs of one shape."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Optional, Sequence, Tuple, Union

import numpy as np

from . import _piadm, _specs
from ._errors import InputError
from ._network import takes_rows
from ._progress import Progress

Network = Callable[..., Any]


class Request:
    """What is asked for, as the native part reads it."""

    def __init__(
        self,
        network: Network,
        *,
        schedule: _specs.Spec,
        grid: Any,
        shape: Union[int, Sequence[int]],
        prediction: str,
        scheme: _specs.Spec = "exponential",
        sampler: _specs.Spec = "automatic",
        samples: Optional[int] = None,
        ids: Optional[Sequence[int]] = None,
        seed: int = 0,
        dtype: Any = "float32",
        init: Any = None,
        init_at: Optional[Tuple[int, Any]] = None,
        data_at: Optional[Tuple[int, Any]] = None,
        noise: Any = None,
        guesses: Optional[Tuple[Sequence[int], Any]] = None,
        save: Union[None, str, Sequence[int]] = None,
        max_rows: Optional[int] = None,
        time_range: Optional[Tuple[float, float]] = None,
    ) -> None:
        if not callable(network):
            raise TypeError(f"the network is no callable but a {type(network).__name__}")
        name = np.dtype(dtype).name
        if name not in ("float32", "float64"):
            raise InputError(f"dtype = {name}: expected float32 or float64")
        self.schedule, self.scheme, self.sampler = map(_specs.text, (schedule, scheme, sampler))
        self.grid, self.prediction = _specs.grid_text(grid), prediction
        self.shape = [int(n) for n in np.atleast_1d(shape)]
        self.samples, self.ids, self.seed = samples, None if ids is None else [int(i) for i in ids], seed
        self.double, self.takes_rows = name == "float64", takes_rows(network)
        self.max_rows, self.time_range = max_rows, time_range
        self.save_all = isinstance(save, str) and save == "all"
        if isinstance(save, str) and not self.save_all:
            raise InputError(f'save = "{save}": expected "all" or a list of steps')
        self.save_steps = [] if save is None or self.save_all else [int(step) for step in save]
        if init is not None and init_at is not None:
            raise InputError("init does not go with init_at: give one of them")
        start = (0, init) if init is not None else init_at
        self.init = None if start is None else (start[0], self.rows("init", start[1]))
        self.data = None if data_at is None else (data_at[0], self.rows("data_at", data_at[1]))
        self.noise = None if noise is None else self.rows("noise", noise, leading=2)
        self.guesses = None if guesses is None else (list(guesses[0]), self.rows("guesses", guesses[1], leading=2))

    def rows(self, what: str, array: Any, leading: int = 1) -> np.ndarray:
        """An array [.., *shape] with flat samples and the request's dtype."""
        array = np.asarray(array)
        if list(array.shape[leading:]) != self.shape or array.ndim < leading:
            axes = ["samples"] if leading == 1 else ["steps", "samples"]
            expected = ", ".join(axes + [str(n) for n in self.shape])
            raise InputError(f"{what} has shape {list(array.shape)}, expected [{expected}]")
        flat = array.reshape(*array.shape[:leading], int(np.prod(self.shape)))
        return np.ascontiguousarray(flat, dtype="float64" if self.double else "float32")


def sample(network: Network, *, progress: Any = None, **settings: Any) -> _piadm.Solution:
    """Samples a diffusion model in parallel over time.

    network     called as network(x, t), or network(x, t, rows=rows) if it has a parameter named rows. x is an array
                [rows, *shape], t [rows] in float64: every row has its own time. Returns an array of x's shape, or
                anything with __array__ or __dlpack__.
    schedule    a name ("ou", "edm", "flow", "ve", "vp_linear", "vp_cosine", "discrete"), or see Schedule
    grid        see Grid, or a sequence of decreasing times
    shape       the axes of a sample: (3, 64, 64)
    prediction  what the network answers: "noise", "data", "score", "velocity" or "flow"
    scheme      "ddim", "ddim(eta=0.5)", "ddpm", "dpm_solver_pp_2m", "heun", ... or see Scheme; by default the reverse SDE
    sampler     "automatic" (measures the network and decides), "picard", "law", "sequential", "piadm", ...; or see Picard
    samples     how many; by default as many as ids or states to start from, or one
    ids, seed   a sample's noise depends on seed and id alone; ids are 0, 1, ... by default
    dtype       of the states: float32 or float64
    init        states to start from [samples, *shape]; init_at = (step, states) starts at a later step of the grid
    data_at     (step, data): start at a step from data with noise added, as in image to image
    noise       the normals of every step, [steps, samples, *shape]
    guesses     (steps, states [steps, samples, *shape]): first guesses, such as the trajectory of an earlier run
    save        "all" or a list of steps: the states that solution.trajectory has
    max_rows    the most rows of a call
    time_range  the times (smallest, largest) on which the network was trained
    progress    True for a bar, or a callable that is told about every Round; if it returns False, the run is cancelled

    Raises what the network or progress raised, as it is; KeyboardInterrupt within one round of Ctrl-C; InputError
    (a ValueError) for what cannot be; SamplingError (a RuntimeError) for a run that failed.
    """
    request = Request(network, **settings)
    with Progress(progress) as call:
        return _piadm.sample(network, request, call)


class Session:
    """A parallel sampler with its arrays, for many runs of one shape: settings as those of `sample`, where the sampler
    is one of fixed settings (Picard(..) by default), not "automatic" or "sequential"."""

    def __init__(self, network: Network, **settings: Any) -> None:
        self._network = network
        self._request = Request(network, **{"sampler": "picard", **settings})
        self._session = _piadm.Session(self._request)

    def run(self, *, seed: Optional[int] = None, init: Any = None, progress: Any = None) -> _piadm.Solution:
        """One run. `seed` draws other noise and other states to start from, `init` gives the latter; both stay for the
        runs that follow."""
        start = None if init is None else self._request.rows("init", init)
        with Progress(progress) as call:
            return self._session.run(self._network, seed, start, call)


# for help(): the settings of a request in place of **settings
_settings = [p for p in inspect.signature(Request).parameters.values() if p.kind is p.KEYWORD_ONLY]
for _function in (sample, Session):
    _own = inspect.signature(_function)
    _named = [p for p in _own.parameters.values() if p.kind is not p.VAR_KEYWORD]
    _function.__signature__ = _own.replace(parameters=[_named[0], *_settings, *_named[1:]])  # type: ignore


def times(schedule: _specs.Spec, grid: Any) -> np.ndarray:
    """The times of a grid on a schedule, from the noise to the data: one more than there are steps."""
    return _piadm.times(_specs.text(schedule), _specs.grid_text(grid))
