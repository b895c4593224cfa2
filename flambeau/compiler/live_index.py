"""Integers that keep changing and index tensors: inputs of a program.

While a step is traced such an argument is a `LiveIndex` in its place, where the step's code does
nothing with it but to index. A tensor that it indexes takes it for an index tensor without
dimensions. Whatever else is done with it is done with its present value, and the trace is one for
that value alone.
"""

from __future__ import annotations

import dis
from collections.abc import Iterator, Sequence
from types import CodeType
from typing import Any

__all__ = ["LiveIndex", "index_names"]

_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
_LOADS = ("LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_CONST", "LOAD_SMALL_INT",
          "LOAD_DEREF")
_PAIRS = ("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW")
_INDEXING = ("BINARY_SUBSCR", "STORE_SUBSCR")


class LiveIndex:
    """An integer in an argument's place; ``leaked`` once its value was read.

    ``number`` is its number among what keeps changing.
    """

    __slots__ = ("leaked", "number", "value")

    def __init__(self, value: int, number: int) -> None:
        self.value = value
        self.number = number
        self.leaked = False

    # isinstance() says that it is an integer
    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        return int

    def plain(self) -> int:
        """The value: as a constant."""
        self.leaked = True
        return self.value

    @property
    def fits(self) -> bool:
        """Whether an index tensor can hold the value."""
        return _LEAST <= self.value <= _MOST

    def expression(self, values: Sequence[Any]) -> int:
        """The value at a later call; of those that no index tensor holds, one that it does."""
        return min(max(values[self.number], _LEAST), _MOST)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plain(), name)

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return int, (self.plain(),)


def _leaking(name: str) -> Any:
    plain = getattr(int, name)

    def method(self: LiveIndex, *args: Any) -> Any:
        return plain(self.plain(), *[a.plain() if type(a) is LiveIndex else a for a in args])

    return method


for _name, _method in vars(int).items():
    if callable(_method) and _name.startswith("__") and _name not in (
            "__new__", "__getattribute__", "__getnewargs__", "__class__"):
        setattr(LiveIndex, _name, _leaking(_name))


def index_names(code: CodeType) -> set[str]:
    """The parameters that code does nothing with but to index, if anything."""
    names = set(code.co_varnames[:code.co_argcount + code.co_kwonlyargcount]) - {*code.co_cellvars}
    steps = [s for s in dis.get_instructions(code) if s.opname not in ("CACHE", "EXTENDED_ARG")]
    for at, step in enumerate(steps):
        for name, above in _touched(step):
            if name in names and not _only_indexes(steps, at, above):
                names.discard(name)
    return names


def _touched(step: dis.Instruction) -> Iterator[tuple[str, int]]:
    """The variables of an instruction, and how many values are on the stack above each.

    That is -1 where it does anything but to load it.
    """
    found = step.argval
    if step.opname in _PAIRS:
        yield found[0], 1
        yield found[1], 0
    elif step.opname == "STORE_FAST_LOAD_FAST":
        yield found[0], -1
        yield found[1], 0
    elif isinstance(found, tuple):
        yield from [(name, -1) for name in found if isinstance(name, str)]
    elif isinstance(found, str) and "FAST" in step.opname:
        yield found, 0 if step.opname in _LOADS else -1


def _only_indexes(steps: Sequence[dis.Instruction], at: int, above: int) -> bool:
    """Whether what was loaded at ``at`` becomes an index, or an item of one; not part of a slice.

    ``above`` is how many values are on the stack above it.
    """
    if above < 0:
        return False
    for following, step in enumerate(steps[at + 1:], at + 1):
        if _is_indexing(step):
            return above == 0
        if step.opname in _LOADS:
            above += 1
        elif step.opname in _PAIRS:
            above += 2
        elif step.opname == "BUILD_SLICE" and (step.arg or 0) <= above:
            above -= (step.arg or 0) - 1
        elif step.opname == "BUILD_TUPLE" and (step.arg or 0) <= above:
            above -= (step.arg or 0) - 1
        elif step.opname == "BUILD_TUPLE":
            return _is_indexing(steps[following + 1])
        else:
            return False
    return False


def _is_indexing(step: dis.Instruction) -> bool:
    return step.opname in _INDEXING or step.opname == "BINARY_OP" and step.argrepr == "[]"
