"""flambeau beside its peers: every case, interleaved, each framework in a process of its own.

    python benchmarks/compare.py [--cases REGEX] [--rounds 5] [--threads 2] [--compile]
        [--peers torch,torch+compile,jax,mlx,tinygrad | all] [--python NAME=PATH]

Prints, per case, the least time of each and the ratio (the best peer's time over ours: above 1
flambeau is faster), then the start-up of flambeau and PyTorch: seconds to import, and resident
memory. With --compile flambeau.compile of the same case stands beside them. A peer that is not
installed is left out; --python says which interpreter has one, and may be repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FRAMEWORKS = ("flambeau", "torch")
# A framework's name with this behind it: its cases run through its compiler.
COMPILED = "+compile"
# Peers whose cases are written in a file of their own, compiled always.
OTHERS = ("jax", "mlx", "tinygrad")
PEERS = ("torch", "torch" + COMPILED, *OTHERS)
SAMPLE_SECONDS = 0.03
# Calls longer than this are timed once a round.
LONG_SECONDS = 1.0


def least_time(call: Callable[[], object], samples: int = 5,
               seconds: float = SAMPLE_SECONDS) -> float:
    """The least seconds that a call took, over samples of so many seconds."""
    call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    if once > LONG_SECONDS:
        return once
    repeats = max(1, int(seconds / once))
    best = float("inf")
    for _ in range(samples):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        best = min(best, (time.perf_counter() - start) / repeats)
    return best


def calls_of(framework: str, threads: int) -> Mapping[str, Callable[[], Callable[[], object]]]:
    """Per case of a framework what makes its call."""
    name = framework.removesuffix(COMPILED)
    if name in OTHERS:
        return importlib.import_module(f"{name}_cases").CASES
    torch = importlib.import_module(name)
    torch.set_num_threads(threads)
    from cases import CASES  # both processes import this file; only workers need the cases

    def made(make: Callable[[Any], Callable[[], object]]) -> Callable[[], object]:
        return torch.compile(make(torch)) if framework.endswith(COMPILED) else make(torch)

    return {case: partial(made, make) for case, make in CASES.items()}


def serve(framework: str, threads: int) -> None:
    """The worker: times each case named on standard input, answers with seconds.

    What has no such case answers null, what fails its error.
    """
    makers = calls_of(framework, threads)
    calls: dict[str, Callable[[], object]] = {}
    for line in sys.stdin:
        name = line.strip()
        answer: float | str | None = None
        try:
            if name in makers:
                calls[name] = calls.get(name) or makers[name]()
                answer = least_time(calls[name])
        except Exception as error:
            answer = f"{type(error).__name__}: {error}".splitlines()[0]
        print(json.dumps(answer), flush=True)


def keep_to(threads: int) -> None:
    """Let this process use so many processors: not every peer takes a number of threads."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def interpreter(framework: str, pythons: Mapping[str, str]) -> str:
    """The Python that runs a framework."""
    return pythons.get(framework.removesuffix(COMPILED), sys.executable)


def is_installed(framework: str, pythons: Mapping[str, str]) -> bool:
    """Whether a framework can be imported where it would run."""
    command = [interpreter(framework, pythons), "-c", f"import {framework.removesuffix(COMPILED)}"]
    with contextlib.suppress(OSError):
        return not subprocess.run(command, capture_output=True,
                                  env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode
    return False


def with_bytecode() -> dict[str, str]:
    """The environment, but bytecode is kept here, too, as that of installed packages is."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def environment_of(framework: str, threads: int, pythons: Mapping[str, str]) -> dict[str, str]:
    """The environment of a framework's process."""
    # a virtual environment's tools are found as if it were activated
    tools = os.path.dirname(os.path.abspath(interpreter(framework, pythons)))
    return {**with_bytecode(), "PYTHONPATH": str(ROOT),
            "PATH": os.pathsep.join([tools, os.environ.get("PATH", "")]),
            "OPENBLAS_NUM_THREADS": str(threads), "NUM_CPU_THREADS": str(threads)}


def start(framework: str, threads: int, pythons: Mapping[str, str]) -> subprocess.Popen:
    """A worker process for ``framework``."""
    command = [interpreter(framework, pythons), __file__, "--serve", framework,
               "--threads", str(threads)]
    environment = environment_of(framework, threads, pythons)
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            env=environment)


