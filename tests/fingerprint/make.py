"""Writes cases.jsonl: sampler settings in which every pair of values of two factors occurs, as far as they go together.

    python3 tests/fingerprint/make.py

The choice is greedy and seeded, so the file is always the same. First all pairs of all factors, then triples of those
that the engine mixes most, then the presets. All coefficients here come from exp and log, so none is dyadic.
"""

import itertools
import json
import pathlib
import random

ENGINE = 260  # cases of the engine
DEVICE = 50  # of those, that run on a device too; and every fourth of the others

SCHEMES = {
    **{
        f"exp_{form}_{int(10 * s):02}": {"kind": "exponential", "form": form, "stochasticity": s}
        for form in ("score", "noise", "data")
        for s in (0.0, 0.5, 1.0)
    },
    "euler": {"kind": "euler_maruyama", "stochasticity": 1.0},
    "euler_half": {"kind": "euler_maruyama", "stochasticity": 0.5},
    "ddpm_small": {"kind": "ddpm", "variance": "small"},
    "ddpm_large": {"kind": "ddpm", "variance": "large"},
    "ddim_0": {"kind": "ddim", "eta": 0.0},
    "ddim_07": {"kind": "ddim", "eta": 0.7},
    "sde_pp1": {"kind": "sde_dpm_solver_pp1", "eta": 1.3},
    "pp2m": {"kind": "dpm_solver_pp_2m"},
    "pp2m_low": {"kind": "dpm_solver_pp_2m", "lower_order_final": True},
    "sde_pp2m": {"kind": "sde_dpm_solver_pp_2m", "eta": 1.0, "lower_order_final": True},
    "heun": {"kind": "heun"},
}
# Of these, each gets two cases of its own.
LATER = {
    "uni_pc": {"kind": "uni_pc"},
    "uni_pc_3": {"kind": "uni_pc", "order": 3, "variant": "bh1"},
    "deis": {"kind": "deis", "order": 3},
    "lms": {"kind": "lms"},
    "ipndm": {"kind": "ipndm", "lower_order_final": True},
    "pp3m": {"kind": "dpm_solver_pp", "order": 3},
    "sde_pp3m": {"kind": "dpm_solver_pp", "order": 3, "eta": 1.0, "solver": "heun"},
    "pp2s": {"kind": "dpm_solver_pp_2s", "eta": 0.5},
    "dpm2": {"kind": "dpm2", "eta": 1.0},
    "lcm": {"kind": "lcm"},
    "edm": {"kind": "edm_stochastic", "s_churn": 5.0, "s_tmin": 0.05, "s_tmax": 2.0},
    "flow_midpoint": {"kind": "runge_kutta"},
    "rk4_log_snr": {"kind": "runge_kutta", "method": "rk4", "clock": "log_snr"},
}
FACTORS = {
    "scheme": list(SCHEMES),
    "linearisation": ["frozen_score", "identity", "gaussian", "secant"],
    "anderson": [0, 2],
    "entry": ["auto", "copy", "held_data", "linear_data"],
    "tolerance": ["zero", "error", "absolute", "relative", "posterior"],
    "stall": ["none", "accept", "error"],
    "policy": ["sliding", "blocks", "wavefront"],
    "window": [1, 3, 8, 64, "ou_time"],
    "coupling": ["per_sample", "whole_batch"],
    "budget": ["none", "small"],
    "dtype": ["f32", "f64"],
    "prediction": ["score", "noise", "data", "velocity", "flow"],
    "grid": ["ou_log_snr", "ou_piadm", "edm_karras", "flow_uniform", "cosine", "discrete"],
    "samples": [1, 3, 7],
    "target": ["d2", "d5", "d2", "d5", "d130"],  # the long one less often
}
MIXED = ["linearisation", "entry", "policy", "tolerance", "window", "anderson", "stall", "budget", "prediction"]
SCHEDULES = {
    "ou_log_snr": {"kind": "ou"},
    "ou_piadm": {"kind": "ou"},
    "edm_karras": {"kind": "edm"},
    "flow_uniform": {"kind": "flow"},
    "cosine": {"kind": "vp_cosine"},
    "discrete": {"kind": "discrete"},
}
TOLERANCES = {
    "zero": {},
    "error": {"error": 0.03},
    "absolute": {"absolute": 0.01},
    "relative": {"relative": 0.05},
    "posterior": {"posterior": 0.2},
}


