"""Functions that several modules call: compiled once, beside those modules, and linked to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ["Function", "Shared", "module", "shared"]

# the text of a function, and what it declares
Function = tuple[str, set[str]]

_HEAD = re.compile(r"define internal (\S+) @(\w+)\(([^)]*)\)")
_NAME = re.compile(r" %[\w.]+")


class Shared(NamedTuple):
    """A module that others import, the names that it exports, and how others declare these."""

    text: str
    exports: tuple[str, ...]
    declarations: frozenset[str]


def module(functions: Iterable[Function], vector_bytes: int,
           imported: Sequence[Shared] = ()) -> str:
    """One module of several functions, which may call what it imports."""
    parts = list(functions)
    declared = set().union(*[d for _, d in parts], *[x.declarations for x in imported])
    attributes = f'attributes #0 = {{ nounwind "prefer-vector-width"="{8 * vector_bytes}" }}'
    return "\n".join([*sorted(declared), *[text for text, _ in parts], attributes, ""])


def shared(functions: Sequence[Function], names: Sequence[str], vector_bytes: int) -> Shared:
    """A module whose functions of these names, internal in their texts, others may call."""
    texts, declarations = [], set()
    for text, declared in functions:
        found = _HEAD.search(text)
        if found is not None and found[2] in names:
            text = text.replace("define internal ", "define ", 1)
            declarations.add(f"declare {found[1]} @{found[2]}({_NAME.sub('', found[3])})")
        texts.append((text, declared))
    return Shared(module(texts, vector_bytes), tuple(names), frozenset(declarations))
