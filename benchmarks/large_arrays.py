"""Elementwise functions and reductions on large float32 arrays, beside PyTorch's.

Run `python benchmarks/large_arrays.py [--threads 2] [--items 4194304] [--rounds 5]`. Each framework
runs in processes of its own, in turn, since idle workers of one slow the other down; the ratio is
PyTorch's time over ours, each the least of all calls in all rounds.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

COLUMNS = 1024
SECONDS = 0.2
OPERATIONS = (
    "add", "mul", "exp", "tanh", "sigmoid", "relu",
    "sum", "mean", "max", "sum(0)", "sum(1)",
)  # fmt: skip


def ours(items: int, threads: int) -> dict[str, Callable[[], object]]:
    """Return what is timed of flambeau: the functions that eager mode calls on large arrays."""
    import numpy as np  # each framework is imported in its own process only

    from flambeau.backends import large

    pool = large.pool_module()
    if pool is None:
        raise SystemExit("llvmlite is missing: there is nothing to time")
    pool.set_num_threads(threads)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, items // COLUMNS, COLUMNS)).astype(np.float32)
    calls: dict[str, Callable[[], object]] = {
        "add": lambda: large.pointwise("add", a, b),
        "mul": lambda: large.pointwise("mul", a, b),
    }
    for name in ("exp", "tanh", "sigmoid", "relu"):
        calls[name] = lambda name=name: large.pointwise(name, a)
    for name in ("sum", "mean", "max"):
        calls[name] = lambda name=name: large.reduce(name, a, None, False)
    calls["sum(0)"] = lambda: large.reduce("sum", a, (0,), False)
    calls["sum(1)"] = lambda: large.reduce("sum", a, (1,), False)
    return calls


def theirs(items: int, threads: int) -> dict[str, Callable[[], object]]:
    """Return the same of PyTorch."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.randn(2, items // COLUMNS, COLUMNS)
    calls: dict[str, Callable[[], object]] = {"add": lambda: a + b, "mul": lambda: a * b}
    for name in ("exp", "tanh", "sigmoid", "relu", "sum", "mean", "max"):
        calls[name] = getattr(a, name)
    calls["sum(0)"] = lambda: a.sum(0)
    calls["sum(1)"] = lambda: a.sum(1)
    return calls


def least_time(call: Callable[[], object]) -> float:
    """Return the least seconds that one of many calls took."""
    call()
    best = float("inf")
    end = time.perf_counter() + SECONDS
    while (start := time.perf_counter()) < end:
        call()
        best = min(best, time.perf_counter() - start)
    return best


def measure(framework: str, items: int, threads: int) -> dict[str, float]:
    """Time every operation in a new process."""
    command = [sys.executable, __file__, "--child", framework]
    command += ["--items", str(items), "--threads", str(threads)]
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{framework} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compare(items: int, threads: int, rounds: int) -> None:
    """Print a table of times and ratios."""
    best: dict[str, dict[str, float]] = {"ours": {}, "theirs": {}}
    for _ in range(rounds):
        for framework, times in best.items():
            for name, seconds in measure(framework, items, threads).items():
                times[name] = min(seconds, times.get(name, seconds))
    print(f"float32, {items:,} items as (*, {COLUMNS}), {threads} threads")
    print(f"{'':10}{'flambeau ms':>12}{'PyTorch ms':>12}{'ratio':>8}")
    for name in OPERATIONS:
        mine, other = best["ours"][name] * 1e3, best["theirs"][name] * 1e3
        print(f"{name:10}{mine:12.3f}{other:12.3f}{other / mine:8.2f}")


def main() -> None:
    """Compare, or, as a child, time one framework."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1 << 22)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--child", choices=("ours", "theirs"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        calls = {"ours": ours, "theirs": theirs}[chosen.child](chosen.items, chosen.threads)
        print(json.dumps({name: least_time(call) for name, call in calls.items()}))
    else:
        compare(chosen.items, chosen.threads, chosen.rounds)


if __name__ == "__main__":
    main()