def goes_to_zero(scheme):
    """A last step to sigma = 0 is for schemes in data form."""
    return not scheme.startswith(("exp_score", "exp_noise", "euler"))


def grid(kind, scheme, steps):
    return {
        "ou_log_snr": {"kind": "log_snr", "t_max": 5.0, "t_min": 0.05, "steps": steps},
        "ou_piadm": {"kind": "piadm", "t_max": 3.0, "t_min": 0.1, "h": 1.0, "steps": steps},
        "edm_karras": {
            "kind": "karras",
            "sigma_min": 0.05,
            "sigma_max": 10.0,
            "steps": steps,
            "final_sigma_zero": goes_to_zero(scheme),
        },
        "flow_uniform": {"kind": "uniform", "t_max": 0.96, "t_min": 0.04, "steps": steps},
        "cosine": {"kind": "log_snr", "t_max": 0.96, "t_min": 0.02, "steps": steps},
        "discrete": {"kind": "trailing", "steps": steps},
    }[kind]


def target(name, rng):
    modes, dim = {"d2": (2, 2), "d5": (3, 5), "d130": (2, 130)}[name]
    return {
        "weights": [1.0, 2.0, 1.5][:modes],
        "means": [[round(rng.uniform(-1.5, 1.5), 1) for _ in range(dim)] for _ in range(modes)],
        "std": [0.3, 0.4, 0.3][:modes],
    }


def problem(v, steps, rng):
    return {
        "target": target(v["target"], rng),
        "schedule": SCHEDULES[v["grid"]],
        "grid": grid(v["grid"], v["scheme"], steps),
        "scheme": (SCHEMES | LATER)[v["scheme"]],
        "prediction": v["prediction"],
    }


def picard(v, steps, rng):
    """Settings of the engine; a row budget is room for about one window and a half."""
    window = {"ou_time": 0.7} if v["window"] == "ou_time" else v["window"]
    blocks = rng.choice([2, 3])
    settings = {
        "policy": {"wavefront": {"blocks": blocks}} if v["policy"] == "wavefront" else v["policy"],
        "window": window,
        "linearisation": {"gaussian": {"variance": 0.2}} if v["linearisation"] == "gaussian" else v["linearisation"],
        "entry": {
            "auto": "auto",
            "copy": "copy",
            "held_data": {"held_data": {"variance": rng.choice([0.0, 0.3])}},
            "linear_data": {"linear_data": {"variance": 0.1}},
        }[v["entry"]],
        "anderson": v["anderson"],
        "tolerance": TOLERANCES[v["tolerance"]],
        "coupling": v["coupling"],
    }
    if v["stall"] == "accept":
        settings |= {"max_sweeps": rng.choice([1, 2, 3]), "on_stall": "accept"}
    if v["stall"] == "error":
        # enough for nearly all: a few cases end with the error
        settings |= {"max_sweeps": 4 if rng.random() < 0.1 else 40, "on_stall": "error"}
    if v["budget"] == "small":
        stages = 2 if v["scheme"] == "heun" else 1
        open_blocks = blocks if v["policy"] == "wavefront" else 1
        nodes = steps if v["window"] == "ou_time" else min(steps, v["window"] * open_blocks)
        settings["row_budget"] = 3 * nodes * stages // 2 + 1
    return {"picard": settings}


def is_valid(v):
    """Pairs that the crate refuses."""
    return not (v.get("budget") == "small" and v.get("coupling") == "whole_batch")


def tuples(v, names, size):
    return {tuple((n, v[n]) for n in group) for group in itertools.combinations(names, size)}


def cover(wanted, names, size, rng, limit):
    """Greedily: of some random cases around a wanted tuple the one that covers most."""
    left = set(wanted)
    order = sorted(left, key=str)
    rng.shuffle(order)
    while left and limit > 0:
        order = [t for t in order if t in left]
        best = None
        for _ in range(40):
            v = {n: rng.choice(values) for n, values in FACTORS.items()} | dict(rng.choice(order[:8]))
            if not is_valid(v):
                continue
            gain = len(left & tuples(v, names, size))
            if best is None or gain > best[0]:
                best = (gain, v)
        if best is None or best[0] == 0:
            continue
        left -= tuples(best[1], names, size)
        limit -= 1
        yield best[1]


