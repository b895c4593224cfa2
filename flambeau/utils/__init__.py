"""``torch.utils``: what surrounds training. Each part is loaded when first asked for."""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import Any

from flambeau.base.missing import missing_attribute as _missing


def __getattr__(name: str) -> Any:
    if not name.startswith("__"):
        try:
            return _import_module(f"flambeau.utils.{name}")
        except ModuleNotFoundError as error:
            if error.name not in (f"flambeau.utils.{name}", f"torch.utils.{name}"):
                raise
    raise _missing(__name__, name, globals())