def ask(worker: subprocess.Popen, name: str) -> float | str | None:
    """One timing of a case, or what went wrong; None where there is no such case."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(name + "\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    return json.loads(answer) if answer else "the worker died"


def compare(names: Sequence[str], rounds: int, threads: int,
            frameworks: Sequence[str] = FRAMEWORKS,
            pythons: Mapping[str, str] | None = None) -> dict[str, dict]:
    """Per case and framework the least time of all rounds."""
    workers = {f: start(f, threads, pythons or {}) for f in frameworks}
    results: dict[str, dict] = {}
    for name in names:
        best: dict[str, float | str | None] = {}
        for _ in range(rounds):
            for framework, worker in workers.items():
                got, old = ask(worker, name), best.get(framework)
                best[framework] = (min(old, got) if isinstance(old, float)
                                   and isinstance(got, float) else got)
        results[name] = best
        print(row(name, best), flush=True)
    for worker in workers.values():
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait()
    return results


def is_ours(framework: str) -> bool:
    """Whether a framework is flambeau, as it is or compiled."""
    return framework.startswith(FRAMEWORKS[0])


def header(frameworks: Sequence[str], ratios: bool = True) -> str:
    """The head of the table."""
    peers = [f for f in frameworks if not is_ours(f)]
    cells = ["case", *sorted(frameworks, key=lambda f: not is_ours(f))]
    if ratios:
        against = peers[0] if len(peers) == 1 else "best peer"
        cells += ["best peer"] if len(peers) > 1 else []
        cells += [f"{against} / {f}" for f in frameworks if is_ours(f)]
    return f"| {' | '.join(cells)} |\n|" + "---|" * len(cells)


def row(name: str, best: Mapping[str, float | str | None]) -> str:
    """A line of the table: every time, then the best peer's over each of ours."""
    ours = [t for f, t in best.items() if is_ours(f)]
    peers = {f: t for f, t in best.items() if not is_ours(f)}
    times = {f: t for f, t in peers.items() if isinstance(t, float)}
    first = min(times, key=lambda f: times[f]) if times else ""
    ratios = [f"{times[first] / t:.2f}" if first and isinstance(t, float) else "" for t in ours]
    cells = [name, *map(shown, [*ours, *peers.values()]), *([first] if len(peers) > 1 else []),
             *ratios]
    return f"| {' | '.join(cells)} |"


def shown(seconds: float | str | None) -> str:
    """A time in the unit that suits it; what went wrong as it is."""
    if not isinstance(seconds, float):
        return seconds or ""
    return f"{seconds * 1e6:.2f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.2f} ms"


MEASURE_IMPORT = """
import time
start = time.perf_counter()
import {name}
seconds = time.perf_counter() - start
with open("/proc/self/statm") as f:
    pages = int(f.read().split()[1])
print(seconds, pages * 4096 / 2**20)
"""


def start_up(rounds: int) -> None:
    """Print the seconds and the resident megabytes of importing each."""
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name in ("numpy", *FRAMEWORKS):
            text = subprocess.run([sys.executable, "-c", MEASURE_IMPORT.format(name=name)],
                                  capture_output=True, text=True, check=True,
                                  env={**with_bytecode(), "PYTHONPATH": str(ROOT)}).stdout
            seconds, memory = map(float, text.split())
            old = best.get(name, (float("inf"), float("inf")))
            best[name] = (min(old[0], seconds), min(old[1], memory))
    for name, (seconds, memory) in best.items():
        print(f"import {name}: {seconds * 1e3:.0f} ms, {memory:.0f} MB resident")


def add_peers(parser: argparse.ArgumentParser, peers: str = FRAMEWORKS[-1]) -> None:
    """The options that say what stands beside flambeau: ``peers``, unless told otherwise."""
    parser.add_argument("--peers", default=peers)
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH")


def peers_of(options: argparse.Namespace) -> tuple[list[str], dict[str, str]]:
    """The peers that are asked for and installed, and the interpreters that are not this one."""
    pythons = dict(each.split("=", 1) for each in options.python)
    asked = PEERS if options.peers == "all" else options.peers.split(",")
    return [f for f in asked if is_installed(f, pythons)], pythons


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    add_peers(parser)
    parser.add_argument("--json")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        keep_to(options.threads)
        serve(options.serve, options.threads)
        return
    from cases import CASES  # not before the workers' own imports are timed

    names = [n for n in CASES if re.search(options.cases, n)]
    peers, pythons = peers_of(options)
    own = [FRAMEWORKS[0], *([FRAMEWORKS[0] + COMPILED] if options.compile else [])]
    frameworks = [*own, *peers]
    print(header(frameworks))
    results = compare(names, options.rounds, options.threads, frameworks, pythons)
    if FRAMEWORKS[-1] in peers:
        start_up(options.rounds)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
