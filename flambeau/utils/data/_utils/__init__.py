"""What DataLoader is made of: collating, fetching, and worker processes."""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import Any

from flambeau.base.missing import missing_attribute as _missing
from flambeau.utils.data._utils.failure import ExceptionWrapper

MP_STATUS_CHECK_INTERVAL = 5.0
"""Seconds after which a waiting process looks whether the other one still lives."""


def __getattr__(name: str) -> Any:
    if name in ("collate", "fetch", "worker"):
        return _import_module(f"flambeau.utils.data._utils.{name}")
    raise _missing(__name__, name, globals())
