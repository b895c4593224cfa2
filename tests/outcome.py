"""One line of a program, run with flambeau and with PyTorch: what it gives, as text."""

from __future__ import annotations

import re
import warnings
from types import ModuleType
from typing import Any

import numpy as np

import flambeau

__all__ = ["assert_same_outcome", "outcome"]


def outcome(package: Any, code: str) -> str:
    """The repr of the last statement, or its error's type and first line.

    Statements are separated by ``;;``; ``t`` is the package.
    """
    names = {"t": package, "np": np}
    *before, last = code.split(";;")
    package.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for statement in before:
                exec(statement.strip(), names)
            found = repr(eval(last.strip(), names))
        except Exception as error:
            found = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    return re.sub("0x[0-9a-f]+", "0x", found.replace("flambeau", "torch"))


def assert_same_outcome(code: str, torch: ModuleType) -> None:
    """The line gives with flambeau what it gives with PyTorch."""
    assert outcome(flambeau, code) == outcome(torch, code)
