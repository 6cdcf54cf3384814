"""A real network: the shipped MLP in NumPy."""

import numpy as np
import piadm
import pytest
from mlp import Mlp, reference

PROBLEM = dict(schedule="ou", prediction="velocity", shape=784, seed=7, time_range=(1e-3, 8.0))


def grid(steps):
    return piadm.Grid.log_snr(steps, between=(8.0, 1e-3))


def test_agrees_with_the_reference():
    ref = reference()
    t = ref["t"].astype(np.float64)
    v = Mlp()(ref["x"], t)
    alpha, sigma = np.exp(-t / 2)[:, None], np.sqrt(-np.expm1(-t))[:, None]
    assert np.abs(sigma * ref["x"] + alpha * v - ref["eps"]).max() < 1e-4


def test_what_the_network_is_shown_is_what_it_is_given():
    """The states of a call are those of the reference if they are where it starts."""
    ref = reference()
    seen = []

    def network(x, t):
        seen.append((x, t))
        return np.zeros_like(x)

    times = [float(ref["t"][0]), float(ref["t"][0]) / 2]
    piadm.sample(network, **{**PROBLEM, "grid": times, "sampler": "sequential", "init": ref["x"]})
    (x, t), = seen
    assert np.array_equal(x, ref["x"]) and np.array_equal(t, np.full(16, times[0]))


@pytest.mark.parametrize("scheme", ["exponential", "ddim"])
def test_exact_parallel_sampling_has_the_sequential_bits(scheme):
    settings = dict(PROBLEM, grid=grid(30), scheme=scheme, samples=2)
    network = Mlp(row_by_row=True)
    sequential = piadm.sample(network, sampler="sequential", **settings)
    exact = piadm.sample(network, sampler=piadm.Picard(window=16, tolerance=0), **settings)
    assert np.array_equal(sequential.samples, exact.samples)
    assert sequential.report.rows == 60 < exact.report.rows  # up to as many rounds, each on more rows
    assert exact.report.guarantee.startswith("the sequential bits")


def test_parallel_samples_are_close_in_fewer_rounds():
    settings = dict(PROBLEM, grid=grid(100), scheme="ddim", samples=2)
    sequential = piadm.sample(Mlp(), sampler="sequential", **settings)
    parallel = piadm.sample(Mlp(), sampler="picard", **settings)
    rms = np.sqrt(((sequential.samples - parallel.samples) ** 2).mean(axis=1))
    assert rms.max() < 3e-2 and parallel.report.rounds < 30, (rms, parallel.report)


def test_law_and_automatic():
    settings = dict(PROBLEM, grid=grid(60), samples=2)
    law = piadm.sample(Mlp(), sampler=piadm.Law(window=16), **settings)
    assert law.report.guarantee.startswith("the sequential law") and law.report.rounds < 60
    chosen = piadm.sample(Mlp(), sampler="automatic", **settings)
    assert chosen.report.choice and chosen.report.probe_rows > 0
    assert (chosen.report.chosen_window is None) == ("sequential:" in chosen.report.choice)
