"""The samples of every family: one module each, whose SAMPLES has a list per public name."""

from __future__ import annotations

import importlib
import pkgutil

from tests.ops.sample import Sample

__all__ = ["SAMPLES"]

SAMPLES: dict[str, list[Sample]] = {}

for _module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
    for _name, _found in importlib.import_module(f"{__name__}.{_module}").SAMPLES.items():
        SAMPLES.setdefault(_name, []).extend(_found)
