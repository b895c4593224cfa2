"""Peak memory of training steps, beside PyTorch's: each framework in a process of its own.

    python benchmarks/memory.py [--cases REGEX] [--threads 2]
        [--peers torch,torch+compile,jax,mlx,tinygrad | all] [--python NAME=PATH]

Megabytes that were resident at the most while steps ran, above what was before the network was
built (imports and their libraries): first over all, with compiling; then, in brackets, over steps
that run what was compiled. Only Linux tells the second.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from compare import (
    COMPILED,
    FRAMEWORKS,
    OTHERS,
    add_peers,
    calls_of,
    environment_of,
    header,
    interpreter,
    is_ours,
    keep_to,
    peers_of,
)
from models import MODELS

STEPS = 6


def megabytes(field: str) -> float:
    """A field of this process's status."""
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) / 1024


def forget_peak() -> None:
    """Let the peak be what is resident now."""
    Path("/proc/self/clear_refs").write_text("5")


def peaks(build: Callable[[], Callable[[], object]]) -> tuple[float, float]:
    """The peak of building and all steps, and that of later steps alone, above what was before."""
    before = megabytes("VmRSS")
    forget_peak()
    call = build()
    for _ in range(STEPS):
        call()
    first = megabytes("VmHWM") - before
    forget_peak()
    for _ in range(STEPS):
        call()
    return first, megabytes("VmHWM") - before


def measure(framework: str, name: str, threads: int, pythons: Mapping[str, str]) -> str:
    """Both peaks, as text; or what went wrong."""
    command = [interpreter(framework, pythons), __file__, "--serve", framework, "--cases", name,
               "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True,
                          env=environment_of(framework, threads, pythons))
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    first, later = json.loads(done.stdout.splitlines()[-1])
    return f"{first:.0f} ({later:.0f})"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="")
    parser.add_argument("--threads", type=int, default=2)
    add_peers(parser)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        keep_to(options.threads)
        makers = calls_of(options.serve, options.threads)
        if options.serve.removesuffix(COMPILED) not in OTHERS:
            importlib.import_module(options.serve.removesuffix(COMPILED) + ".optim")
        print(json.dumps(peaks(makers[options.cases])))
        return
    peers, pythons = peers_of(options)
    frameworks = [FRAMEWORKS[0], FRAMEWORKS[0] + COMPILED, *peers]
    print("Megabytes: with compiling (once compiled)\n")
    print(header(frameworks, ratios=False))
    for name in [n for n in MODELS if re.search(options.cases, n)]:
        told = [measure(f, name, options.threads, pythons)
                for f in sorted(frameworks, key=lambda f: not is_ours(f))]
        print(f"| {' | '.join([name, *told])} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
