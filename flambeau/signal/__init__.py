"""``torch.signal``: window functions for the processing of signals."""

from __future__ import annotations

from typing import Any

from flambeau.base.missing import missing_attribute as _missing
from flambeau.signal import windows

__all__ = ["windows"]


def __getattr__(name: str) -> Any:
    raise _missing(__name__, name, globals())
