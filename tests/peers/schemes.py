"""Makes diffusers_schemes.safetensors and k_diffusion_schemes.safetensors, the paths of tests/peers/schemes.rs.

    venv/bin/python tests/peers/schemes.py

As make.py, whose problem, recorded normals and settings it takes; the other half of the schemes.
"""

import numpy as np
import torch

from make import DIM, SAMPLES, STEPS, data, diffusers_run, save, stub_clip


def cases():
    """Name, class, module, configuration, arguments of step."""
    unipc = ("UniPCMultistepScheduler", "scheduling_unipc_multistep")
    deis = ("DEISMultistepScheduler", "scheduling_deis_multistep")
    dpm = ("DPMSolverMultistepScheduler", "scheduling_dpmsolver_multistep")
    trailing = {"timestep_spacing": "trailing"}
    for order in [1, 2, 3]:
        yield f"unipc-{order}/trailing", *unipc, trailing | {"solver_order": order}, {}
        # into sigma = 0 bh1 is NaN there
        bh1 = {"solver_order": order, "solver_type": "bh1", "final_sigmas_type": "sigma_min"}
        yield f"unipc-{order}-bh1/trailing", *unipc, trailing | bh1, {}
        bare = {"solver_order": order, "disable_corrector": list(range(STEPS))}
        yield f"unip-{order}/trailing", *unipc, trailing | bare, {}
        yield f"deis-{order}/trailing", *deis, trailing | {"solver_order": order}, {}
    yield "unipc-2/linspace", *unipc, {"timestep_spacing": "linspace"}, {}
    yield "unipc-2/leading", *unipc, {"timestep_spacing": "leading", "steps_offset": 1}, {}
    end = {"solver_order": 3, "final_sigmas_type": "sigma_min", "lower_order_final": False}
    yield "unipc-end/trailing", *unipc, trailing | end, {}
    sde, heun = {"algorithm_type": "sde-dpmsolver++"}, {"solver_type": "heun"}
    yield "dpm-3/trailing", *dpm, trailing | {"solver_order": 3}, {}
    yield "dpm-3-sde/trailing", *dpm, trailing | {"solver_order": 3} | sde, {}
    yield "dpm-heun/trailing", *dpm, trailing | heun, {}
    yield "dpm-sde-heun/trailing", *dpm, trailing | heun | sde, {}
    ancestral = ("EulerAncestralDiscreteScheduler", "scheduling_euler_ancestral_discrete")
    yield "euler-ancestral/trailing", *ancestral, trailing, {}
    yield "lms/trailing", "LMSDiscreteScheduler", "scheduling_lms_discrete", trailing, {}
    yield "lcm/trailing", "LCMScheduler", "scheduling_lcm", {"clip_sample": False}, {}


def diffusers_file(init, noise):
    import diffusers

    tensors = {"init": init, "noise": noise}
    for name, cls, file, config, call in cases():
        states, levels, timesteps = diffusers_run(cls, file, config, call, init, noise, True)
        single, _, _ = diffusers_run(cls, file, config, call, init, noise, False)
        tensors[f"{name}/states"] = states
        tensors[f"{name}/levels"] = levels
        tensors[f"{name}/timesteps"] = timesteps
        tensors[f"{name}/single"] = single[-1].astype(np.float32)
        apart = np.abs(single[-1] - states[-1]).max() / np.abs(states[-1]).max()
        print(f"{name:24} float32 scheduler apart by {apart:.1e}")
    # LCMScheduler's boundary scalings, which it computes in single precision in any case
    lcm = diffusers.LCMScheduler()
    timesteps = torch.from_numpy(tensors["lcm/trailing/timesteps"]).long()
    scalings = [lcm.get_scalings_for_boundary_condition_discrete(t) for t in timesteps]
    tensors["lcm/trailing/scalings"] = np.array(scalings, np.float64)
    save(tensors, "diffusers_schemes", diffusers=diffusers.__version__)


class Recorded:
    """torch, whose normals are the recorded ones."""

    def __init__(self, noise):
        self.draws = iter(torch.from_numpy(noise))

    def __getattr__(self, name):
        return getattr(torch, name)

    def randn_like(self, _):
        return next(self.draws)


def k_diffusion_file(init, noise):
    stub_clip()
    from importlib.metadata import version

    from k_diffusion import sampling

    torch.set_default_dtype(torch.float64)
    sigmas = sampling.get_sigmas_karras(STEPS, 0.03, 15.0, rho=7.0)
    x = torch.from_numpy(init) * sigmas[0]
    tensors = {"init": x.numpy(), "noise": noise, "levels": sigmas.numpy()}

    def model(x, sigma):
        return torch.from_numpy(data(x.numpy(), 1.0, float(sigma[0])))

    churn = {"s_churn": 8.0, "s_tmin": 0.05, "s_tmax": 10.0, "s_noise": 1.003}
    runs = {
        "lms": ("sample_lms", {}),
        "lms-2": ("sample_lms", {"order": 2}),
        "dpm_2": ("sample_dpm_2", {}),
        "dpm_2_ancestral": ("sample_dpm_2_ancestral", {"eta": 1.0}),
        "dpm_2_ancestral-half": ("sample_dpm_2_ancestral", {"eta": 0.5}),
        "dpmpp_2s": ("sample_dpmpp_2s_ancestral", {"eta": 0.0}),
        "dpmpp_2s_ancestral": ("sample_dpmpp_2s_ancestral", {"eta": 1.0}),
        "dpmpp_2s_ancestral-half": ("sample_dpmpp_2s_ancestral", {"eta": 0.5}),
        "euler_ancestral": ("sample_euler_ancestral", {"eta": 1.0}),
        "euler_ancestral-half": ("sample_euler_ancestral", {"eta": 0.5}),
        "dpmpp_2m_sde-heun": ("sample_dpmpp_2m_sde", {"eta": 1.0, "solver_type": "heun"}),
        "dpmpp_3m": ("sample_dpmpp_3m_sde", {"eta": 0.0}),
        "dpmpp_3m_sde": ("sample_dpmpp_3m_sde", {"eta": 1.0}),
        "euler-churn": ("sample_euler", churn),
        "heun-churn": ("sample_heun", churn),
    }
    for name, (call, options) in runs.items():
        states = [x.numpy()]
        # the states that callbacks see may have noise added already, so every state is the end of a run of its own
        for steps in range(1, STEPS + 1):
            sampling.torch = Recorded(noise)
            own = dict(options)
            if "eta" in own:
                own["noise_sampler"] = lambda *_: sampling.torch.randn_like(x)
            if "s_churn" in own:
                own["s_churn"] *= steps / STEPS
            states.append(getattr(sampling, call)(model, x, sigmas[: steps + 1], disable=True, **own).numpy())
        tensors[f"{name}/states"] = np.stack(states)
    save(tensors, "k_diffusion_schemes", k_diffusion=version("k-diffusion"))


if __name__ == "__main__":
    rng = np.random.default_rng(20240515)
    init, noise = rng.standard_normal((SAMPLES, DIM)), rng.standard_normal((STEPS, SAMPLES, DIM))
    diffusers_file(init, noise)
    k_diffusion_file(init, noise)