def all_tuples(names, size):
    for group in itertools.combinations(names, size):
        for values in itertools.product(*(FACTORS[n] for n in group)):
            if is_valid(dict(zip(group, values))):
                yield tuple(zip(group, values))


def presets():
    """The other samplers, each on several problems."""
    samplers = [
        "sequential",
        "piadm",
        {"piadm": {"h": 0.7, "depth": 4}},
        {"paradigms": {"window": 8}},
        {"parataa": {"window": 8}},
        {"zhou_sugiyama": {"depth": 4}},
        "picard",
        "parareal",
        {"parareal": {"blocks": 3, "tolerance": {}}},
        {"parareal": {"blocks": 5, "max_iterations": 2}},
    ]
    schemes = ["exp_score_10", "exp_data_05", "ddim_0", "ddim_07", "pp2m", "heun"]
    grids = FACTORS["grid"]
    count = 0
    for i, sampler in enumerate(samplers):
        for j in range(5 if i == 0 else 4):
            # parareal refuses schemes with memory: one such case is enough
            usable = schemes[:4] if "parareal" in str(sampler) and (i, j) != (7, 3) else schemes
            v = {n: values[(i + j + k) % len(values)] for k, (n, values) in enumerate(FACTORS.items())}
            v |= {"scheme": usable[(i + j) % len(usable)], "grid": grids[(2 * i + j) % 6]}
            if (i, j) == (7, 3):
                v["scheme"] = "heun"
            count += 1
            yield v, sampler


def later():
    """The later schemes in the engine, on two grids each."""
    for i, scheme in enumerate(LATER):
        for j in range(2):
            v = {n: values[(i + 3 * j + k) % len(values)] for k, (n, values) in enumerate(FACTORS.items())}
            v |= {"scheme": scheme, "budget": "none", "stall": "none"}
            yield v, None


def name_of(v, sampler, number):
    kind = sampler if isinstance(sampler, str) else next(iter(sampler))
    if kind != "picard" or sampler == "picard":
        return f"{number:03}-{kind}-{v['scheme']}-{v['grid']}"
    words = [v["scheme"], v["grid"], v["policy"], v["linearisation"], v["entry"], v["tolerance"]]
    return f"{number:03}-" + "-".join(words)


def main():
    rng = random.Random(20240516)
    names = list(FACTORS)
    chosen = list(cover(all_tuples(names, 2), names, 2, rng, 10_000))
    covered = set().union(*(tuples(v, MIXED, 3) for v in chosen))
    wanted = set(all_tuples(MIXED, 3)) - covered
    chosen += cover(wanted, MIXED, 3, rng, ENGINE - len(chosen))
    planned = [(v, None) for v in chosen] + list(presets())

    # those for the device: again as many pairs as possible
    on_device, left = set(), set(all_tuples(names, 2))
    while len(on_device) < DEVICE:
        others = [i for i in range(len(planned)) if i not in on_device]
        i = max(others, key=lambda i: len(left & tuples(planned[i][0], names, 2)))
        on_device.add(i)
        left -= tuples(planned[i][0], names, 2)
    presets_begin = len(chosen)
    on_device |= set(range(presets_begin, len(planned), 4))

    # behind all others, so that recorded cases keep their numbers and with them their seeds
    planned += list(later())

    lines = []
    for i, (v, sampler) in enumerate(planned):
        rng = random.Random(1000 + i)
        steps = rng.choice([6, 9, 14, 20]) if v["target"] == "d130" else rng.choice([6, 11, 16, 24, 40])
        case = {
            "name": "",
            "problem": problem(v, steps, rng),
            "sampler": sampler or picard(v, steps, rng),
            "dtype": v["dtype"],
            "samples": v["samples"],
            "seed": i,
            "device": i in on_device,
        }
        case["name"] = name_of(v, case["sampler"], i)
        lines.append(json.dumps(case))
    path = pathlib.Path(__file__).with_name("cases.jsonl")
    path.write_text("\n".join(lines) + "\n")
    others = len(planned) - len(chosen) - 2 * len(LATER)
    print(f"{path.name}: {len(chosen)} of the engine, {others} others, {2 * len(LATER)} later; {len(on_device)} on a device")


main()
