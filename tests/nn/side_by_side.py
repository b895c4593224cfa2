"""Small programs run on flambeau and on PyTorch: what they show must be the same text."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = ["Record", "lines_of"]


class Record:
    """Collects what a program shows: values, errors by type and first paragraph, warnings."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, value: Any) -> None:
        """Note a value, or what a function gives, raises and warns of."""
        if not callable(value) or hasattr(value, "forward"):
            self._add(value)
            return
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                self._add(value())
            except Exception as error:
                first = str(error).split("\n\n")[0]
                self._add(f"{type(error).__name__}: {first}")
        for warning in caught:
            self._add(f"{warning.category.__name__}: {warning.message}")

    def _add(self, value: Any) -> None:
        text = str(value).replace("flambeau", "torch")
        self.lines.append(re.sub(r" at 0x[0-9a-f]+", "", text))


Program = Callable[[Any, Record], None]


def lines_of(program: Program, torch: ModuleType) -> list[str]:
    """What ``program(torch, show)`` shows, from the random seed 0 on."""
    torch.manual_seed(0)
    show = Record()
    program(torch, show)
    return show.lines
