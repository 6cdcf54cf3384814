#!/usr/bin/env python3
"""Writes the networks of data/README.md, and a policy of the size that robots use, as ONNX files.

Install requirements.txt, then `python export.py DIR`. All take any number of rows, in single precision:

    mlp.onnx          x [rows, 784], t [rows] -> v [rows, 784]
    unet.onnx         x [rows, 1, 28, 28], t [rows] -> v [rows, 1, 28, 28]
    unet-labels.onnx  the same with label [rows], whole numbers: 0 to 9, or 10 for no class
    policy.onnx       x [rows, 16, 2], t [rows], observation [rows, 20] -> data [rows, 16, 2]; its weights are random
"""

import argparse
import pathlib

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save
from safetensors.numpy import load_file

DATA = pathlib.Path(__file__).resolve().parents[3] / "data"
EPS = 1e-5  # added to variances
GROUPS = 8


class Graph:
    """Collects nodes; values are names."""

    def __init__(self, weights):
        self.weights = {name: w.astype(np.float32) for name, w in weights.items()}
        self.nodes, self.values = [], {}

    def op(self, kind, *inputs, **attributes):
        output = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.value(i) for i in inputs], [output], **attributes))
        return output

    def value(self, of):
        """The name of a value: a name, or a constant."""
        if isinstance(of, str):
            return of
        array = np.asarray(of)
        key = (array.dtype.str, array.shape, array.tobytes())
        return self.values.setdefault(key, (f"value{len(self.values)}", array))[0]

    def write(self, path, inputs, output):
        tensors = [numpy_helper.from_array(array, name) for name, array in self.values.values()]
        ports = [helper.make_tensor_value_info(*port) for port in [*inputs, output]]
        graph = helper.make_graph(self.nodes, path.stem, ports[:-1], ports[-1:], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        checker.check_model(model, full_check=True)
        save(model, path)
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")

    def reshape(self, x, *shape):
        """0 keeps an axis."""
        return self.op("Reshape", x, np.array(shape, np.int64))

    def unsqueeze(self, x, *axes):
        return self.op("Unsqueeze", x, np.array(axes, np.int64))

    def silu(self, x):
        return self.op("Mul", x, self.op("Sigmoid", x))

    def linear(self, name, x):
        return self.op("Gemm", x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], transB=1)

    def conv(self, name, x, **attributes):
        return self.op("Conv", x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], **attributes)

    def normed(self, x):
        """Mean 0 and variance 1 along the last axis."""
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1]))
        variance = self.op("ReduceMean", self.op("Mul", centred, centred), axes=[-1])
        return self.op("Div", centred, self.op("Sqrt", self.op("Add", variance, np.float32(EPS))))

    def group_norm(self, name, x, shape):
        """x: [rows, *shape], channels first."""
        y = self.reshape(self.normed(self.reshape(x, 0, GROUPS, -1)), 0, *shape)
        weight, bias = (self.weights[f"{name}.{w}"].reshape(-1, *[1] * (len(shape) - 1)) for w in ("weight", "bias"))
        return self.op("Add", self.op("Mul", y, weight), bias)

    def film(self, x, of, axes=()):
        """(1 + g) x + b with (g, b) the halves of `of`; `axes` are those of x beside rows and channels."""
        half = self.op("Split", of, axis=1)
        g, b = half, f"{half}b"
        self.nodes[-1].output.append(b)
        if axes:
            g, b = self.unsqueeze(g, *axes), self.unsqueeze(b, *axes)
        return self.op("Add", self.op("Mul", x, self.op("Add", g, np.float32(1))), b)

    def residual(self, name, x, e, shape, kernel):
        """The residual block of the U-Net."""
        axes = range(2, len(shape) + 1)
        same = dict(kernel_shape=kernel, pads=[k // 2 for k in kernel] * 2)
        y = self.conv(f"{name}.c1", self.silu(self.group_norm(f"{name}.n1", x, shape)), **same)
        film = self.linear(f"{name}.film", e)
        y = self.film(self.group_norm(f"{name}.n2", y, shape), film, axes)
        return self.op("Add", x, self.conv(f"{name}.c2", self.silu(y), **same))

    def shuffle(self, x, channels, side):
        """4 channels of side x side pixels to one of twice the side."""
        y = self.op("Transpose", self.reshape(x, 0, channels, 2, 2, side, side), perm=[0, 1, 4, 2, 5, 3])
        return self.reshape(y, 0, channels, 2 * side, 2 * side)

    def unshuffle(self, x, side):
        y = self.op("Transpose", self.reshape(x, 0, 1, side, 2, side, 2), perm=[0, 1, 3, 5, 2, 4])
        return self.reshape(y, 0, 4, side, side)

    def embedding(self, t, label=None):
        """SiLU(temb(u) + label), u = ln(e^t - 1) / 2 = (t / 2 + ln(2 sinh(t / 2))) / 2, which is exact for small t."""
        half = self.op("Mul", t, np.float32(0.5))
        sinh = self.op("Mul", self.op("Sinh", half), np.float32(2))
        u = self.op("Mul", self.op("Add", half, self.op("Log", sinh)), np.float32(0.5))
        e = self.features(u, self.weights["temb.freq"])
        if label:
            e = self.op("Add", e, self.op("Gather", self.weights["labels.weight"], label))
        return self.silu(e)

    def features(self, u, freq):
        phase = self.op("Mul", self.unsqueeze(u, 1), freq[None])
        waves = self.op("Concat", self.op("Sin", phase), self.op("Cos", phase), axis=1)
        return self.linear("temb.l2", self.silu(self.linear("temb.l1", waves)))

    def blocks(self, name):
        return sum(1 for key in self.weights if key.startswith(f"{name}.") and key.endswith(".film.weight"))


def port(name, *shape, kind=TensorProto.FLOAT):
    return name, kind, ["rows", *shape]


def mlp(folder):
    g = Graph(load_file(DATA / "fashion_mlp.safetensors"))
    e = g.embedding("t")
    h = g.linear("inp", "x")
    for i in range(g.blocks("blocks")):
        y = g.film(g.normed(h), g.linear(f"blocks.{i}.film", e))
        h = g.op("Add", h, g.linear(f"blocks.{i}.l2", g.silu(g.linear(f"blocks.{i}.l1", y))))
    y = g.linear("out", g.film(g.normed(h), g.linear("film", e)))
    v = g.op("Add", y, g.op("Mul", g.linear("gain", e), "x"))
    g.write(folder / "mlp.onnx", [port("x", 784), port("t")], port(v, 784))


def unet(folder, labels):
    name = "unet-labels" if labels else "unet"
    g = Graph(load_file(DATA / f"fashion_{name.replace('-', '_')}.safetensors"))
    e = g.embedding("t", "label" if labels else None)
    fine, coarse = g.weights["inp.weight"].shape[0], g.weights["down.weight"].shape[0]

    def residuals(name, x, shape):
        for i in range(g.blocks(name)):
            x = g.residual(f"{name}.{i}", x, e, shape, [3, 3])
        return x

    same = dict(kernel_shape=[3, 3], pads=[1] * 4)
    k = residuals("d14", g.conv("inp", g.unshuffle("x", 14), **same), [fine, 14, 14])
    h = residuals("m7", g.conv("down", k, kernel_shape=[2, 2], strides=[2, 2]), [coarse, 7, 7])
    h = g.op("Add", g.shuffle(g.conv("up", h, kernel_shape=[1, 1]), fine, 7), k)
    h = residuals("u14", h, [fine, 14, 14])
    h = g.conv("out", g.silu(g.group_norm("nout", h, [fine, 14, 14])), **same)
    v = g.shuffle(h, 1, 14)
    inputs = [port("x", 1, 28, 28), port("t")] + [port("label", kind=TensorProto.INT64)] * labels
    g.write(folder / f"{name}.onnx", inputs, port(v, 1, 28, 28))


class Random(dict):
    """Weights on demand, always the same."""

    def __init__(self):
        self.generator = np.random.Generator(np.random.PCG64(17))

    def linear(self, name, outputs, *inputs, gain=1.0):
        scale = gain / np.sqrt(np.prod(inputs))
        self[f"{name}.weight"] = scale * self.generator.standard_normal((outputs, *inputs))
        self[f"{name}.bias"] = np.zeros(outputs)

    def norm(self, name, channels):
        self[f"{name}.weight"], self[f"{name}.bias"] = np.ones(channels), np.zeros(channels)


def policy(folder, horizon=16, actions=2, observed=20, channels=64, width=64, depth=4):
    """A plan of actions from an observation: residual 1-D convolutions, and films of time and observation."""
    w = Random()
    w.linear("temb.l1", width, 32)
    w.linear("temb.l2", width, width)
    w.linear("obs", width, observed)
    w.linear("inp", channels, actions, 5)
    for i in range(depth):
        for layer in ("n1", "n2"):
            w.norm(f"blocks.{i}.{layer}", channels)
        for layer in ("c1", "c2"):
            w.linear(f"blocks.{i}.{layer}", channels, channels, 5)
        w.linear(f"blocks.{i}.film", 2 * channels, width, gain=0.5)
    w.norm("nout", channels)
    w.linear("out", actions, channels, 5)
    g = Graph(w)
    freq = (0.01 * 1.5 ** np.arange(16)).astype(np.float32)
    e = g.silu(g.op("Add", g.features("t", freq), g.linear("obs", "observation")))
    h = g.conv("inp", g.op("Transpose", "x", perm=[0, 2, 1]), kernel_shape=[5], pads=[2, 2])
    for i in range(depth):
        h = g.residual(f"blocks.{i}", h, e, [channels, horizon], [5])
    h = g.silu(g.group_norm("nout", h, [channels, horizon]))
    y = g.op("Tanh", g.conv("out", h, kernel_shape=[5], pads=[2, 2]))
    data = g.op("Transpose", y, perm=[0, 2, 1])
    inputs = [port("x", horizon, actions), port("t"), port("observation", observed)]
    g.write(folder / "policy.onnx", inputs, port(data, horizon, actions))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="folder of the files, which is made")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    mlp(folder)
    unet(folder, labels=False)
    unet(folder, labels=True)
    policy(folder)


if __name__ == "__main__":
    main()
