"""Problems as Python writes them: schedules, grids, starts, noise, seeds, odd inputs, sessions."""

import inspect
import json
import pathlib

import numpy as np
import piadm
import pytest

DISCRETE = piadm.Schedule.discrete("scaled_linear", 1000, 0.00085, 0.012)


def test_times_of_grids():
    def times(grid, schedule=DISCRETE):
        return piadm.times(schedule, grid).tolist()

    leading = piadm.Grid.ddpm_timesteps(4, "leading", steps_offset=1)
    assert times(leading) == [751, 501, 251, 1, -1]
    assert times(piadm.Grid.ddpm_timesteps(4, "trailing")) == [999, 749, 499, 249, -1]
    assert times(piadm.Grid.dpm_solver_timesteps(3)) == [999, 666, 333, -1]
    assert times(piadm.Grid.dpm_solver_timesteps(3, "leading", 1)) == times([751, 501, 251, -1])
    assert times(piadm.Grid.dpm_solver_timesteps(4, "trailing")) == times(piadm.Grid.ddpm_timesteps(4, "trailing"))
    euler = times(piadm.Grid.euler_timesteps(3))
    assert euler[0] == 999 and abs(euler[1] - 499.5) < 1e-3 and euler[2:] == [0, -1]
    assert times(piadm.Grid.euler_timesteps(4, "leading", 1)) == times(leading)
    karras = times(piadm.Grid.get_sigmas_karras(3, 0.002, 80.0), "edm")
    assert karras[0] == 80 and abs(karras[1] - 2.515) < 1e-3 and karras[2:] == [0.002, 0]
    assert times(piadm.Grid.karras(2, 0.002, 80.0), "edm") == karras[:3]
    assert times(piadm.Grid.uniform(4), "flow") == [1, 0.75, 0.5, 0.25, 0]
    assert times(piadm.Grid.uniform(2, between=(4.0, 1.0), then_data=True), "ou") == [4, 2.5, 1, 0]
    log_snr = piadm.times("edm", piadm.Grid.log_snr(3, between=(8.0, 1.0)))
    np.testing.assert_allclose(log_snr, [8, 4, 2, 1])
    paper = piadm.times("ou", piadm.Grid.piadm(eps=0.5, h=1.0, between=(3.0, 0.1)))
    assert paper[0] == 3 and (np.diff(paper) >= -0.5 - 1e-12).all()
    assert times(np.array([0.9, 0.5]), "flow") == [0.9, 0.5]
    assert times(json.dumps(leading)) == times(leading)


def test_schedules():
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    table = piadm.Schedule.alphas_cumprod(np.cumprod(1 - betas))
    settings = dict(grid=piadm.Grid.ddpm_timesteps(10), prediction="noise", scheme="ddim", shape=2, sampler="sequential")
    samples = [piadm.sample(lambda x, t: x, schedule=schedule, **settings).samples for schedule in (DISCRETE, table)]
    np.testing.assert_allclose(*samples, rtol=1e-5)
    for schedule, grid in [
        (piadm.Schedule.vp_linear(), piadm.Grid.uniform(5, between=(1.0, 0.01))),
        (piadm.Schedule.vp_cosine(), piadm.Grid.uniform(5, between=(0.9, 0.01))),
        ("ve", piadm.Grid.uniform(5, between=(4.0, 0.01))),
        ("edm", piadm.Grid.get_sigmas_karras(5, 0.002, 80)),
    ]:
        assert piadm.sample(lambda x, t: 0 * x, **{**settings, "schedule": schedule, "grid": grid}).report.steps == 5


