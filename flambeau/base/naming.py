"""The name that flambeau goes by in text: its own, or ``torch`` while it stands in for it."""

from __future__ import annotations

__all__ = ["prefix", "public_name", "set_prefix"]

OWN = "flambeau"
TORCH = "torch"

_prefix = OWN


def prefix() -> str:
    """The public package's name, as every repr and error message spells it.

    >>> prefix()
    'flambeau'
    """
    return _prefix


def set_prefix(name: str) -> None:
    """Make ``name`` the spelling from here on; only ``as_torch`` has a reason to."""
    global _prefix
    _prefix = name


def public_name(name: str) -> str:
    """The dotted name ``name`` as it is spelled now.

    >>> public_name("torch.nn.functional")
    'flambeau.nn.functional'
    """
    package, dot, rest = name.partition(".")
    return f"{_prefix}{dot}{rest}" if package in (OWN, TORCH) else name
