"""flambeau beside PyTorch: every case, interleaved, each framework in a process of its own.

    python benchmarks/compare.py [--cases REGEX] [--rounds 5] [--threads 2] [--compile]

Prints, per case, the least time of each and the ratio (PyTorch's time over ours: above 1 flambeau
is faster), then the start-up of both: seconds to import, and resident memory. With --compile
flambeau.compile of the same case stands beside them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FRAMEWORKS = ("flambeau", "torch")
# A framework's name with this behind it: its cases run through its compiler.
COMPILED = "+compile"
SAMPLE_SECONDS = 0.03


def least_time(call: Callable[[], object], samples: int = 5) -> float:
    """The least seconds that a call took, over samples long enough to be measured."""
    call()
    start = time.perf_counter()
    call()
    once = max(time.perf_counter() - start, 1e-7)
    repeats = max(1, int(SAMPLE_SECONDS / once))
    best = float("inf")
    for _ in range(samples):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        best = min(best, (time.perf_counter() - start) / repeats)
    return best


def serve(framework: str, threads: int) -> None:
    """The worker: times each case named on standard input, answers with seconds."""
    torch = importlib.import_module(framework.removesuffix(COMPILED))
    torch.set_num_threads(threads)
    from cases import CASES  # both processes import this file; only workers need the cases

    calls: dict[str, Callable[[], object]] = {}
    for line in sys.stdin:
        name = line.strip()
        try:
            if name not in calls:
                call = CASES[name](torch)
                calls[name] = torch.compile(call) if framework.endswith(COMPILED) else call
            print(json.dumps(least_time(calls[name])), flush=True)
        except Exception as error:
            print(json.dumps(f"{type(error).__name__}: {error}".splitlines()[0]), flush=True)


def start(framework: str, threads: int) -> subprocess.Popen:
    """A worker process for ``framework``."""
    command = [sys.executable, __file__, "--serve", framework, "--threads", str(threads)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": str(threads)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            env=environment)


def ask(worker: subprocess.Popen, name: str) -> float | str:
    """One timing of a case, or what went wrong."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(name + "\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    return json.loads(answer) if answer else "the worker died"


def compare(names: Sequence[str], rounds: int, threads: int,
            frameworks: Sequence[str] = FRAMEWORKS) -> dict[str, dict]:
    """Per case and framework the least time of all rounds."""
    workers = {f: start(f, threads) for f in frameworks}
    results: dict[str, dict] = {}
    for name in names:
        best: dict[str, float | str] = {}
        for _ in range(rounds):
            for framework, worker in workers.items():
                got = ask(worker, name)
                old = best.get(framework)
                best[framework] = min(old, got) if isinstance(old, float) else got
        results[name] = best
        print(row(name, best), flush=True)
    for worker in workers.values():
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait()
    return results


def row(name: str, best: dict) -> str:
    """A line of the table: every time, then PyTorch's over each of ours."""
    theirs = best[FRAMEWORKS[-1]]
    ours = [t for f, t in best.items() if f != FRAMEWORKS[-1]]
    ratios = ["" if isinstance(t, str) or isinstance(theirs, str) else f"{theirs / t:.2f}"
              for t in ours]
    return f"| {' | '.join([name, *map(shown, [*ours, theirs]), *ratios])} |"


def shown(seconds: float | str) -> str:
    """A time in the unit that suits it; what went wrong as it is."""
    if isinstance(seconds, str):
        return seconds
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
    # Installed packages have their bytecode, so let it be written here, too.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    best: dict[str, tuple[float, float]] = {}
    for _ in range(rounds):
        for name in ("numpy", *FRAMEWORKS):
            text = subprocess.run([sys.executable, "-c", MEASURE_IMPORT.format(name=name)],
                                  capture_output=True, text=True, check=True,
                                  env={**environment, "PYTHONPATH": str(ROOT)}).stdout
            seconds, memory = map(float, text.split())
            old = best.get(name, (float("inf"), float("inf")))
            best[name] = (min(old[0], seconds), min(old[1], memory))
    for name, (seconds, memory) in best.items():
        print(f"import {name}: {seconds * 1e3:.0f} ms, {memory:.0f} MB resident")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.threads)
        return
    from cases import CASES  # not before the workers' own imports are timed

    names = [n for n in CASES if re.search(options.cases, n)]
    frameworks = [FRAMEWORKS[0], *([FRAMEWORKS[0] + COMPILED] if options.compile else []),
                  FRAMEWORKS[-1]]
    ratios = [f"torch / {f}" for f in frameworks[:-1]]
    print(f"| {' | '.join(['case', *frameworks, *ratios])} |\n|"
          + "---|" * (1 + len(frameworks) + len(ratios)))
    results = compare(names, options.rounds, options.threads, frameworks)
    start_up(options.rounds)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
