"""One line of a program, run with flambeau and with PyTorch: what it gives, as text."""

from __future__ import annotations

import re
import warnings
from types import ModuleType
from typing import Any

import numpy as np

import flambeau
from flambeau.base import naming

__all__ = ["assert_same_outcome", "outcome"]


def outcome(package: Any, code: str) -> str:
    """The repr of the last statement, or its error's type and first line.

    Statements are separated by ``;;``; ``t`` is the package.
    """
    *before, last = code.split(";;")
    package.manual_seed(0)
    prefix = naming.prefix()
    naming.set_prefix("torch")
    try:
        found = _run(before, last, {"t": package, "np": np})
    finally:
        naming.set_prefix(prefix)
    # PyTorch goes on with a list of its backends.
    found = re.sub("(Could not run .*? backend[.]).*", r"\1", found)
    return re.sub("0x[0-9a-f]+", "0x", found.replace("flambeau", "torch"))


def _run(before: list[str], last: str, names: dict[str, Any]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for statement in before:
                exec(statement.strip(), names)
            return repr(eval(last.strip(), names))
        except Exception as error:
            return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def assert_same_outcome(code: str, torch: ModuleType) -> None:
    """The line gives with flambeau what it gives with PyTorch."""
    assert outcome(flambeau, code) == outcome(torch, code)
