"""What the first calls of a compiled step do once does not keep it from being compiled."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import flambeau as torch
from flambeau.compiler.entry import unit_of

OPTIMIZERS = {"SGD": {"lr": 0.1, "momentum": 0.9}, "Adam": {}, "AdamW": {"amsgrad": True}}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_is_compiled_by_its_second_call(name: str) -> None:
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.GELU(), torch.nn.Linear(8, 1))
    optimizer = getattr(torch.optim, name)(net.parameters(), **OPTIMIZERS[name])
    x = torch.randn(16, 4)

    @torch.compile
    def step() -> Any:
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step()
        step()
        assert len(unit_of(step).programs) == 1
        step()
    assert unit_of(step).runs == 1


def test_imports_of_a_first_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "imported_late.py").write_text(
        "import os, threading\nlock = threading.Lock()\nnames = os.listdir('.')\n"
        "def double(x):\n    return x * 2\n")
    monkeypatch.syspath_prepend(tmp_path)

    @torch.compile
    def step(x: Any) -> Any:
        from imported_late import double
        return double(x)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            for _ in range(3):
                assert torch.equal(step(torch.ones(2)), torch.full((2,), 2.0))
        finally:
            sys.modules.pop("imported_late", None)
    assert unit_of(step).runs == 2
