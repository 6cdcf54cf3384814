"""Exceptions, Ctrl-C, threads, progress."""

import collections
import os
import signal
import subprocess
import sys
import threading
import traceback
import types

import numpy as np
import piadm
import pytest

SAMPLERS = ["sequential", piadm.Picard(window=8, tolerance=1e-3), "automatic", "law", "parareal"]


class Mine(Exception):
    pass


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
@pytest.mark.parametrize("call", [1, 3])
def test_an_exception_arrives_as_it_is(problem, sampler, call):
    error, calls = Mine("weights", 3), []

    def failing_layer():
        raise error

    def network(x, t):
        calls.append(1)
        return failing_layer() if len(calls) == call else -x

    with pytest.raises(Mine) as caught:
        piadm.sample(network, **{**problem, "sampler": sampler})
    assert caught.value is error and error.args == ("weights", 3) and len(calls) == call
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)][-2:] == ["network", "failing_layer"]
    assert error.__cause__ is None and error.__context__ is None
    # and the next run is as if nothing had been
    assert np.isfinite(piadm.sample(lambda x, t: -x, **{**problem, "sampler": sampler}).samples).all()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_exceptions_that_end_programs(problem, error):
    def network(x, t):
        raise error

    with pytest.raises(error):
        piadm.sample(network, **problem)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_ctrl_c(problem, sampler):
    calls = []

    def network(x, t):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return -x

    with pytest.raises(KeyboardInterrupt):
        piadm.sample(network, **{**problem, "sampler": sampler})
    assert len(calls) == 3


def test_ctrl_c_while_no_python_code_runs():
    """Network and progress are functions of C that never give the lock away: the thread that sends the signal gets it
    from piadm, and piadm has to look for the signal. Otherwise the run would go on to its end."""
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    grid = piadm.Grid.uniform(500_000, between=(6.0, 0.01))
    settings = dict(schedule="ou", grid=grid, prediction="noise", shape=16, scheme="ddim", dtype="float64")
    last = collections.deque(maxlen=1)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        piadm.sample(np.subtract, **settings, sampler="sequential", progress=last.append)
    assert not last or last[0].round < 500_000
    timer.join()


def test_progress(problem):
    rounds = []
    solution = piadm.sample(lambda x, t: -x, **problem, progress=rounds.append)
    report = solution.report
    assert [r.round for r in rounds] == list(range(1, report.rounds + 1))
    assert sum(r.rows for r in rounds) == report.rows and rounds[-1].steps == report.steps == 40
    assert rounds[-1].finished.tolist() == [40] * 3 and np.isfinite(rounds[-1].residual)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_progress_may_fail_or_cancel(problem, sampler):
    error = Mine()

    def fail(round):
        raise error

    with pytest.raises(Mine) as caught:
        piadm.sample(lambda x, t: -x, **{**problem, "sampler": sampler}, progress=fail)
    assert caught.value is error
    stopped = piadm.sample(lambda x, t: -x, **{**problem, "sampler": sampler}, progress=lambda round: round.round < 2)
    assert stopped.report.stop == "cancelled" and stopped.report.rounds == 2 and stopped.report.guarantee == "none"


def test_progress_bar(problem, capsys):
    piadm.sample(lambda x, t: -x, **problem, progress=True)
    assert "100" in capsys.readouterr().err
    piadm.sample(lambda x, t: -x, **problem, progress=False)
    assert capsys.readouterr() == ("", "")


def test_bar_of_tqdm(problem, monkeypatch):
    """With a stand-in for tqdm."""
    bars = []

    class Bar:
        n, closed = 0, False

        def __init__(self, total, unit):
            self.total = total
            bars.append(self)

        def set_postfix(self, round, refresh):
            pass

        def update(self, n):
            self.n += n

        def close(self):
            self.closed = True

    monkeypatch.setitem(sys.modules, "tqdm", types.SimpleNamespace(tqdm=Bar))
    piadm.sample(lambda x, t: -x, **problem, progress=True)
    (bar,) = bars
    assert bar.n == bar.total == 3 * 40 and bar.closed


def test_two_threads(problem):
    """Each waits for the other inside of its network: neither holds the lock while the other works."""
    barrier = threading.Barrier(2, timeout=60)
    samples = {}

    def run(seed):
        calls = []

        def network(x, t):
            calls.append(1)
            if len(calls) <= 3:
                barrier.wait()
            return -x

        samples[seed] = piadm.sample(network, **problem, seed=seed).samples

    threads = [threading.Thread(target=run, args=(seed,)) for seed in (1, 2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for seed in (1, 2):
        assert np.array_equal(samples[seed], piadm.sample(lambda x, t: -x, **problem, seed=seed).samples)


def test_sampling_inside_of_a_network(problem):
    inner = []

    def network(x, t):
        inner.append(piadm.sample(lambda x, t: -x, **problem).samples)
        return -x

    outer = piadm.sample(network, **problem).samples
    assert all(np.array_equal(outer, samples) for samples in inner)


def test_fork_says_what_to_do():
    """In a process of its own, since a fork of a process with threads is a warning."""
    code = """
import os, piadm
settings = dict(schedule="flow", grid=piadm.Grid.uniform(5), prediction="data", shape=2, sampler="sequential")
piadm.sample(lambda x, t: x, **settings)
pid = os.fork()
if pid == 0:
    try:
        piadm.sample(lambda x, t: x, **settings)
    except piadm.SamplingError as error:
        os._exit(7 if "spawn" in str(error) else 8)
    os._exit(9)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
