"""Makes grids.safetensors, the timesteps, sigmas and tables that tests/grid/peers.rs holds this crate to.

    python -m venv venv && venv/bin/pip install -r tests/peers/requirements.txt scipy==1.17.1
    venv/bin/python tests/peers/grids.py

    sigmas/<scheduler>/<option>/<steps>   sigmas of diffusers' schedulers with use_<option>_sigmas, linspace timesteps
    flow/<shift>/<steps>                  sigmas of FlowMatchEulerDiscreteScheduler with a fixed shift
    flux/<tokens>/<steps>                 the same as Flux' pipeline calls it
    k_diffusion/<function>/<steps>        sigmas of k-diffusion
    beta/<a>/<b>                          scipy.stats.beta.ppf at 0, 1/20, ..., 1
    table/<schedule>                      alphas_cumprod of diffusers' betas; with -zero, rescaled to zero terminal SNR

diffusers makes its tables in float32. The name float32 is replaced by float64 inside a scheduler's module, as in
make.py, and what names no type gets float64 too.
"""

import ast
import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import scipy.stats
import torch
from make import TABLE, Wide, save

STEPS = [1, 2, 7, 20]


def scheduler(file, cls, **config):
    module = importlib.import_module(f"diffusers.schedulers.{file}")
    module.torch, module.np = Wide(torch), Wide(np)
    return getattr(module, cls)(**config)


def sigmas(made):
    return np.asarray(made.sigmas, np.float64)


def calculate_shift():
    """That of Flux' pipeline, whose module cannot be imported without its text encoders."""
    file = Path(importlib.util.find_spec("diffusers").origin).parent / "pipelines/flux/pipeline_flux.py"
    found = [n for n in ast.parse(file.read_text()).body if getattr(n, "name", "") == "calculate_shift"]
    names = {}
    exec(compile(ast.Module(found, []), file, "exec"), names)
    return names["calculate_shift"]


def tensors():
    torch.set_default_dtype(torch.float64)
    for key, file, cls in [
        ("euler", "scheduling_euler_discrete", "EulerDiscreteScheduler"),
        ("dpm", "scheduling_dpmsolver_multistep", "DPMSolverMultistepScheduler"),
    ]:
        for option in ["karras", "exponential", "beta"]:
            for steps in STEPS:
                # with one timestep, linspace stands at entry 0, so that Euler has no range of sigmas
                if key == "euler" and steps == 1:
                    continue
                config = {f"use_{option}_sigmas": True, "timestep_spacing": "linspace"}
                made = scheduler(file, cls, **TABLE, **config)
                made.set_timesteps(steps)
                yield f"sigmas/{key}/{option}/{steps}", sigmas(made)
    file, cls = "scheduling_flow_match_euler_discrete", "FlowMatchEulerDiscreteScheduler"
    for steps in STEPS:
        for shift in [1.0, 3.0]:
            made = scheduler(file, cls, shift=shift)
            made.set_timesteps(steps)
            yield f"flow/{shift}/{steps}", sigmas(made)
        for tokens in [256, 1024, 4096]:
            made = scheduler(file, cls, shift=3.0, use_dynamic_shifting=True)
            mu = calculate_shift()(tokens, 256, 4096, 0.5, 1.15)
            made.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
            yield f"flux/{tokens}/{steps}", sigmas(made)

    sys.modules["clip"] = types.ModuleType("clip")
    from k_diffusion import sampling

    for steps in STEPS:
        for name, args in [("karras", (7.0,)), ("exponential", ()), ("polyexponential", (2.0,))]:
            made = getattr(sampling, f"get_sigmas_{name}")(steps, 0.03, 15.0, *args)
            yield f"k_diffusion/{name}/{steps}", made.numpy()

    for a, b in [(0.6, 0.6), (0.5, 2.0), (3.0, 0.2), (20.0, 50.0)]:
        yield f"beta/{a}/{b}", scipy.stats.beta.ppf(np.linspace(0, 1, 21), a, b)

    for rule in ["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"]:
        for zero in [False, True]:
            config = {"beta_schedule": rule, "beta_start": 0.00085, "beta_end": 0.012, "rescale_betas_zero_snr": zero}
            made = scheduler("scheduling_ddpm", "DDPMScheduler", **config)
            yield f"table/{rule}{'-zero' if zero else ''}", np.asarray(made.alphas_cumprod, np.float64)


if __name__ == "__main__":
    import diffusers

    save(dict(tensors()), "grids", diffusers=diffusers.__version__, scipy=scipy.__version__)
