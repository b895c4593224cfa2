"""A version string that compares as a version, as PyTorch's ``__version__`` does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["TorchVersion"]

_FORM = re.compile(
    r"v?(\d+(?:\.\d+)*)(?:[-_.]?(a|alpha|b|beta|c|rc|pre|preview)[-_.]?(\d*))?"
    r"(?:[-_.]?(post|rev|r)[-_.]?(\d*)|-(\d+))?(?:[-_.]?(dev)[-_.]?(\d*))?(?:\+([a-z0-9._-]+))?",
    re.IGNORECASE,
)
_STAGE = {"a": 0, "alpha": 0, "b": 1, "beta": 1, "c": 2, "rc": 2, "pre": 2, "preview": 2}
_DEV_ONLY, _FINAL = -1, 3


def _key(text: str) -> tuple | None:
    """What orders versions (PEP 440), or None where ``text`` is not one."""
    match = _FORM.fullmatch(text.strip())
    if not match:
        return None
    release, stage, stage_number, post, post_number, bare_post, dev, dev_number, local = (
        match.groups())
    numbers = [int(part) for part in release.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    after = -1 if post is None and bare_post is None else int(post_number or bare_post or 0)
    if stage:
        before = (_STAGE[stage.lower()], int(stage_number or 0))
    else:
        before = (_DEV_ONLY if dev and after < 0 else _FINAL, 0)
    until = int(dev_number or 0) if dev else float("inf")
    return tuple(numbers), before, after, until, _local_key(local)


def _local_key(local: str | None) -> tuple:
    parts = re.split(r"[._-]", local.lower()) if local else []
    return tuple((1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts)


class TorchVersion(str):
    """A ``str`` whose comparisons with strings and tuples are those of versions.

    What is not a version is compared as text, and ``!=`` is that of text, as in PyTorch.

    >>> version = TorchVersion("2.13.0")
    >>> version > "2.9", version >= (2, 13), version == "2.13", version < "abc"
    (True, True, True, True)
    """

    __slots__ = ()

    def _order(self, other: Any, compare: str) -> Any:
        if not isinstance(other, str) and isinstance(other, Iterable):
            other = ".".join(str(part) for part in other)
        if not isinstance(other, str):
            return NotImplemented
        mine, theirs = _key(str(self)), _key(other)
        if mine is None or theirs is None:
            return getattr(str(self), compare)(str(other))
        return getattr(mine, compare)(theirs)

    def __eq__(self, other: object) -> Any:
        return self._order(other, "__eq__")

    def __lt__(self, other: Any) -> Any:
        return self._order(other, "__lt__")

    def __le__(self, other: Any) -> Any:
        return self._order(other, "__le__")

    def __gt__(self, other: Any) -> Any:
        return self._order(other, "__gt__")

    def __ge__(self, other: Any) -> Any:
        return self._order(other, "__ge__")

    __hash__ = str.__hash__
