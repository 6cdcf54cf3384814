#!/usr/bin/env python3
"""Trains the U-Net with labels of data/README.md on Fashion-MNIST.

Install requirements.txt and the images (Debian package dataset-fashion-mnist), then

    python conditional_unet.py /usr/share/datasets/fashion-mnist

It writes fashion_unet_labels.safetensors and fashion_unet_labels_ref.safetensors into ../../../data (--out). A run that
was stopped goes on from its checkpoint (--checkpoint).
"""

import argparse
import copy
import gzip
import math
import os
import pathlib
import time

# Threads that wait by spinning lose more than they gain on a machine that does other work as well.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

C, M, E, FREQS, GROUPS = 32, 64, 64, 16, 8
CLASSES = 10
NO_CLASS = CLASSES  # the last row of the table of labels
T_MIN, T_MAX = 1e-3, 8.0


class Time(nn.Module):
    """The embedding of the time, before its last SiLU."""

    def __init__(self):
        super().__init__()
        self.register_buffer("freq", 0.25 * 2.0 ** (torch.arange(FREQS) / 3))
        self.l1 = nn.Linear(2 * FREQS, E)
        self.l2 = nn.Linear(E, E)

    def forward(self, t):
        u = torch.log(torch.expm1(t)) / 2
        phase = u[:, None] * self.freq
        return self.l2(F.silu(self.l1(torch.cat([phase.sin(), phase.cos()], 1))))


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.n1 = nn.GroupNorm(GROUPS, channels)
        self.c1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(E, 2 * channels)
        self.n2 = nn.GroupNorm(GROUPS, channels)
        self.c2 = nn.Conv2d(channels, channels, 3, padding=1)
        # A block begins as the identity.
        nn.init.zeros_(self.c2.weight)
        nn.init.zeros_(self.c2.bias)

    def forward(self, h, e):
        y = self.c1(F.silu(self.n1(h)))
        g, b = self.film(e)[:, :, None, None].chunk(2, 1)
        return h + self.c2(F.silu(self.n2(y) * (1 + g) + b))


class Unet(nn.Module):
    """The names of its tensors are those of the file."""

    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("norm", torch.tensor([mean, std]))
        self.temb = Time()
        self.labels = nn.Embedding(CLASSES + 1, E)
        nn.init.normal_(self.labels.weight, std=0.3)
        self.inp = nn.Conv2d(4, C, 3, padding=1)
        self.d14 = nn.ModuleList(Residual(C) for _ in range(2))
        self.down = nn.Conv2d(C, M, 2, stride=2)
        self.m7 = nn.ModuleList(Residual(M) for _ in range(3))
        self.up = nn.Conv2d(M, 4 * C, 1)
        self.u14 = nn.ModuleList(Residual(C) for _ in range(2))
        self.nout = nn.GroupNorm(GROUPS, C)
        self.out = nn.Conv2d(C, 4, 3, padding=1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x, t, label):
        """The velocity v = alpha eps - sigma x0 of rows x [rows, 784]."""
        e = F.silu(self.temb(t) + self.labels(label))
        h = self.inp(F.pixel_unshuffle(x.view(-1, 1, 28, 28), 2))
        for block in self.d14:
            h = block(h, e)
        k = h
        h = self.down(h)
        for block in self.m7:
            h = block(h, e)
        h = F.pixel_shuffle(self.up(h), 2) + k
        for block in self.u14:
            h = block(h, e)
        return F.pixel_shuffle(self.out(F.silu(self.nout(h))), 2).flatten(1)


def idx(path):
    """The array in a gzip IDX file of bytes."""
    data = gzip.decompress(path.read_bytes())
    shape = np.frombuffer(data, ">i4", data[3], 4)
    return torch.from_numpy(np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape).copy())


def dataset(folder, part):
    """Rows of pixels in [0, 1] and their labels."""
    images = idx(folder / f"{part}-images-idx3-ubyte.gz")
    return images.flatten(1).float() / 255, idx(folder / f"{part}-labels-idx1-ubyte.gz").long()


def coefficients(t):
    """alpha and sigma as columns."""
    return torch.exp(-t / 2)[:, None], torch.sqrt(-torch.expm1(-t))[:, None]


def noised(x0, generator):
    """Times, states x_t and the velocities that the network should give there."""
    u = -0.3 + 1.4 * torch.randn(len(x0), generator=generator)
    t = F.softplus(2 * u).clamp(T_MIN, T_MAX)  # u = ln(sigma / alpha) = ln(e^t - 1) / 2
    eps = torch.randn(x0.shape, generator=generator)
    alpha, sigma = coefficients(t)
    return t, alpha * x0 + sigma * eps, alpha * eps - sigma * x0


