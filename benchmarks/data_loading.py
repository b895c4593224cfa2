"""DataLoader beside PyTorch's: a pass over each dataset, each framework in a process of its own.

    python benchmarks/data_loading.py [--cases REGEX] [--rounds 3] [--json FILE]

Prints, per case, the least time of a pass of each and the ratio (PyTorch's time over ours: above 1
flambeau is faster). The frameworks take turns.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from compare import FRAMEWORKS, ROOT, ask, row

SAMPLES = 100_000


def pairs(torch: Any) -> Any:
    """100,000 samples of 16 floats and a label, as tensors."""
    return torch.utils.data.TensorDataset(torch.randn(SAMPLES, 16),
                                          torch.zeros(SAMPLES, dtype=torch.int64))


def written(torch: Any) -> Any:
    """The same, by a class of a program's own that indexes its tensors."""
    values = torch.randn(SAMPLES, 16)

    class Written(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return SAMPLES

        def __getitem__(self, index: int) -> tuple:
            return values[index], index % 10

    return Written()


def arrays(torch: Any) -> Any:
    """The same out of NumPy."""
    values = np.random.default_rng(0).standard_normal((SAMPLES, 16), np.float32)

    class Arrays(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return SAMPLES

        def __getitem__(self, index: int) -> dict:
            return {"values": values[index], "label": index % 10}

    return Arrays()


def images(torch: Any) -> Any:
    """512 images of 3x128x128 floats, 192 KB each."""
    values = torch.rand(64, 3, 128, 128)

    class Images(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 512

        def __getitem__(self, index: int) -> tuple:
            return values[index % 64], index

    return Images()


def _cases() -> dict[str, tuple[Callable[[Any], Any], dict[str, Any]]]:
    cases: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {}
    for workers in (0, 2):
        for size in (64, 256):
            cases[f"TensorDataset, batches of {size}, {workers} workers"] = pairs, {
                "batch_size": size, "num_workers": workers, "shuffle": True}
        cases[f"own dataset of tensors, {workers} workers"] = written, {
            "batch_size": 64, "num_workers": workers, "shuffle": True}
        cases[f"own dataset of arrays, {workers} workers"] = arrays, {
            "batch_size": 64, "num_workers": workers, "shuffle": True}
        cases[f"512 images, batches of 32, {workers} workers"] = images, {
            "batch_size": 32, "num_workers": workers}
    return cases


CASES = _cases()


def serve(framework: str) -> None:
    """The worker: a pass over each loader named on standard input, answered with its seconds."""
    torch = importlib.import_module(framework)
    importlib.import_module(f"{framework}.utils.data")
    loaders: dict[str, Any] = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in loaders:
            dataset, options = CASES[name]
            loaders[name] = torch.utils.data.DataLoader(dataset(torch), **options)
        start = time.perf_counter()
        for _ in loaders[name]:
            pass
        print(json.dumps(time.perf_counter() - start), flush=True)


def start(framework: str) -> subprocess.Popen:
    """A worker process for ``framework``."""
    command = [sys.executable, __file__, "--serve", framework]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                            env=environment)


def compare(names: list[str], rounds: int) -> dict[str, dict]:
    """Per case and framework the least time of all rounds."""
    workers = {framework: start(framework) for framework in FRAMEWORKS}
    results: dict[str, dict] = {}
    for name in names:
        best: dict[str, Any] = {}
        for _ in range(rounds):
            for framework, worker in workers.items():
                got, old = ask(worker, name), best.get(framework)
                best[framework] = min(old, got) if isinstance(old, float) else got
        results[name] = best
        print(row(name, best), flush=True)
    for worker in workers.values():
        worker.communicate()
    return results


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    print("| case | flambeau | PyTorch | PyTorch / flambeau |\n|---|---|---|---|")
    results = compare([name for name in CASES if re.search(options.cases, name)], options.rounds)
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
