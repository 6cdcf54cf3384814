"""Makes diffusers.safetensors and k_diffusion.safetensors, the paths that tests/peers.rs holds this crate to.

    python -m venv venv && venv/bin/pip install -r tests/peers/requirements.txt
    venv/bin/python tests/peers/make.py

Both peers sample the same Gaussian mixture, whose data prediction is written out below, from recorded states with
recorded normals. A case has the tensors

    <case>/states     (steps + 1, samples, dim), float64, in the peer's own variables
    <case>/levels     sigma/alpha at each of these states as the peer has it, 0 at the end
    <case>/timesteps  what the peer hands to the network (diffusers)
    <case>/single     (samples, dim), the last state of the unmodified scheduler in float32 (diffusers)

and grids/<scheduler>/<spacing>/<steps> are timesteps (Euler: sigmas) for other numbers of steps.

diffusers writes float32 in its tables and casts whatever the input is. `Wide` replaces that name by float64 in a
scheduler's module and nothing else, so its own code runs in double precision; `single` is without it.
"""

import importlib
import sys
import types
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

HERE = Path(__file__).parent
STEPS, SAMPLES, DIM = 20, 4, 3
WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([[-1.0, 0.5, 0.3], [0.8, -0.6, 1.1], [0.4, 1.2, -0.9]])
STDS = np.array([0.3, 0.2, 0.45])
TABLE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def data(x, alpha, sigma):
    """E[x_0 | alpha x_0 + sigma eps = x] of the mixture, row by row."""
    var = alpha**2 * STDS**2 + sigma**2
    away = x[:, None, :] - alpha * MEANS
    logits = np.log(WEIGHTS) - 0.5 * DIM * np.log(var) - 0.5 * (away**2).sum(-1) / var
    weights = np.exp(logits - logits.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    return (weights[:, :, None] * (MEANS + (alpha * STDS**2 / var)[:, None] * away)).sum(1)


def network(kind, x, alpha, sigma):
    """What a network of that kind answers to the variance-preserving state x."""
    d = data(x, alpha, sigma)
    eps = (x - alpha * d) / sigma
    return {"epsilon": eps, "v_prediction": alpha * eps - sigma * d, "sample": d}[kind]


# ---- diffusers -------------------------------------------------------------------------------------------------------


class Wide:
    """A module in which float32 is another name for float64."""

    def __init__(self, module):
        self._module = module
        self.float32 = module.float64

    def __getattr__(self, name):
        return getattr(self._module, name)


def diffusers_run(cls, file, config, call, init, noise, wide):
    """The path of a scheduler: states, sigma/alpha of each, timesteps; in double precision if `wide`."""
    module = importlib.import_module(f"diffusers.schedulers.{file}")
    dtype = torch.float64 if wide else torch.float32
    module.torch, module.np = (Wide(torch), Wide(np)) if wide else (torch, np)
    draws = iter(torch.from_numpy(noise).to(dtype))
    module.randn_tensor = lambda *args, **kwargs: next(draws)
    scheduler = getattr(module, cls)(**TABLE, **config)
    scheduler.set_timesteps(STEPS)
    kind = scheduler.config.prediction_type
    betas = np.linspace(TABLE["beta_start"] ** 0.5, TABLE["beta_end"] ** 0.5, TABLE["num_train_timesteps"]) ** 2
    alphas_cumprod = np.cumprod(1 - betas)
    table = np.sqrt(1 / alphas_cumprod - 1)

    x = torch.from_numpy(init).to(dtype) * scheduler.init_noise_sigma
    states, levels, timesteps = [x], [], []
    for i, t in enumerate(scheduler.timesteps):
        # the network is trained on the table; between its entries sigma/alpha is linear, as the schedulers have it
        ratio = np.interp(float(t), np.arange(len(table)), table)
        alpha = (1 + ratio**2) ** -0.5
        scaled = scheduler.scale_model_input(x, t)
        output = network(kind, scaled.double().numpy(), alpha, ratio * alpha)
        if getattr(scheduler, "state_in_first_order", True):
            levels.append(ratio)
            timesteps.append(float(t))
        x = scheduler.step(torch.from_numpy(output).to(dtype), t, x, **call).prev_sample
        # Heun's is back in first order after the second stage; its last step has none
        if getattr(scheduler, "state_in_first_order", True) or i + 1 == len(scheduler.timesteps):
            states.append(x)
    if hasattr(scheduler, "sigmas"):
        levels = torch.unique_consecutive(scheduler.sigmas).numpy()
    else:
        levels.append(np.sqrt(1 / getattr(scheduler, "final_alpha_cumprod", torch.ones(())).numpy() - 1))
    assert len(states) == len(levels) == STEPS + 1 and x.dtype == dtype
    return torch.stack(states).double().numpy(), np.array(levels, np.float64), np.array(timesteps)


def diffusers_grids():
    """Timesteps of DDPM and DPM-Solver and sigmas of Euler for several numbers of steps."""
    from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler

    for name in ["leading", "trailing", "linspace"]:
        config = {"timestep_spacing": name, "steps_offset": 1 if name == "leading" else 0}
        for steps in [1, 2, 3, 7, 30, 64]:
            for key, cls in [("ddpm", DDPMScheduler), ("dpm", DPMSolverMultistepScheduler)]:
                scheduler = cls(**TABLE, **config)
                scheduler.set_timesteps(steps)
                yield f"grids/{key}/{name}/{steps}", scheduler.timesteps.numpy().astype(np.float64)
            scheduler = EulerDiscreteScheduler(**TABLE, **config)
            scheduler.set_timesteps(steps)
            yield f"grids/euler/{name}/{steps}", scheduler.sigmas.numpy().astype(np.float64)


def diffusers_cases():
    """Name, class, module, configuration, arguments of step."""
    ddim, ddpm = ("DDIMScheduler", "scheduling_ddim"), ("DDPMScheduler", "scheduling_ddpm")
    dpm = ("DPMSolverMultistepScheduler", "scheduling_dpmsolver_multistep")
    euler = ("EulerDiscreteScheduler", "scheduling_euler_discrete")
    heun = ("HeunDiscreteScheduler", "scheduling_heun_discrete")
    free = {"clip_sample": False}
    for name in ["leading", "trailing", "linspace"]:
        spacing = {"timestep_spacing": name, "steps_offset": 1 if name == "leading" else 0}
        yield f"ddim/{name}", *ddim, spacing | free, {"eta": 0.0}
        yield f"ddim-eta/{name}", *ddim, spacing | free, {"eta": 1.0}
        yield f"ddpm-small/{name}", *ddpm, spacing | free, {}
        yield f"ddpm-large/{name}", *ddpm, spacing | free | {"variance_type": "fixed_large"}, {}
        yield f"dpm/{name}", *dpm, spacing, {}
        yield f"dpm-sde/{name}", *dpm, spacing | {"algorithm_type": "sde-dpmsolver++"}, {}
        yield f"heun/{name}", *heun, spacing, {}
        yield f"euler/{name}", *euler, spacing, {}
    # kinds of output
    v, trailing = {"prediction_type": "v_prediction"}, {"timestep_spacing": "trailing"}
    yield "ddim-v/trailing", *ddim, trailing | free | v, {"eta": 0.0}
    yield "dpm-v/trailing", *dpm, trailing | v, {}
    yield "heun-v/trailing", *heun, trailing | v, {}
    yield "dpm-sample/trailing", *dpm, trailing | {"prediction_type": "sample"}, {}
    # options of the last step: an end at entry 0 of the table, first order at the end
    leading = {"timestep_spacing": "leading", "steps_offset": 1}
    smallest = trailing | {"final_sigmas_type": "sigma_min"}
    yield "ddim-end/leading", *ddim, leading | free | {"set_alpha_to_one": False}, {"eta": 0.0}
    yield "euler-end/trailing", *euler, smallest, {}
    yield "dpm-end/trailing", *dpm, smallest, {}
    yield "dpm-end-euler/trailing", *dpm, smallest | {"euler_at_final": True}, {}
    # no noise into a step from table entry 0
    zero = {"timestep_spacing": "leading", "steps_offset": 0}
    yield "ddpm-large-0/leading", *ddpm, zero | free | {"variance_type": "fixed_large"}, {}
    # clipping of the data prediction, on by default
    yield "ddpm-clip/trailing", *ddpm, trailing | {"clip_sample": True}, {}
    yield "ddim-clip/trailing", *ddim, trailing | {"clip_sample": True}, {"use_clipped_model_output": True}


def diffusers_file(init, noise):
    import diffusers

    tensors = {"init": init, "noise": noise} | dict(diffusers_grids())
    for name, cls, file, config, call in diffusers_cases():
        states, levels, timesteps = diffusers_run(cls, file, config, call, init, noise, True)
        single, _, _ = diffusers_run(cls, file, config, call, init, noise, False)
        tensors[f"{name}/states"] = states
        tensors[f"{name}/levels"] = levels
        tensors[f"{name}/timesteps"] = timesteps
        tensors[f"{name}/single"] = single[-1].astype(np.float32)
        apart = np.abs(single[-1] - states[-1]).max() / np.abs(states[-1]).max()
        print(f"{name:24} float32 scheduler apart by {apart:.1e}")
    save(tensors, "diffusers", diffusers=diffusers.__version__)


# ---- k-diffusion -----------------------------------------------------------------------------------------------------


def stub_clip():
    # k-diffusion imports its evaluation half, and that CLIP, which needs a setuptools that torch no longer accepts.
    # The samplers use neither.
    sys.modules["clip"] = types.ModuleType("clip")


def k_diffusion_file(init, noise):
    stub_clip()
    from importlib.metadata import version

    from k_diffusion import sampling

    torch.set_default_dtype(torch.float64)
    sigmas = sampling.get_sigmas_karras(STEPS, 0.03, 15.0, rho=7.0)
    x = torch.from_numpy(init) * sigmas[0]
    tensors = {"init": x.numpy(), "noise": noise}

    def model(x, sigma):
        return torch.from_numpy(data(x.numpy(), 1.0, float(sigma[0])))

    draws = iter(torch.from_numpy(noise))
    options = {"sample_dpmpp_2m_sde": {"eta": 1.0, "solver_type": "midpoint", "noise_sampler": lambda *_: next(draws)}}
    for name in ["sample_euler", "sample_heun", "sample_dpmpp_2m", "sample_dpmpp_2m_sde"]:
        states = []
        keep = lambda step: states.append(step["x"].numpy().copy())
        last = getattr(sampling, name)(model, x, sigmas, callback=keep, disable=True, **options.get(name, {}))
        tensors[f"{name}/states"] = np.stack([*states, last.numpy()])
        tensors[f"{name}/levels"] = sigmas.numpy()
    save(tensors, "k_diffusion", k_diffusion=version("k-diffusion"))


def save(tensors, name, **versions):
    versions |= {"torch": torch.__version__, "numpy": np.__version__}
    # in one entry: the order of several is not fixed in the file
    versions = {"versions": ", ".join(f"{package} {version}" for package, version in versions.items())}
    file = HERE / f"{name}.safetensors"
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, file, versions)
    file.chmod(0o644)


if __name__ == "__main__":
    rng = np.random.default_rng(20240515)
    init, noise = rng.standard_normal((SAMPLES, DIM)), rng.standard_normal((STEPS, SAMPLES, DIM))
    diffusers_file(init, noise)
    k_diffusion_file(init, noise)
