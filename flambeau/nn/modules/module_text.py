"""The text of modules: one line each, submodules indented below."""

from __future__ import annotations

from typing import Any

__all__ = ["indented", "module_text"]


def indented(text: str, spaces: int) -> str:
    """``text`` with the lines after the first moved right; blank ones become empty.

    >>> indented("a\\nb", 2)
    'a\\n  b'
    """
    first, *rest = text.split("\n")
    return "\n".join([first, *[" " * spaces + line if line.strip() else "" for line in rest]])


def module_text(module: Any) -> str:
    """What ``repr`` says of a module: its class, ``extra_repr`` and its submodules."""
    extra = module.extra_repr()
    own = extra.split("\n") if extra else []
    below = [f"({name}): {indented(repr(m), 2)}" for name, m in module._modules.items()]
    name = module._get_name()
    if not below and len(own) == 1:
        return f"{name}({own[0]})"
    lines = own + below
    inside = "\n  " + "\n  ".join(lines) + "\n" if lines else ""
    return f"{name}({inside})"
