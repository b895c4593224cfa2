"""``torch._C``: the little that libraries ask of PyTorch's native part."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from flambeau.base.missing import missing_attribute

__all__ = ["_log_api_usage_once"]

_seen: set[str] = set()


def _log_api_usage_once(event: str) -> None:
    """Tell stderr, once, that a library was used; only where PYTORCH_API_USAGE_STDERR is set."""
    if event in _seen:
        return
    _seen.add(event)
    if os.environ.get("PYTORCH_API_USAGE_STDERR"):
        print(f"PYTORCH_API_USAGE {event}", file=sys.stderr)


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, __all__)
