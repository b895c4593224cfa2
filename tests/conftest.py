"""Fixtures that the tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def torch_oracle() -> ModuleType:
    """PyTorch itself, to compare with; the test is skipped where it is not installed."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.set_num_threads(1)
    return torch


def _environment(overrides: dict[str, str]) -> dict[str, str]:
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    joined = os.pathsep.join(path for path in paths if path)
    return {**os.environ, "PYTHONPATH": joined, "PYTHONIOENCODING": "utf-8",
            "MPLBACKEND": "Agg", **overrides}


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``python(*arguments, cwd=..., input=..., **variables)`` runs this Python in a new process."""

    def start(*arguments: object, cwd: Path | None = None, input: str = "",
              **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, arguments)], cwd=cwd, input=input, text=True,
            encoding="utf-8", capture_output=True, timeout=120, env=_environment(variables))

    return start
