"""Schedules, grids, schemes and samplers as plain values: the words and the JSON that the crate reads.

Every function here returns a dictionary that can be printed, stored as JSON and passed in again. The crate reads and
checks it; nothing is parsed here.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Optional, Sequence, Tuple, Union

import numpy as np

Settings = Dict[str, Any]
Spec = Union[str, Settings]
Ends = Optional[Tuple[float, float]]


def text(spec: Any) -> str:
    """A spec as the crate reads it: a word, or JSON. Arrays become lists."""
    return spec if isinstance(spec, str) else json.dumps(spec, default=lambda value: np.asarray(value).tolist())


def grid_text(grid: Any) -> str:
    """The same for grids, where a sequence is a list of times."""
    return text(grid if isinstance(grid, (str, dict)) else Grid.times(grid))


def _given(**settings: Any) -> Settings:
    return {name: value for name, value in settings.items() if value is not None}


class Schedule:
    """Noise schedules: alpha and sigma of time. Those without settings may be given by name: "ou", "edm", "flow"."""

    @staticmethod
    def discrete(
        beta_schedule: str = "linear",
        num_train_timesteps: int = 1000,
        beta_start: Optional[float] = None,
        beta_end: Optional[float] = None,
    ) -> Settings:
        """A table of alphas_cumprod from betas, with the names of diffusers: "linear", "scaled_linear",
        "squaredcos_cap_v2" (without betas). Time is the index; -1 is the data. Default betas: 1e-4 to 0.02."""
        settings = _given(beta_schedule=beta_schedule, beta_start=beta_start, beta_end=beta_end)
        return {"kind": "discrete", "num_train_timesteps": num_train_timesteps, **settings}

    @staticmethod
    def alphas_cumprod(table: Any) -> Settings:
        """The table itself, decreasing."""
        return {"kind": "discrete", "alphas_cumprod": np.asarray(table, dtype=np.float64).tolist()}

    @staticmethod
    def vp_linear(beta_min: float = 0.1, beta_max: float = 20.0) -> Settings:
        """Variance preserving with a linear beta, time in [0, 1]."""
        return {"kind": "vp_linear", "beta_min": beta_min, "beta_max": beta_max}

    @staticmethod
    def vp_cosine(s: float = 0.008) -> Settings:
        """Variance preserving with a cosine, time in [0, 1]."""
        return {"kind": "vp_cosine", "s": s}


class Grid:
    """Time grids, from the noise to the data. `between` = (t_max, t_min) are the ends, by default those of the schedule;
    with `then_data` a further step goes to the data, sigma = 0."""

    @staticmethod
    def times(times: Sequence[float]) -> Settings:
        """These times, decreasing."""
        return {"kind": "times", "times": np.asarray(times, dtype=np.float64).tolist()}

    @staticmethod
    def uniform(steps: int, between: Ends = None, then_data: bool = False) -> Settings:
        """Equal steps in time."""
        return _free("uniform", between, then_data, steps=steps)

    @staticmethod
    def log_snr(steps: int, between: Ends = None, then_data: bool = False) -> Settings:
        """Equal steps in the log of the signal-to-noise ratio."""
        return _free("log_snr", between, then_data, steps=steps)

    @staticmethod
    def piadm(
        steps: Optional[int] = None,
        eps: Optional[float] = None,
        h: float = 1.0,
        between: Ends = None,
        then_data: bool = False,
    ) -> Settings:
        """The paper's: blocks of Ornstein-Uhlenbeck length `h`, in so many `steps` or in steps of eps min(1, t)."""
        return _free("piadm", between, then_data, steps=steps, eps=eps, h=h)

    @staticmethod
    def karras(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Settings:
        """Noise levels sigma/alpha as Karras et al. space them, from `sigma_max` to `sigma_min`."""
        return {"kind": "karras", "steps": steps, "sigma_min": sigma_min, "sigma_max": sigma_max, "rho": rho}

    @staticmethod
    def get_sigmas_karras(n: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Settings:
        """That of k-diffusion: n noise levels and then sigma = 0."""
        return {**Grid.karras(n, sigma_min, sigma_max, rho), "final_sigma_zero": True}

    @staticmethod
    def ddpm_timesteps(steps: int, spacing: str = "leading", steps_offset: int = 0) -> Settings:
        """The timesteps of diffusers' DDPMScheduler and DDIMScheduler and then the data; `spacing` is "leading",
        "trailing" or "linspace"."""
        offset = {"steps_offset": steps_offset} if spacing == "leading" else {}
        return {"kind": spacing, "steps": steps, "final_sigma_zero": True, **offset}

    @staticmethod
    def dpm_solver_timesteps(steps: int, spacing: str = "linspace", steps_offset: int = 0) -> Settings:
        """The timesteps of diffusers' DPMSolverMultistepScheduler and then the data."""
        if spacing == "trailing":
            return Grid.ddpm_timesteps(steps, spacing)
        named = {"leading": {"offset": steps_offset}} if spacing == "leading" else spacing
        return {"kind": "dpm_solver", "steps": steps, "spacing": named, "final_sigma_zero": True}

    @staticmethod
    def euler_timesteps(steps: int, spacing: str = "linspace", steps_offset: int = 0) -> Settings:
        """The noise levels of diffusers' EulerDiscreteScheduler and HeunDiscreteScheduler and then the data."""
        if spacing != "linspace":
            return Grid.ddpm_timesteps(steps, spacing, steps_offset)
        return {"kind": "euler", "steps": steps, "final_sigma_zero": True}


def _free(kind: str, between: Ends, then_data: bool, **settings: Any) -> Settings:
    ends = {} if between is None else {"t_max": between[0], "t_min": between[1]}
    return {"kind": kind, **_given(**settings), **ends, **({"then_data": True} if then_data else {})}


def Scheme(kind: str, **settings: Any) -> Settings:
    """A time-stepping scheme with settings: Scheme("ddim", eta=0.5) is "ddim(eta=0.5)"."""
    return {"kind": kind, **settings}


def Picard(window: Any = None, tolerance: Any = None, **settings: Any) -> Settings:
    """The parallel sampler with settings; what is left out takes the crate's default.

    `window` is a number of steps, or {"ou_time": h}, {"nodes": n}. `tolerance` is the estimated error of a sample in its
    own units (default 1e-2); 0 stands for the sequential bits; or a dictionary such as {"absolute": 1e-3}. Further
    settings have the names of the crate's JSON: policy, linearisation, entry, probes, row_budget, deadline, ...
    """
    if isinstance(tolerance, (int, float)) and not isinstance(tolerance, bool):
        tolerance = {} if tolerance == 0 else {"error": tolerance}
    return {"picard": _given(window=window, tolerance=tolerance, **settings)}


def Law(window: int = 64) -> Settings:
    """Samples with exactly the law of sequential ones, for stochastic schemes."""
    return {"law": {"window": window}}


def Automatic(tolerance: Any = None, **settings: Any) -> Settings:
    """Measures the network and takes sequential sampling or a window of `Picard`, whichever is faster. `settings`:
    max_window, probe_share, and base, the settings of Picard."""
    base = {**settings.pop("base", {}), **Picard(tolerance=tolerance)["picard"]}
    return {"automatic": {**settings, **({"base": base} if base else {})}}