def loss_of(net, x0, label, seed=1):
    """Mean squared error of v on images that were not trained on, always with the same times and noise."""
    generator, total = torch.Generator().manual_seed(seed), 0.0
    with torch.no_grad():
        for x0, label in zip(x0.split(500), label.split(500)):
            t, x, v = noised(x0, generator)
            total += F.mse_loss(net(x, t, label), v).item() * len(x0)
    return total


def train(net, x0, label, args):
    """Returns the moving average of the weights."""
    average = copy.deepcopy(net)
    generator = torch.Generator().manual_seed(args.seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-3)
    first, seconds = 0, 0.0
    if args.checkpoint.exists():
        saved = torch.load(args.checkpoint, weights_only=True)
        if saved["steps"] != args.steps or saved["seed"] != args.seed:
            raise SystemExit(f"{args.checkpoint} is of a run with other steps or another seed")
        net.load_state_dict(saved["net"])
        average.load_state_dict(saved["average"])
        optimiser.load_state_dict(saved["optimiser"])
        generator.set_state(saved["generator"])
        first, seconds = saved["step"], saved["seconds"]
        print(f"from step {first} of {args.checkpoint}")
    start, running = time.monotonic() - seconds, 0.0
    for step in range(first, args.steps):
        rate = min(1.0, (step + 1) / 200) * (0.01 + 0.99 * (1 + math.cos(math.pi * step / args.steps)) / 2)
        optimiser.param_groups[0]["lr"] = 1e-3 * rate
        rows = torch.randint(len(x0), (args.batch,), generator=generator)
        t, x, v = noised(x0[rows], generator)
        dropped = torch.rand(args.batch, generator=generator) < args.drop
        loss = F.mse_loss(net(x, t, label[rows].masked_fill(dropped, NO_CLASS)), v)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        decay = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)
        running += loss.item()
        done = step + 1
        if done % args.every == 0 or done == args.steps:
            seconds = time.monotonic() - start
            mean = running / ((done - 1) % args.every + 1)
            print(f"step {done} loss {mean:.5f} seconds {seconds:.0f}", flush=True)
            running = 0.0
            saved = {"net": net.state_dict(), "average": average.state_dict(), "optimiser": optimiser.state_dict()}
            saved |= {"generator": generator.get_state(), "step": done, "seconds": seconds}
            saved |= {"steps": args.steps, "seed": args.seed}
            # A run that is stopped while it writes keeps the checkpoint before.
            part = args.checkpoint.with_suffix(".part")
            torch.save(saved, part)
            part.replace(args.checkpoint)
    return average


def write(net, args):
    """The weights, matrices in half precision; returns the network that they give."""
    tensors = {name: (w.half() if w.dim() > 1 else w.float()).contiguous() for name, w in net.state_dict().items()}
    about = {"arch": "unet-labels", "data": "fashion-mnist", "steps": str(args.steps), "process": "ou", "predicts": "v"}
    path = args.out / "fashion_unet_labels.safetensors"
    save_file(tensors, path, about)
    stored = copy.deepcopy(net)
    stored.load_state_dict({name: w.float() for name, w in load_file(path).items()})
    return stored


def write_reference(net, x0, args):
    """Noise predictions at 16 times, with every label and without one."""
    t = torch.logspace(math.log10(T_MIN), math.log10(T_MAX), 16).clamp(T_MIN, T_MAX)
    label = torch.arange(16) % (CLASSES + 1)
    alpha, sigma = coefficients(t)
    x = alpha * x0[:16] + sigma * torch.randn(16, x0.shape[1], generator=torch.Generator().manual_seed(args.seed + 2))
    with torch.no_grad():
        eps = sigma * x + alpha * net(x, t, label)
    tensors = {"x": x, "t": t, "label": label.float(), "eps": eps}
    save_file(tensors, args.out / "fashion_unet_labels_ref.safetensors")


def main():
    data = pathlib.Path(__file__).resolve().parents[3] / "data"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=pathlib.Path, help="folder of the gzip IDX files")
    parser.add_argument("--out", type=pathlib.Path, default=data, help="folder of the weights and the reference")
    parser.add_argument("--checkpoint", type=pathlib.Path, default=pathlib.Path("conditional_unet.pt"))
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--drop", type=float, default=0.15, help="how often a label is left out")
    parser.add_argument("--every", type=int, default=200, help="steps between checkpoints and lines of output")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs time and changes nothing here
    torch.manual_seed(args.seed)

    pixels, label = dataset(args.images, "train")
    test, test_label = dataset(args.images, "t10k")
    mean, std = pixels.mean(dtype=torch.float64).item(), pixels.double().std(correction=0).item()
    x0, test = (pixels - mean) / std, (test - mean) / std
    net = write(train(Unet(mean, std), x0, label, args), args)
    write_reference(net, test, args)
    with_label, without = loss_of(net, test, test_label), loss_of(net, test, torch.full_like(test_label, NO_CLASS))
    print(f"test images: loss {with_label / len(test):.5f} with labels, {without / len(test):.5f} without")


if __name__ == "__main__":
    main()
