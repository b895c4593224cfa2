"""``torch.multiprocessing``: Python's multiprocessing, with tensors sent in shared memory.

All names of the standard module are here and are its own. Importing this has every queue, pipe and
process argument send tensors by reference: sender and receiver see each other's changes.
"""

from __future__ import annotations

import multiprocessing as _standard
import sys as _sys
from multiprocessing import *  # noqa: F403
from typing import Any

from flambeau.base.missing import missing_attribute as _missing
from flambeau.multiprocessing import reductions
from flambeau.multiprocessing.spawn import (
    ProcessContext,
    ProcessException,
    ProcessExitedException,
    ProcessRaisedException,
    SpawnContext,
    spawn,
    start_processes,
)

_FILES_ONLY = _sys.platform in ("darwin", "win32")
_STRATEGIES = {"file_system"} if _FILES_ONLY else {"file_descriptor", "file_system"}


class _Chosen:
    strategy = "file_system" if _FILES_ONLY else "file_descriptor"


def get_all_sharing_strategies() -> set[str]:
    """The names that ``set_sharing_strategy`` takes.

    >>> "file_system" in get_all_sharing_strategies()
    True
    """
    return _STRATEGIES


def set_sharing_strategy(new_strategy: str) -> None:
    """Choose a strategy by PyTorch's name for it; AssertionError for another.

    The choice is remembered and nothing more: memory travels by descriptor either way, and needs
    no name that could be left behind.
    """
    if new_strategy not in _STRATEGIES:
        raise AssertionError(f"invalid sharing strategy {new_strategy!r}, expected one of "
                             f"{_STRATEGIES}")
    _Chosen.strategy = new_strategy


def get_sharing_strategy() -> str:
    """The strategy chosen last."""
    return _Chosen.strategy


def __getattr__(name: str) -> Any:
    # The standard module's classes and submodules, which its __all__ leaves out.
    found = getattr(_standard, name, None)
    if found is None or name.startswith("__"):
        raise _missing(__name__, name, [*globals(), *_standard.__all__])
    return found


__all__ = ["ProcessContext", "ProcessException", "ProcessExitedException",
           "ProcessRaisedException", "SpawnContext", "get_all_sharing_strategies",
           "get_sharing_strategy", "reductions", "set_sharing_strategy", "spawn",
           "start_processes", *_standard.__all__]
