"""The shipped MLP of Fashion-MNIST in NumPy: data/README.md says what it computes."""

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

DATA = Path(__file__).parents[3] / "data"


def silu(x):
    return x / (1 + np.exp(-x))


def layer_norm(x):
    centred = x - x.mean(axis=1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + np.float32(1e-5))


class Mlp:
    """Velocity of rows x [rows, 784] at times t [rows]. With `row_by_row`, each row goes through products of its own: a
    matrix product of NumPy rounds a row otherwise in a batch than alone."""

    def __init__(self, row_by_row=False):
        self.w = {name: array.astype(np.float32) for name, array in load_file(DATA / "fashion_mlp.safetensors").items()}
        self.row_by_row = row_by_row

    def linear(self, name, x):
        return x @ self.w[name + ".weight"].T + self.w[name + ".bias"]

    def forward(self, x, t):
        u = np.log(np.expm1(t)) / 2
        angles = (u[:, None] * self.w["temb.freq"]).astype(np.float32)
        e = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
        e = silu(self.linear("temb.l2", silu(self.linear("temb.l1", e))))
        h = self.linear("inp", x)
        for i in range(2):
            g, b = np.split(self.linear(f"blocks.{i}.film", e), 2, axis=1)
            inner = silu(self.linear(f"blocks.{i}.l1", layer_norm(h) * (1 + g) + b))
            h = h + self.linear(f"blocks.{i}.l2", inner)
        g, b = np.split(self.linear("film", e), 2, axis=1)
        return self.linear("out", layer_norm(h) * (1 + g) + b) + self.linear("gain", e) * x

    def __call__(self, x, t):
        if not self.row_by_row:
            return self.forward(x, t)
        return np.concatenate([self.forward(x[i : i + 1], t[i : i + 1]) for i in range(len(t))])


def reference():
    """x, t and the noise predictions that the weights give."""
    return load_file(DATA / "fashion_mlp_ref.safetensors")
