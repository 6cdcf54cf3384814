"""Seconds per round with a network in Python against the same in Rust, whose calls take the same time.

    cargo build --release --manifest-path crates/python/Cargo.toml --example overhead
    python crates/python/benches/overhead.py PATH/OF/THE/EXAMPLE

The network halves its input into a new array and then waits, busy, until the call has taken the given time; 0 is the
halving alone. Python and Rust run in turn; the fastest run counts, since others share the machine.
"""

import subprocess
import sys
import time

import numpy as np
import piadm

TURNS, RUNS = 15, 3
GRID = piadm.Grid.log_snr(100, between=(8.0, 0.01))
PROBLEM = dict(schedule="ou", grid=GRID, scheme="ddim", prediction="noise", seed=7)


def in_python(dim, seconds):
    def network(x, t):
        start = time.perf_counter()
        output = np.float32(0.5) * x
        while time.perf_counter() - start < seconds:
            pass
        return output

    runs = []
    for _ in range(RUNS):
        start = time.perf_counter()
        solution = piadm.sample(network, shape=dim, sampler=piadm.Picard(window=32, tolerance=1e-3), **PROBLEM)
        runs.append((solution.report.rounds, time.perf_counter() - start))
    return runs


def in_rust(example, dim, seconds):
    command = [example, str(dim), str(seconds), str(RUNS)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [(int(rounds), float(seconds)) for rounds, seconds in map(str.split, lines)]


def main(example):
    print(f"{'elements':>8} {'call':>9} {'rounds':>6} {'Rust, us a round':>17} {'Python':>9} {'ratio':>6} {'more, us':>9}")
    for dim in (32, 784, 12288):
        for seconds in (0, 1e-4, 1e-3, 1e-2):
            rust, python = [], []
            for _ in range(TURNS):
                rust += in_rust(example, dim, seconds)
                python += in_python(dim, seconds)
            (rounds,) = {rounds for rounds, _ in rust + python}
            a, b = (1e6 * min(seconds for _, seconds in runs) / rounds for runs in (rust, python))
            print(f"{dim:8} {1e3 * seconds:6.1f} ms {rounds:6} {a:17.1f} {b:9.1f} {b / a:6.3f} {b - a:9.1f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