def test_ddim_in_numpy():
    """All of a run against the paper's formula."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    table = np.append(np.cumprod(1 - betas), 1.0)  # index -1 is the data
    start = np.random.default_rng(0).normal(size=(2, 3))
    network = lambda x, t: np.sin(x + t[:, None] / 1000)  # noqa: E731
    grid = piadm.Grid.ddpm_timesteps(20, "trailing")
    settings = dict(schedule=DISCRETE, grid=grid, scheme="ddim", prediction="noise", shape=3, init=start, dtype="float64")
    x = start
    times = piadm.times(DISCRETE, grid).astype(int)
    for t, u in zip(times, times[1:]):
        noise = network(x, np.full(2, float(t)))
        data = (x - np.sqrt(1 - table[t]) * noise) / np.sqrt(table[t])
        x = np.sqrt(table[u]) * data + np.sqrt(1 - table[u]) * noise
    for sampler in ("sequential", piadm.Picard(tolerance=1e-9)):
        samples = piadm.sample(network, **settings, sampler=sampler).samples
        np.testing.assert_allclose(samples, x, rtol=1e-7, atol=1e-7)


def test_seeds_and_ids(problem):
    def run(**settings):
        return piadm.sample(lambda x, t: -x, **{**problem, "sampler": "sequential", **settings}).samples

    assert np.array_equal(run(seed=1), run(seed=1)) and not np.array_equal(run(seed=1), run(seed=2))
    assert np.array_equal(run(seed=1, samples=None, ids=[2]), run(seed=1)[2:])
    assert run(seed=2**64 - 1).shape == (3, 2, 4)
    assert np.array_equal(run(scheme="ddim"), run(scheme={"kind": "ddim"}))
    assert np.array_equal(run(scheme="ddim(eta=0.5)"), run(scheme=piadm.Scheme("ddim", eta=0.5)))


def test_given_starts_and_noise(problem):
    settings = {**problem, "sampler": "sequential", "save": "all"}
    network = lambda x, t: -x  # noqa: E731
    whole = piadm.sample(network, **settings)
    assert whole.trajectory.shape == (41, 3, 2, 4) and whole.trajectory_steps == list(range(41))
    assert np.array_equal(whole.trajectory[-1], whole.samples)
    again = piadm.sample(network, **settings, init=whole.trajectory[0].tolist())
    assert np.array_equal(again.samples, whole.samples)
    late = piadm.sample(network, **settings, init_at=(10, whole.trajectory[10]))
    assert late.report.rounds == 30 and np.array_equal(late.samples, whole.samples)
    noisy = piadm.sample(network, **{**settings, "save": [30]}, data_at=(30, np.ones((3, 2, 4))))
    assert noisy.report.rounds == 10 and noisy.trajectory.shape == (1, 3, 2, 4) and noisy.trajectory_steps == [30]
    noise = np.zeros((40, 3, 2, 4))
    quiet = piadm.sample(network, **settings, noise=noise, init=np.zeros((3, 2, 4)))
    assert not quiet.samples.any()
    guessed = piadm.sample(network, **problem, guesses=(whole.trajectory_steps, whole.trajectory))
    assert guessed.report.rounds == 1


def test_given_arrays_are_not_changed_nor_kept(problem):
    start = np.ones((3, 2, 4), np.float32)
    first = piadm.sample(lambda x, t: np.negative(x, out=x), **problem, init=start).samples
    assert (start == 1).all()
    copy = first.copy()
    start[...] = 7
    piadm.sample(lambda x, t: -x, **problem)
    assert np.array_equal(first, copy) and first.flags.writeable and first.flags.c_contiguous


@pytest.mark.parametrize(
    "settings, text",
    [
        (dict(samples=0), "samples = 0: expected 1 to"),
        (dict(shape=()), "shape = "),
        (dict(shape=(0, 3)), "shape = "),
        (dict(grid=piadm.Grid.uniform(0)), "0"),
        (dict(grid=[0.5]), "a time grid needs 2 to"),
        (dict(grid=[0.5, float("nan")]), "grid"),
        (dict(grid=[0.5, 0.7]), "times must strictly decrease"),
        (dict(grid="uniform"), "grid: missing field `steps`"),
        (dict(grid={"kind": "uniform", "step": 3}), "grid: unknown field `step`"),
        (dict(schedule="oo"), "schedule: unknown variant `oo`"),
        (dict(schedule={"kind": "vp_linear", "beta": 1}), "schedule: unknown field `beta`"),
        (dict(schedule=piadm.Schedule.vp_linear(20.0, 0.1)), "beta"),
        (dict(scheme="dim"), 'scheme: "dim" is not a valid scheme: expected'),
        (dict(scheme="ddim(eta=2)"), "eta = 2"),
        (dict(sampler="picards"), "sampler: unknown variant `picards`"),
        (dict(sampler=piadm.Picard(windows=3)), "sampler: unknown field `windows`"),
        (dict(sampler=piadm.Picard(window=0)), "window"),
        (dict(sampler=piadm.Picard(tolerance=-1.0)), "-1"),
        (dict(sampler="law", scheme="ddim"), "law|Law"),
        (dict(prediction="eps"), 'eps" is not a valid kind of output: expected score, noise'),
        (dict(prediction="next"), "kernels are not for Python"),
        (dict(time_range=(0.1, 1.0)), "the score was trained on times"),
        (dict(ids=[1, 2]), "one id per sample"),
        (dict(init=np.zeros((3, 4, 2))), r"init has shape \[3, 4, 2\], expected \[samples, 2, 4\]"),
        (dict(init=np.zeros((2, 2, 4))), "another number of samples|shape"),
        (dict(init=np.full((3, 2, 4), np.nan)), "the initial state = NaN"),
        (dict(init=np.zeros((3, 2, 4)), init_at=(1, np.zeros((3, 2, 4)))), "give one of them"),
        (dict(noise=np.zeros((39, 3, 2, 4))), "the given noise has shape"),
        (dict(guesses=([0, 0], np.zeros((2, 3, 2, 4)))), "ascending"),
        (dict(save="some"), 'save = "some"'),
        (dict(save=[41]), "saved step = 41"),
    ],
    ids=str,
)
def test_what_cannot_be(problem, settings, text):
    with pytest.raises(piadm.InputError, match=text) as caught:
        piadm.sample(lambda x, t: -x, **{**problem, **settings})
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, piadm.Error)


def test_no_convergence_is_a_sampling_error(problem):
    sampler = piadm.Picard(window=8, tolerance={"absolute": 1e-12}, max_sweeps=1)
    with pytest.raises(piadm.SamplingError, match="did not converge"):
        piadm.sample(lambda x, t: np.sin(9 * x), **{**problem, "sampler": sampler})


@pytest.mark.parametrize("settings", [dict(seed=-1), dict(samples=1.5), dict(max_rows="8"), dict(ids=["a"])], ids=str)
def test_what_is_no_number_of_that_kind(problem, settings):
    with pytest.raises((TypeError, ValueError, OverflowError)):
        piadm.sample(lambda x, t: -x, **{**problem, **settings})


def test_one_step():
    settings = dict(schedule="flow", grid=[1.0, 0.0], prediction="data", scheme="ddim", shape=1)
    for sampler in ("sequential", "picard", "automatic"):
        solution = piadm.sample(lambda x, t: np.full_like(x, 3), **settings, sampler=sampler)
        assert solution.samples.tolist() == [[3.0]] and solution.report.rounds == 1


@pytest.mark.parametrize("name", ["sequential", "piadm", "paradigms", "parasolver", "parareal", "law", "frozen_draft"])
def test_samplers_by_name(problem, name):
    solution = piadm.sample(lambda x, t: -x, **{**problem, "sampler": name})
    assert np.isfinite(solution.samples).all() and solution.report.samples == 3


def test_report(problem):
    solution = piadm.sample(lambda x, t: -x, **{**problem, "sampler": "automatic"})
    report = solution.report
    everything = report.to_dict()
    assert everything["rounds"] == report.rounds and everything["score_rows"] == report.rows
    assert everything["stop"] == report.stop == "converged" and report.converged
    assert report.seconds == pytest.approx(report.network_seconds + report.solver_seconds)
    assert f"{report.rounds} rounds" in repr(report) and "guarantee" in str(report) and report.choice in str(report)
    assert repr(solution).startswith("<piadm.Solution samples (3, 2, 4), <piadm.Report ")
    for name, kind in inspect.getmembers(type(report), inspect.isgetsetdescriptor):
        assert kind.__doc__ and getattr(report, name) is not NotImplemented


def test_session(problem):
    calls = []
    network = lambda x, t: calls.append(len(x)) or -x  # noqa: E731
    session = piadm.Session(network, **problem, seed=1)
    for seed in (1, 2):
        alone = piadm.sample(lambda x, t: -x, **problem, seed=seed)
        run = session.run(seed=seed)
        assert np.array_equal(run.samples, alone.samples) and run.report.rounds == alone.report.rounds
    start = np.ones((3, 2, 4))
    alone = piadm.sample(lambda x, t: -x, **problem, seed=2, init=start)
    kept = session.run(init=start).samples
    assert np.array_equal(kept, alone.samples)
    copy = kept.copy()
    session.run(seed=5)
    assert np.array_equal(kept, copy)
    with pytest.raises(piadm.InputError, match="init has shape"):
        session.run(init=np.ones((3, 8)))
    with pytest.raises(piadm.InputError, match="fixed settings"):
        piadm.Session(network, **{**problem, "sampler": "automatic"})


def test_a_session_does_one_run_at_a_time(problem):
    session = piadm.Session(lambda x, t: session.run(), **problem)
    with pytest.raises(RuntimeError, match="borrowed"):
        session.run()


def test_a_session_goes_on_after_an_error(problem):
    fails = [True]

    def network(x, t):
        if fails.pop() if fails else False:
            raise KeyError("once")
        return -x

    session = piadm.Session(network, **problem)
    with pytest.raises(KeyError, match="once"):
        session.run()
    assert np.array_equal(session.run().samples, piadm.sample(lambda x, t: -x, **problem).samples)


def test_documented_and_typed():
    folder = pathlib.Path(piadm.__file__).parent
    assert (folder / "py.typed").exists()
    stub = (folder / "__init__.pyi").read_text()
    for name in piadm.__all__:
        assert name in stub and (name == "__version__" or getattr(piadm, name).__doc__), name
    for function in (piadm.sample, piadm.Session):
        settings = inspect.signature(function).parameters
        assert settings["seed"].default == 0 and settings["shape"].default is inspect.Parameter.empty
        assert all(f"{name}:" in stub for name in settings if name != "network"), settings
