"""What ``load`` may make beside tensors and containers: classes that the program trusts."""

from __future__ import annotations

import pickletools
from collections.abc import Sequence
from typing import Any

from flambeau.serialization.archive import Archive
from flambeau.serialization.safe_unpickler import TABLE, spelled

__all__ = ["add_safe_globals", "allowed_names", "clear_safe_globals", "get_safe_globals",
           "get_unsafe_globals_in_checkpoint", "safe_globals"]

Trusted = Any
_trusted: list[Trusted] = []


def add_safe_globals(safe_globals: Sequence[Trusted]) -> None:
    """Let ``load`` make objects of these classes, and call these functions.

    An item may be a pair (thing, "module.name"), for what appears by another name in the file.
    """
    for thing in safe_globals:
        if thing not in _trusted:
            _trusted.append(thing)


def get_safe_globals() -> list[Trusted]:
    """What ``add_safe_globals`` was given."""
    return list(_trusted)


def clear_safe_globals() -> None:
    """Trust nothing beside what ``load`` allows anyway."""
    _trusted.clear()


class safe_globals:
    """Trust more classes and functions within a block.

    >>> import flambeau as torch
    >>> with torch.serialization.safe_globals([complex]):
    ...     len(torch.serialization.get_safe_globals())
    1
    """

    def __init__(self, safe_globals: Sequence[Trusted]) -> None:
        self.more = list(safe_globals)
        self.before: list[Trusted] = []

    def __enter__(self) -> None:
        self.before = list(_trusted)
        add_safe_globals(self.more)

    def __exit__(self, *exc: object) -> None:
        _trusted[:] = self.before


def allowed_names() -> dict[str, Any]:
    """What is trusted, by the name that a pickle has for it."""
    found = {}
    for item in _trusted:
        if isinstance(item, tuple):
            if len(item) != 2 or not isinstance(item[1], str):
                raise ValueError("Expected a tuple of 2 items of (global, str of callable full "
                                 f"path), but got {item}")
            found[item[1]] = item[0]
        else:
            found[spelled(item)] = item
    return found


def get_unsafe_globals_in_checkpoint(f: Any) -> list[str]:
    """The names in a checkpoint that ``load`` would refuse, without loading it."""
    content = Archive(f).read("data.pkl")
    names: list[str] = []
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name == "GLOBAL":
            names.append(".".join(str(argument).split(" ", 1)))
        elif opcode.name == "STACK_GLOBAL":
            names.append(".".join(texts[-2:]))
        elif isinstance(argument, str):
            texts.append(argument)
    known = {**TABLE, **allowed_names()}
    return sorted({name for name in names if name not in known})
