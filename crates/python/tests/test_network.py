"""What a network may be, do and return."""

import gc
import weakref

import numpy as np
import piadm
import pytest

SAMPLERS = ["sequential", piadm.Picard(window=8, tolerance=1e-3), "automatic", "law"]


@pytest.fixture
def expected(problem):
    return piadm.sample(lambda x, t: -x, **problem).samples


def test_rows_are_told_on_request(problem):
    calls = []

    def network(x, t, rows):
        calls.append(rows)
        assert x.shape == (len(rows), 2, 4) and x.dtype == np.float32 and x.flags.c_contiguous
        assert t.shape == (len(rows),) and t.dtype == np.float64 and np.array_equal(t, rows.t)
        np.testing.assert_allclose(rows.alpha, np.exp(-t / 2), rtol=1e-12)
        np.testing.assert_allclose(rows.sigma**2, -np.expm1(-t), rtol=1e-12)
        assert set(rows.slot) <= {0, 1, 2} and np.array_equal(np.array([9, 4, 7])[rows.slot], rows.id)
        return -x

    piadm.sample(network, **problem, ids=[9, 4, 7])
    assert any(len(set(rows.t)) > 1 for rows in calls)


def test_labels_by_slot():
    labels = np.array([3.0, 1.0, 4.0])
    network = lambda x, t, rows: np.broadcast_to(labels[rows.slot][:, None], x.shape)  # noqa: E731
    settings = dict(schedule="flow", grid=piadm.Grid.uniform(20), prediction="data", scheme="ddim", shape=2, samples=3)
    samples = piadm.sample(network, **settings, sampler="picard").samples
    assert np.array_equal(samples, [[3, 3], [1, 1], [4, 4]])


@pytest.mark.parametrize(
    "output",
    [
        lambda x: (-x).astype(np.float64),
        lambda x: np.asfortranarray(-x),
        lambda x: np.repeat(-x, 2, axis=2)[:, :, ::2],
        lambda x: (-x[::-1])[::-1],
        lambda x: (-x).astype(">f4"),
        lambda x: (-x).tolist(),
        lambda x: (-x).view(np.ma.MaskedArray),
        lambda x: misaligned(-x),
        lambda x: np.negative(x, out=x),
    ],
    ids=["float64", "fortran", "strided", "reversed", "big-endian", "list", "subclass", "misaligned", "in-place"],
)
def test_outputs_of_any_layout(problem, expected, output):
    assert np.array_equal(piadm.sample(lambda x, t: output(x), **problem).samples, expected)


def misaligned(x):
    memory = np.zeros(x.nbytes + 1, np.uint8)[1:]
    array = memory.view(x.dtype).reshape(x.shape)
    array[...] = x
    assert not array.flags.aligned
    return array


class OnlyDlpack:
    """A tensor of another library."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **settings):
        return self.array.__dlpack__(**settings)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_tensors_of_other_libraries(problem, expected):
    assert np.array_equal(piadm.sample(lambda x, t: OnlyDlpack(-np.from_dlpack(x)), **problem).samples, expected)


def test_torch(problem, expected):
    torch = pytest.importorskip("torch")
    memory = []

    def module(x, t):
        memory.append(x.data_ptr())
        assert t.shape == x.shape[:1] and t.dtype == x.dtype and not torch.is_grad_enabled()
        return -x

    assert np.array_equal(piadm.sample(piadm.torch_network(module), **problem).samples, expected)
    with_gradient = torch.nn.Parameter(torch.tensor(-1.0))
    network = piadm.torch_network(lambda x, t: with_gradient * x)
    assert np.array_equal(piadm.sample(network, **problem).samples, expected)
    assert len(set(memory)) < len(memory)  # the states' memory is piadm's, used again


@pytest.mark.parametrize(
    "network, error, text",
    [
        (lambda x, t: x[0], piadm.InputError, r"shape \[2, 4\], expected \[\d+, 2, 4\]"),
        (lambda x, t: x[:, :, :1], ValueError, "expected"),
        (lambda x, t: None, TypeError, "dtype object"),
        (lambda x, t: x + 0j, TypeError, "complex"),
        (lambda x, t: x * np.nan, piadm.SamplingError, "not finite in round 1"),
        (lambda x, t: np.full_like(x, np.inf), RuntimeError, "not finite"),
        (lambda x: x, TypeError, "positional argument"),
    ],
    ids=["one row", "broadcast", "nothing", "complex", "nan", "infinity", "one argument"],
)
@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_wrong_outputs(problem, network, error, text, sampler):
    with pytest.raises(error, match=text):
        piadm.sample(network, **{**problem, "sampler": sampler})


@pytest.mark.parametrize("keep", [lambda x: x, lambda x: x[:, :1], lambda x: x.base, memoryview, np.from_dlpack])
def test_kept_arrays_keep_their_values(problem, keep):
    kept = []

    def network(x, t):
        kept.append((keep(x), np.array(keep(x))))
        return -x

    settings = {**problem, "sampler": piadm.Picard(window=8)}
    expected = piadm.sample(lambda x, t: -x, **settings).samples
    assert np.array_equal(piadm.sample(network, **settings).samples, expected)
    gc.collect()
    assert len(kept) > 5 and all(np.array_equal(np.asarray(array), values) for array, values in kept)


def test_memory_is_used_again_if_nothing_is_kept(problem):
    places = []
    piadm.sample(lambda x, t: places.append(x.ctypes.data) or -x, **{**problem, "sampler": "sequential"})
    assert len(places) == 40 and len(set(places)) == 1


def test_nothing_is_held_after_a_run(problem):
    class Network:
        def __call__(self, x, t):
            self.last = x
            return -x

    network = Network()
    piadm.sample(network, **problem)
    gone = weakref.ref(network)
    del network
    gc.collect()
    assert gone() is None


def test_networks_of_any_kind(problem, expected):
    class Model:
        def forward(self, x, t):
            return -x

        def __call__(self, *inputs):
            return self.forward(*inputs)

    for network in (Model(), Model().forward, lambda *inputs: -inputs[0]):
        assert np.array_equal(piadm.sample(network, **problem).samples, expected)
    with pytest.raises(TypeError, match="no callable but a str"):
        piadm.sample("network", **problem)


def test_float64(problem):
    dtypes = set()
    solution = piadm.sample(lambda x, t: dtypes.add(x.dtype) or -x, **problem, dtype=np.float64)
    assert dtypes == {np.dtype("float64")} and solution.samples.dtype == np.float64
    with pytest.raises(piadm.InputError, match="float16: expected float32 or float64"):
        piadm.sample(lambda x, t: -x, **problem, dtype="float16")


def test_rows_of_a_call_are_bounded(problem):
    rows = []
    solution = piadm.sample(lambda x, t: rows.append(len(x)) or -x, **problem, max_rows=5)
    assert max(rows) == 5 and solution.report.calls > solution.report.rounds
