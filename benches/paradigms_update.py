"""The update of a ParaDiGMS window with PyTorch operators, and this crate's sweep on the same shapes, in turn.

    python -m venv VENV && VENV/bin/pip install -r benches/requirements.txt
    VENV/bin/python benches/paradigms_update.py [--threads N] [--turns N]

Given the states x of a window, the network's outputs f there (predicted noise) and the stored noise, one update is, as in
Algorithm 1 of ParaDiGMS (arXiv 2305.16317): the step of every node, its difference to the node, the sums of these and of
the noise along the window, the new states, and the squared change of every node. `published` forms the step as published
pipelines do, through the predicted data; `fewest` folds it into two coefficients, as the crate does. Both sides run on the
same number of threads. The crate's update also hands changes on by a weight of its own for every node (here: one), which
ParaDiGMS's sums do with weight one.
"""

import argparse
import json
import os
import statistics
import subprocess
import time

import torch

SAMPLES, WINDOW, DIM = 8, 64, 784
SHAPE = f"{SAMPLES} x {WINDOW} x {DIM}"


def coefficients():
    """DDPM's posterior step on 64 of 1000 times of the linear schedule, shaped to broadcast."""
    alpha_bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)
    t = torch.arange(600, 600 - WINDOW, -1)
    now, then = alpha_bar[t], alpha_bar[t - 1]
    alpha = now / then
    data = then.sqrt() * (1 - alpha) / (1 - now)
    state = alpha.sqrt() * (1 - then) / (1 - now)
    shaped = lambda c: c.to(torch.float32)[:, None, None]
    return {name: shaped(c) for name, c in {"now": now, "data": data, "state": state}.items()}


def published(c, x, f, noise, old):
    """Through the predicted data."""
    x0 = (x - (1 - c["now"]).sqrt() * f) / c["now"].sqrt()
    step = c["data"] * x0 + c["state"] * x
    return finish(step - x, x, noise, old)


def fewest(c, x, f, noise, old):
    """The step minus the state as one combination of state and output."""
    return finish(c["a"] * x + c["b"] * f, x, noise, old)


def finish(delta, x, noise, old):
    new = x[:1] + torch.cumsum(delta, 0) + torch.cumsum(noise, 0)
    change = torch.linalg.vector_norm(new - old[1:], dim=2).square()
    old[1:] = new
    return change


def torch_seconds(update, c, arrays):
    """Seconds of an update, mean and least of about 0.1 s."""
    seconds = []
    with torch.inference_mode():
        while sum(seconds) < 0.1:
            started = time.perf_counter()
            update(c, *arrays)
            seconds.append(time.perf_counter() - started)
    return statistics.mean(seconds), min(seconds)


def crate_seconds(threads):
    """The same of the crate's sweep, by its own benchmark."""
    command = ["cargo", "bench", "--quiet", "--bench", "kernels", "--"]
    command += ["--rounds", "5", "--only", f"sweep, f32, {SHAPE}"]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    out = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    kernels = json.loads(out.strip().splitlines()[-1])["kernels"]
    (sweep,) = [k for k in kernels if k["name"].startswith("sweep")]
    return tuple(sweep[key] * 1e-9 * SAMPLES * WINDOW * DIM for key in ("nanoseconds", "least"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--turns", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    c = coefficients()
    c["a"] = c["data"] / c["now"].sqrt() + c["state"] - 1
    c["b"] = -c["data"] * (1 - c["now"]).sqrt() / c["now"].sqrt()
    x, f, noise = (torch.randn(WINDOW, SAMPLES, DIM) for _ in range(3))
    noise *= 0.01
    check = [update(c, x, f, noise, torch.zeros(WINDOW + 1, SAMPLES, DIM)) for update in (published, fewest)]
    torch.testing.assert_close(*check, rtol=1e-4, atol=1e-4)
    arrays = (x, f, noise, torch.zeros(WINDOW + 1, SAMPLES, DIM))
    seconds = {"published": [], "fewest": [], "crate": []}
    for _ in range(options.turns):
        seconds["published"].append(torch_seconds(published, c, arrays))
        seconds["fewest"].append(torch_seconds(fewest, c, arrays))
        seconds["crate"].append(crate_seconds(options.threads))
    middle = {name: statistics.median(mean for mean, _ in values) for name, values in seconds.items()}
    least = {name: min(least for _, least in values) for name, values in seconds.items()}
    print(f"window update, {SHAPE}, f32, {options.threads} threads on both sides, torch {torch.__version__}")
    print("microseconds, median of the turns and least; times the crate's")
    for name in seconds:
        ratio = statistics.median(p[0] / q[0] for p, q in zip(seconds[name], seconds["crate"]))
        print(f"{name:<10} {1e6 * middle[name]:7.0f} {1e6 * least[name]:7.0f}   {ratio:5.1f} {least[name] / least['crate']:5.1f}")
    print(json.dumps({"threads": options.threads, "torch": torch.__version__, "seconds": seconds}))


if __name__ == "__main__":
    main()
