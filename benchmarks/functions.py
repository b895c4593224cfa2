"""Functions of flambeau beside PyTorch's, one by one, at three sizes, forward and backward.

    python benchmarks/functions.py [--cases REGEX] [--sizes 10,64x64,1M] [--rounds 3]
        [--modes forward,recorded,both] [--threads 2] [--below RATIO]

Each framework has a process of its own, asked in turn; of every time the least counts. A number is
PyTorch's time over flambeau's: above 1 flambeau is faster. "recorded" is the forward where a
gradient is due, "both" with its backward. The last lines are geometric means. --below shows only
cases with a ratio under this one.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from compare import FRAMEWORKS, environment_of, least_time
from function_cases import DIFFERENTIABLE, PLAIN, SIZES, tensors

MODES = ("forward", "recorded", "both")
SAMPLE_SECONDS = 0.01
SAMPLES = 3
# As many calls of small things and generated code is in use for them.
WARM_UP = 20_000

Call = Callable[[], object]
Key = tuple[str, str, str]


def call_of(torch: Any, text: str, values: Mapping[str, Any], mode: str) -> Call:
    """The call that is timed: ``text`` of ``values``, and backward through it where asked."""
    if mode == "forward":
        return eval(f"lambda: {text}", dict(values))
    own = {name: v.detach().requires_grad_() if isinstance(v, torch.Tensor) and (
        v.is_floating_point() or v.is_complex()) and name != "half" else v
        for name, v in values.items()}
    forward = eval(f"lambda: {text}", own)
    if mode == "recorded":
        return forward
    names = re.findall(r"\w+", text)
    leaves = [v for name, v in own.items()
              if name in names and isinstance(v, torch.Tensor) and v.requires_grad]
    one = _first(forward())
    given, grad = torch.ones_like(one), torch.autograd.grad
    return lambda: grad(_first(forward()), leaves, given, allow_unused=True)


def _first(found: Any) -> Any:
    return found[0] if isinstance(found, tuple) else found


def serve(framework: str, threads: int) -> None:
    """The worker: times each case named on standard input, answers with seconds or an error."""
    torch = importlib.import_module(framework)
    torch.set_num_threads(threads)
    made: dict[str, Mapping[str, Any]] = {}
    calls: dict[Key, Call] = {}
    _warm_up(torch)
    for line in sys.stdin:
        text, size, mode = key = tuple(json.loads(line))
        try:
            if size not in made:
                made[size] = tensors(torch, size)
            first = key not in calls
            if first:
                calls[key] = call_of(torch, text, made[size], mode)
            if first and size == SIZES[0]:
                for _ in range(WARM_UP // 100):
                    calls[key]()
            answer: float | str = least_time(calls[key], SAMPLES, SAMPLE_SECONDS)
        except Exception as error:
            answer = f"{type(error).__name__}: {error}".splitlines()[0]
        print(json.dumps(answer), flush=True)


def _warm_up(torch: Any) -> None:
    x = torch.ones(10, requires_grad=True)
    for _ in range(WARM_UP):
        (x[2:] * 2).sum()


def ask(worker: subprocess.Popen, key: Key) -> float | str:
    """One timing."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(json.dumps(key) + "\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    return json.loads(answer) if answer else "the worker died"


def ratio_of(workers: Mapping[str, subprocess.Popen], key: Key, rounds: int) -> tuple[Any, Any]:
    """The least times of flambeau and PyTorch, or what went wrong."""
    best: dict[str, float | str] = dict.fromkeys(workers, float("inf"))
    for _ in range(rounds):
        for framework, worker in workers.items():
            got, old = ask(worker, key), best[framework]
            best[framework] = min(old, got) if isinstance(got, float) and (
                isinstance(old, float)) else got
    ours, theirs = [best[name] for name in FRAMEWORKS]
    return ours, theirs


def cell(ours: Any, theirs: Any) -> str:
    """A ratio and our time; what went wrong as it is."""
    if isinstance(ours, float) and isinstance(theirs, float):
        return f"{theirs / ours:.2f} ({ours * 1e6:.1f} µs)"
    return str(ours if isinstance(ours, str) else theirs)[:60]


def table(workers: Mapping[str, subprocess.Popen], options: argparse.Namespace) -> None:
    """Print a line for every expression and mode, then the geometric means."""
    sizes, logs = options.sizes.split(","), dict[tuple[str, str], list[float]]()
    print(f"| function | mode | {' | '.join(sizes)} |\n|{'---|' * (len(sizes) + 2)}")
    for text, mode in _lines(options.cases, options.modes.split(",")):
        times = [ratio_of(workers, (text, size, mode), options.rounds) for size in sizes]
        found = [t / o for o, t in times if isinstance(o, float) and isinstance(t, float)]
        for size, (ours, theirs) in zip(sizes, times):
            if isinstance(ours, float) and isinstance(theirs, float):
                logs.setdefault((mode, size), []).append(math.log(theirs / ours))
        if not found or min(found) < options.below:
            cells = [cell(*pair) for pair in times]
            print(f"| {text.replace('|', '&#124;')} | {mode} | {' | '.join(cells)} |", flush=True)
    for mode in MODES:
        means = [logs.get((mode, size)) for size in sizes]
        if any(means):
            cells = [f"{math.exp(sum(m) / len(m)):.2f}" if m else "" for m in means]
            print(f"| geometric mean | {mode} | {' | '.join(cells)} |")


def _lines(pattern: str, modes: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in (*DIFFERENTIABLE, *PLAIN):
        if re.search(pattern, text):
            yield from [(text, m) for m in modes if m == MODES[0] or text in DIFFERENTIABLE]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="")
    parser.add_argument("--sizes", default=",".join(SIZES))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--below", type=float, default=float("inf"))
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve, options.threads)
        return
    workers = {}
    for name in FRAMEWORKS:
        command = [sys.executable, __file__, "--serve", name, "--threads", str(options.threads)]
        workers[name] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True, env=environment_of(name, options.threads, {}))
    table(workers, options)
    for worker in workers.values():
        assert worker.stdin is not None
        worker.stdin.close()
        worker.wait()


if __name__ == "__main__":
    main()
