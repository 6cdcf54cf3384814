"""ParaDiGMS as its authors put it into diffusers, and this crate's, on the same network, steps and noise, in turn.

    python -m venv VENV && VENV/bin/pip install -r benches/requirements.txt
    VENV/bin/python benches/paradigms_diffusers.py [--threads N] [--seeds N] [--window N] [--tolerance X] [--quick]

The loop is diffusers' own: `StableDiffusionParadigmsPipeline.__call__` with `DDPMParallelScheduler` or
`DDIMParallelScheduler`. Its U-Net is replaced by the trained MLP of data/README.md in PyTorch; the text encoder is left
out, and guidance is off. The crate's side is its example `compare`, with the same network in Rust.

Noise levels. Both schedulers have 1000 timesteps with linear betas from 1e-3 to 0.0148, so that every time that the
network sees lies in the range of its training. (The usual 1e-4 to 0.02 leaves it at both ends.) Spacing is trailing:
1000 steps visit the timesteps 999, 998, ..., 0, and 100 steps 999, 989, ..., 9. The crate gets the times
t = -ln(alphas_cumprod) of the same timesteps from the scheduler's own table. On both sides the last step goes to
alpha = 1, the data. Clipping is off.

Noise. Both sides start from the same state and add the same normals, those that the pipeline draws from its generator.
So the sequential samples of the two sides must agree, which is checked, and rounds can be compared image by image. A
run makes one image: a batch would move with its slowest image on both sides.

Tolerance. Both sides accept a node if the mean square of its last change is at most tolerance^2 times the variance of
DDPM's posterior (for DDIM as well). The crate takes the variance of the step that ends at the node, diffusers that of
the step that starts there: its list of variances is read at the index of the node. The ratio of the two bounds is
printed. At the last two nodes the bound of diffusers is 0 (1e-20 with DDPM), in the crate at the last one only. Both go
on from the first node that fails, for it was computed from accepted ones. The line "diffusers, crate's bound" is the
pipeline with its list of variances moved by that one index; nothing else is changed.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

# Without this, PyTorch's threads spin between operators, and where others use the cores as well they then wait for each
# other: a run took up to nine times as long. It has to be set before PyTorch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import diffusers
import numpy
import torch
import torch.nn.functional as F
from diffusers import DDIMParallelScheduler, DDPMParallelScheduler, StableDiffusionParadigmsPipeline
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parent.parent
SIDE = 28
DIM = SIDE * SIDE
BETAS = {"num_train_timesteps": 1000, "beta_schedule": "linear", "beta_start": 1e-3, "beta_end": 0.0148}


class Mlp(torch.nn.Module):
    """The residual MLP of data/README.md, in f32: the velocity of rows x at times t."""

    def __init__(self, path):
        super().__init__()
        self.w = {name: tensor.float() for name, tensor in load_file(path).items()}
        self.blocks = sum(name.endswith(".l1.weight") and name.startswith("blocks") for name in self.w)

    def linear(self, name, x):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def modulated(self, name, h, e):
        g, b = self.linear(name, e).chunk(2, dim=1)
        return torch.addcmul(b, F.layer_norm(h, h.shape[1:], eps=1e-5), 1 + g)

    def forward(self, x, t):
        u = (0.5 * t.expm1().log()).float()
        angles = u[:, None] * self.w["temb.freq"]
        features = torch.cat([angles.sin(), angles.cos()], dim=1)
        e = F.silu(self.linear("temb.l2", F.silu(self.linear("temb.l1", features))))
        h = self.linear("inp", x)
        for i in range(self.blocks):
            y = self.modulated(f"blocks.{i}.film", h, e)
            h = h + self.linear(f"blocks.{i}.l2", F.silu(self.linear(f"blocks.{i}.l1", y)))
        return torch.addcmul(self.linear("out", self.modulated("film", h, e)), self.linear("gain", e), x)


def checked_mlp():
    """The network, after a comparison with the recorded outputs of the trained one."""
    mlp = Mlp(ROOT / "data/fashion_mlp.safetensors")
    ref = load_file(ROOT / "data/fashion_mlp_ref.safetensors")
    t = ref["t"].double()
    with torch.no_grad():
        v = mlp(ref["x"], t)
    alpha, sigma = (-t / 2).exp()[:, None], (-(-t).expm1()).sqrt()[:, None]
    difference = (sigma * ref["x"] + alpha * v - ref["eps"]).abs().max().item()
    assert difference < 1e-4, f"the network differs from its reference by {difference}"
    return mlp, difference


class Unet(torch.nn.Module):
    """What the pipeline takes for its U-Net: the MLP on flattened images. Counts calls, rows and seconds."""

    config = SimpleNamespace(in_channels=1, sample_size=SIDE)
    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, mlp, times):
        super().__init__()
        self.mlp, self.times = mlp, times
        self.reset()

    def reset(self):
        self.calls, self.rows, self.seconds, self.first = 0, 0, 0.0, None

    def forward(self, sample, timestep, **_):
        started = time.perf_counter()
        self.first = self.first or started
        v = self.mlp(sample.flatten(1), self.times[timestep]).view_as(sample)
        self.calls, self.rows = self.calls + 1, self.rows + len(sample)
        self.seconds += time.perf_counter() - started
        return (v,)


class Vae(torch.nn.Module):
    """Two levels, so that the pipeline takes 56 pixels to a latent image of 28; heights must be multiples of 8."""

    config = SimpleNamespace(block_out_channels=(1, 1), scaling_factor=1.0)
    device = torch.device("cpu")


class Problem:
    """A scheduler and its steps, for both sides."""

    def __init__(self, name, steps, mlp, folder):
        self.name, self.steps, self.folder = name, steps, folder
        scheduler = {"ddpm": DDPMParallelScheduler, "ddim": DDIMParallelScheduler}[name]
        settings = {"prediction_type": "v_prediction", "clip_sample": False, "timestep_spacing": "trailing"}
        self.scheduler = scheduler(**BETAS, **settings)
        # a timestep's Ornstein-Uhlenbeck time, alpha_bar = e^-t
        table = -self.scheduler.alphas_cumprod.double().log()
        self.scheduler.set_timesteps(steps)
        self.times = table[self.scheduler.timesteps]
        self.unet = Unet(mlp, table)
        self.pipeline = StableDiffusionParadigmsPipeline(
            Vae(), None, None, self.unet, self.scheduler, None, None, requires_safety_checker=False
        )
        self.pipeline.set_progress_bar_config(disable=True)
        self.file = folder / f"{name}.json"
        grid = {"kind": "times", "times": self.times.tolist(), "final_sigma_zero": True}
        problem = {"network": "mlp", "schedule": {"kind": "ou"}, "grid": grid, "scheme": {"kind": name}}
        self.file.write_text(json.dumps(problem))

    def bound_ratios(self):
        """What diffusers lets a node change over what the crate does, where both are above 0."""
        variances = [float(self.scheduler._get_variance(t)) for t in self.scheduler.timesteps]
        return [(after / before) ** 0.5 for before, after in zip(variances[:-2], variances[1:-1])]

    def theirs(self, seed, window, tolerance, moved=False):
        """A run of the pipeline. With a window of 1 it samples one step after another. `moved` gives it the crate's bound."""
        self.unet.reset()
        asked = iter(range(2 * self.steps))

        def variance(t):
            # the pipeline asks for the variance of every step twice, first for the noise and then for the bounds
            later = next(asked) - self.steps
            return type(self.scheduler)._get_variance(self.scheduler, t if later <= 0 else self.scheduler.timesteps[later - 1])

        if moved:
            self.scheduler._get_variance = variance
        started = time.perf_counter()
        settings = {"num_inference_steps": self.steps, "parallel": window, "tolerance": tolerance}
        # no text, no guidance, no decoder
        settings |= {"prompt_embeds": torch.zeros(1, 1, 1), "guidance_scale": 1.0, "output_type": "latent"}
        image = self.pipeline(**settings, generator=torch.Generator().manual_seed(seed)).images
        seconds = time.perf_counter() - started
        self.scheduler.__dict__.pop("_get_variance", None)
        unet = self.unet
        run = {"rounds": unet.calls, "rows": unet.rows / self.steps, "seconds": seconds, "network": unet.seconds}
        run["before"] = unet.first - started
        return image.reshape(-1), run

    def ours(self, seed, window, tolerance, threads):
        """The crate's samplers from the normals that the pipeline draws: the start, then one array for each step."""
        generator = torch.Generator().manual_seed(seed)
        start, *normals = (torch.randn(1, 1, SIDE, SIDE, generator=generator) for _ in range(self.steps + 1))
        numpy.save(self.folder / "init.npy", start.reshape(1, DIM).numpy())
        numpy.save(self.folder / "noise.npy", torch.stack(normals).reshape(self.steps, 1, DIM).numpy())
        command = ["cargo", "run", "--quiet", "--release", "-p", "piadm-lab", "--example", "compare", "--"]
        command += ["--format", "json", "--problem", self.file, "--out", self.folder / "out"]
        command += ["--init", self.folder / "init.npy", "--noise", self.folder / "noise.npy", "--sampler", "sequential"]
        command += ["--sampler", json.dumps({"paradigms": {"window": window, "tolerance": tolerance}})]
        for error in (1e-2, 1e-3):
            command += ["--sampler", json.dumps({"picard": {"window": window, "tolerance": {"error": error}}})]
        environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
        out = subprocess.run(command, env=environment, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
        lines = [json.loads(line) for line in out.splitlines()]
        names = {"rounds": "rounds", "rows": "rows_per_step", "seconds": "seconds", "network": "score_seconds"}
        runs = [{key: line[name] for key, name in names.items()} | {"rms": line["rms_to_sequential"][0]} for line in lines]
        images = [torch.from_numpy(numpy.load(self.folder / f"out/{i}.npy")).reshape(-1) for i in range(len(runs))]
        return images, runs


def rms(a, b):
    return (a - b).square().mean().sqrt().item()


def measure(problem, options):
    """All samplers on every seed, in turn: their runs by name, and how far samples of the two sides are apart."""
    names = "diffusers, one by one", "diffusers, parallel", "diffusers, crate's bound"
    names += "crate, sequential", "crate, paradigms", "crate, picard 1e-2", "crate, picard 1e-3"
    runs = {name: [] for name in names}
    apart = []
    setting = options.window, options.tolerance
    # the first runs load and start everything, and are not measured
    problem.ours(0, *setting, options.threads)
    problem.theirs(0, *setting)
    for seed in range(options.seeds):
        own, ours = problem.ours(seed, *setting, options.threads)
        theirs = [problem.theirs(seed, 1, options.tolerance), problem.theirs(seed, *setting)]
        images, theirs = zip(*theirs, problem.theirs(seed, *setting, moved=True))
        for image, run in zip(images, theirs):
            run["rms"] = rms(image, images[0])
        for name, run in zip(names, [*theirs, *ours]):
            runs[name].append(run)
        apart.append((rms(own[0], images[0]), rms(own[1], images[2])))
    sequential, parallel = (max(differences) for differences in zip(*apart))
    assert sequential < 1e-4, f"the two sides solve different problems: {apart}"
    return runs, sequential, parallel


def show(problem, runs, sequential, parallel):
    ratios = sorted(problem.bound_ratios())
    t = problem.times
    print(f"\n{problem.name}, {problem.steps} steps, t from {t[0]:.3f} to {t[-1]:.5f}, then the data")
    print(f"samples of the two sides differ (rms) by at most {sequential:.1e} sequentially, {parallel:.1e} with the crate's bound")
    middle = statistics.median(ratios)
    print(f"bound on a change, diffusers over crate: {ratios[0]:.3f} to {ratios[-1]:.3f}, median {middle:.3f}")
    print(f"{'':<26}{'rounds':>7}{'rows/step':>11}{'seconds':>9}{'least':>9}{'network':>9}{'ratio':>7}{'rms':>10}")
    base = runs["crate, paradigms"]
    for name, all_runs in runs.items():
        middle = {key: statistics.median(run[key] for run in all_runs) for key in all_runs[0]}
        least = min(run["seconds"] for run in all_runs)
        ratio = statistics.median(run["seconds"] / other["seconds"] for run, other in zip(all_runs, base))
        print(
            f"{name:<26}{middle['rounds']:7.0f}{middle['rows']:11.2f}{middle['seconds']:9.3f}{least:9.3f}"
            f"{middle['network']:9.3f}{ratio:7.1f}{middle['rms']:10.1e}"
        )
    before = statistics.median(run["before"] for run in runs["diffusers, parallel"])
    print(f"diffusers, parallel: {before:.3f} seconds before its first call of the network (noise and variances, step by step)")
    three = zip(runs["diffusers, parallel"], runs["diffusers, crate's bound"], base)
    each = "  ".join("/".join(str(run["rounds"]) for run in image) for image in three)
    print(f"rounds of each image, diffusers/with the crate's bound/crate: {each}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="of each side")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--tolerance", type=float, default=0.1, help="in standard deviations of the posterior")
    parser.add_argument("--quick", action="store_true", help="one seed, 100 steps of DDPM and 50 of DDIM")
    options = parser.parse_args()
    if options.quick:
        options.seeds = 1
    torch.set_num_threads(options.threads)
    diffusers.logging.set_verbosity_error()
    mlp, difference = checked_mlp()
    print(f"diffusers {diffusers.__version__}, torch {torch.__version__} on the CPU; threads: {options.threads} on both sides")
    print(f"the MLP in PyTorch differs from its reference by at most {difference:.1e}")
    print(f"window {options.window}, tolerance {options.tolerance} of the posterior; picard: estimated error 1e-2 (its default) and 1e-3")
    print(f"one image a run, medians of {options.seeds} images; ratio: seconds over those of the crate's paradigms")
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        for name, steps in [("ddpm", 100 if options.quick else 1000), ("ddim", 50 if options.quick else 100)]:
            problem = Problem(name, steps, mlp, Path(folder))
            show(problem, *measure(problem, options))


if __name__ == "__main__":
    main()
