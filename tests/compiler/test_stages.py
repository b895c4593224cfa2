"""FLAMBEAU_DEBUG shows one more stage of compiling at each level."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau as torch
from flambeau.backends import large
from flambeau.base.config import debug_level

TITLES = ("operators", "graph", "kernels", "LLVM text", "assembly")


@pytest.mark.parametrize("level", range(6))
def test_levels(level: int, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.setenv("FLAMBEAU_DEBUG", str(level))
    run = torch.compile(lambda x: (x * 2 + 1).tanh())
    assert run(torch.zeros(3)).tolist() == pytest.approx([0.7615942] * 3)
    shown = [line for line in capfd.readouterr().err.splitlines() if line.startswith("flambeau")]
    titles = TITLES[:level] if large.available() else TITLES[:min(level, 3)]
    assert shown == [f"flambeau {i}, {title}:" for i, title in enumerate(titles, 1)]


def test_a_level_that_is_no_number(monkeypatch: Any) -> None:
    monkeypatch.setenv("FLAMBEAU_DEBUG", "much")
    with pytest.raises(ValueError, match="FLAMBEAU_DEBUG is a number from 0 to 5, not 'much'"):
        debug_level()
