"""Seconds from the start of compiling to the end of the first quick step, cold and warm.

    python benchmarks/cold_start.py [--cases REGEX] [--rounds 3] [--threads 2]
        [--peers torch+compile,jax,mlx,tinygrad | all] [--python NAME=PATH]

Each measurement is a process of its own. It imports, builds the network, then takes steps until
one is quick: as quick as later ones, but for a factor of two. Tracing, compiling and the steps
that go with them count, imports before the first step do not. Cold is with an empty cache folder,
warm is a second process with the folder of the first. The first call alone stands in brackets.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping

from compare import (
    COMPILED,
    FRAMEWORKS,
    add_peers,
    calls_of,
    environment_of,
    header,
    interpreter,
    is_ours,
    keep_to,
    peers_of,
)

CASES = ("perceptron 2-16-1: forward, backward, SGD", "perceptron 784-256-128-10, batch 64, Adam",
         "MNIST network, batch 64, Adam", "GPT 4x192, context 128, batch 8, AdamW",
         "LSTM 128, 64 steps, batch 32, Adam")
# Where each framework keeps what it has compiled, once a folder is put before it.
CACHES = {"FLAMBEAU_CACHE_DIR": "flambeau", "TORCHINDUCTOR_CACHE_DIR": "torch",
          "JAX_COMPILATION_CACHE_DIR": "jax", "CACHEDB": "tinygrad.db", "TMPDIR": ""}
# JAX keeps by default only what took it longer.
KEEP_ALL = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
STEPS = 12


def first_steps(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds to the end of the first quick call, and of the first call alone."""
    taken = []
    for _ in range(STEPS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    quick = 2 * min(taken)
    first = next(i for i, seconds in enumerate(taken) if seconds < quick)
    return sum(taken[:first + 1]), taken[0]


def measure(framework: str, name: str, threads: int, folder: str,
            pythons: Mapping[str, str]) -> tuple[float, float] | str:
    """One measurement, with compiled code kept in ``folder``; or what went wrong."""
    places = {k: os.path.join(folder, at) if at else folder for k, at in CACHES.items()}
    command = [interpreter(framework, pythons), __file__, "--serve", framework, "--cases", name,
               "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True,
                          env={**environment_of(framework, threads, pythons), **places, **KEEP_ALL})
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    total, first = json.loads(done.stdout.splitlines()[-1])
    return total, first


def cold_and_warm(framework: str, name: str, threads: int, rounds: int,
                  pythons: Mapping[str, str]) -> str:
    """Both, each the least of all rounds, as text."""
    found: list[list[tuple[float, float]]] = [[], []]
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            for kind in found:
                got = measure(framework, name, threads, folder, pythons)
                if isinstance(got, str):
                    return got
                kind.append(got)
    return ", ".join([f"{min(kind)[0]:.2f} ({min(kind)[1]:.2f})" for kind in found])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    add_peers(parser, FRAMEWORKS[-1] + COMPILED)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        keep_to(options.threads)
        call = calls_of(options.serve, options.threads)[options.cases]()
        print(json.dumps(first_steps(call)))
        return
    peers, pythons = peers_of(options)
    frameworks = [FRAMEWORKS[0] + COMPILED, *[f for f in peers if f != FRAMEWORKS[-1]]]
    print("Seconds: cold (first call), warm (first call)\n")
    print(header(frameworks, ratios=False))
    for name in [n for n in CASES if re.search(options.cases, n)]:
        told = [cold_and_warm(f, name, options.threads, options.rounds, pythons)
                for f in sorted(frameworks, key=lambda f: not is_ours(f))]
        print(f"| {' | '.join([name, *told])} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
