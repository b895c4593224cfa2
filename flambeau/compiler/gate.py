"""The checks of a program, and its run, as one native call: the table that it reads."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import numpy as np

from flambeau.backends import memory
from flambeau.backends.llvm import calls, chores
from flambeau.backends.llvm.check_text import FUNCTIONS, SPARES, WANTED, WRITEABLE
from flambeau.backends.llvm.gate_text import gate_text
from flambeau.base.device import CHOSEN
from flambeau.base.dtypes import _Default
from flambeau.base.settings import FILLING
from flambeau.compiler.access import dense
from flambeau.compiler.state import MISSING, Entry
from flambeau.compiler.words import (
    class_word,
    dict_word,
    function_words,
    slot_words,
    word,
)
from flambeau.core.dispatch import saved_hooks
from flambeau.core.modes import FUNCTION_MODES, INFERENCE, MODES
from flambeau.core.node import LEAF
from flambeau.core.tensor import META_SLOTS, TENSOR_SLOTS

__all__ = ["Gate", "first_table", "native_step"]

# The table's first words.
(ARGS, CHECKS, SLOTS, OBJECTS, ARRAYS, LIVES, NONE, LEAF_AT, OFF_A, OFF_NODE, OFF_X, OFF_GRAD,
 SPANS, RUN, RUNS, MADE, FALSE) = range(17)
HEAD_WORDS = 17
(END, ITEMS, DICT, LIST, CELL, ATTRIBUTE, ARGUMENT, HELD, GRAD, NO_GRAD, SIZE,
 IDENTITY, SOME_GRAD, NO_HOOKS, WORD, SET) = range(16)
# Whose equality says all.
_COMPARABLE = {str, bytes, int, bool, type(None)}


# Where tensors keep array, node and rarer facts; where those have the gradient and hooks.
_SLOTS = {name: TENSOR_SLOTS[name] for name in ("_a", "_node", "_x")}
_FACTS = {name: META_SLOTS[name] for name in ("grad", "hooks", "post_hooks")}


@functools.cache
def _offsets() -> tuple[int, ...] | None:
    """How far into a tensor, and into its rarer facts, slots are; None where that is not told."""
    found: list[int] = []
    for slots in (_SLOTS, _FACTS):
        offsets = calls.slot_offsets(slots)
        if offsets is None:
            return None
        found += offsets.values()
    return tuple(found)


@functools.cache
def _spares() -> int:
    """How many arrays are kept for a result: none where objects do not begin with their count."""
    probe: list[Any] = []
    counts = [ctypes.c_int32.from_address(id(probe)).value]
    probe.append(probe)
    counts.append(ctypes.c_int32.from_address(id(probe)).value)
    probe.clear()
    return SPARES if counts == [1, 2] else 0


@functools.cache
def native_step() -> Callable[..., Any] | None:
    """``step(table, pool, *lives, *arguments)``; None where objects lie some other way."""
    if _offsets() is None:
        return None
    return calls.direct_entry(gate_text(), "step", FUNCTIONS)


class Gate:
    """The table of a program, with the kernels that ``run`` calls and the arrays that they make.

    ``table`` is what `native_step` takes; None if it cannot be made.
    """

    def __init__(self, program: Any, run: np.ndarray, made: list[tuple[int, Any]]) -> None:
        # What the table has addresses of.
        self.kept: list[Any] = [program.executor]
        self.marks: dict[tuple[int, int], int] = {}
        self.loose = program.loose
        self.words: dict[tuple[int, int], int] = {}
        self.table: np.ndarray | None = None
        # Arrays that results may be made in, if nobody else has them.
        self.pool: list[Any] = []
        # Where the table has the numbers of changes of libraries.
        self.numbers: list[int] = []
        checks = self._checks(program)
        offsets = _offsets()
        if checks is None or offsets is None:
            return
        slots = program.slots
        lives, fresh = len(program.lives), len(made)
        words = [0] * HEAD_WORDS
        words[ARGS] = 2 + lives + len(program.constants)
        words[SLOTS], words[LIVES] = len(slots), lives
        words[NONE], words[LEAF_AT] = id(None), id(LEAF)
        words[FALSE] = id(False)
        words[OFF_A], words[OFF_NODE], words[OFF_X], words[OFF_GRAD] = offsets[:4]
        words[CHECKS] = len(words)
        words += checks
        words[OBJECTS] = len(words)
        words += [0] * len(slots)
        words[ARRAYS] = len(words)
        words += [0] * (len(slots) + lives + fresh)
        words[SPANS] = len(words)
        words += self._spans(program)
        words[MADE] = len(words)
        words += self._made(program.executor, made)
        words[RUN] = len(words)
        self.table = np.concatenate([np.array(words, np.int64), run])
        # Where the table has the number that keeps changing, per (entry, number in it).
        self.words = {key: int(np.flatnonzero(self.table == mark)[0])
                      for key, mark in self.marks.items()}

    @property
    def runs(self) -> int:
        """How often the step has run."""
        return 0 if self.table is None else int(self.table[RUNS])

    @property
    def releases(self) -> bool:
        """Whether other Python threads run while the table does."""
        return self.table is not None and bool(self.table[int(self.table[RUN]) + chores.ALONE])

    def expect(self, numbers: list[int]) -> None:
        """Take what libraries hold as it is at these numbers of changes."""
        if self.table is not None:
            self.table[self.numbers] = numbers

    def _made(self, plan: Any, fresh: list[tuple[int, Any]]) -> list[int]:
        """What makes each new array, how many of them are kept, and what they are like."""
        words = [len(fresh)]
        for slot, target in fresh:
            value = target.value
            maker = plan.maker(slot, target)
            places = 0 if value.nbytes >= memory.ALIGN_FROM or slot in plan.elsewhere else _spares()
            self.pool += [None] * places
            like = [len(value.shape), self._keep(value.dtype), WANTED, *value.shape,
                    *[s * value.dtype.itemsize for s in dense(value.shape)]]
            words += [self._keep(maker), places, 3 + len(like), *like]
        return words

    def _keep(self, x: Any) -> int:
        self.kept.append(x)
        return id(x)

    def _expected(self, entry: Entry, i: int, held: Any) -> int:
        """The word for what number ``i`` of an entry holds: written at each call if it changes."""
        key = (id(entry), i)
        if key not in self.loose:
            return self._keep(held)
        self.marks[key] = -(1 << 62) - len(self.marks)
        return self.marks[key]

    # Checks: code, length, then what they are about.

    def _checks(self, program: Any) -> list[int] | None:
        words: list[int] = []
        for check in (*self._environment(program), *self._slots(program)):
            words += [check[0], len(check) + 1, *check[1:]]
        for at, number in zip(program.versions, program.seen):
            words += [WORD, 4, at, number]
            self.numbers.append(HEAD_WORDS + len(words) - 1)
        for entry in program.looked:
            found = self._entry(entry)
            if found is None:
                return None
            for check in found:
                words += [check[0], len(check) + 1, *check[1:]]
        return [*words, END, 2]

    def _environment(self, program: Any) -> Iterator[list[int]]:
        grad, _, anomaly, lower, default, devices, filling = program.env
        yield [LIST, self._keep(INFERENCE), 0]
        yield [LIST, self._keep(FUNCTION_MODES), 0]
        yield [LIST, self._keep(saved_hooks), 0]
        yield [LIST, self._keep(CHOSEN), len(devices), *map(self._keep, devices)]
        yield [LIST, self._keep(FILLING), int(filling), *[id(True)] * filling]
        for name, value in (("grad", grad), ("anomaly", anomaly), ("tracer", None),
                            ("lower", lower)):
            yield [ATTRIBUTE, self._keep(MODES), self._keep(_interned(name)), id(value)]
        yield [ATTRIBUTE, self._keep(_Default), self._keep(_interned("real")),
               self._keep(default)]

    def _slots(self, program: Any) -> Iterator[list[int]]:
        used = {s.where for s in program.slots if s.source == "arg"}
        for i, look in enumerate(program.looks):
            if look is None and i in program.moving:
                continue
            if look is None:
                yield [IDENTITY, i, self._keep(program.constants[i])]
            elif i not in used:
                yield [ARGUMENT, i, -1, self._keep(look[0]), look[1]]
        for at in program.order:
            slot = program.slots[at]
            code = {"arg": ARGUMENT, "held": HELD, "grad": GRAD}[slot.source]
            about = self._keep(slot.tensor) if slot.source == "held" else slot.where
            held = np.dtype(slot.dtype.type)
            yield [code, about, at, self._keep(slot.kind), slot.node, len(slot.shape),
                   self._keep(held), WRITEABLE if at in program.mutated else 0, *slot.shape,
                   *slot.strides]
            if slot.source != "held" and slot.node == 1:
                for offset in (_offsets() or ())[4:]:
                    yield [NO_HOOKS, at, offset]
            if slot.grad is not ...:
                yield [NO_GRAD if slot.grad else SOME_GRAD, at]

    def _entry(self, entry: Entry) -> list[list[int]] | None:
        if entry.kind == "cell":
            held = entry.held[0]
            return None if held is MISSING else [
                [CELL, self._keep(entry.owner), self._expected(entry, 0, held)]]
        if entry.kind == "object":
            return self._object(entry)
        if entry.kind == "context":
            return []  # the quick call looks at it
        if entry.kind == "slot":
            if any([x is MISSING for x in entry.held]):
                return None
            places = function_words(entry.owner, entry.held) or slot_words(
                entry.owner, entry.key, entry.held)
            if places is not None:
                self._keep(entry.owner)
                for x in entry.held:
                    self._keep(x)
                return [[WORD, at, word(at)] for at in places]
            return [[ATTRIBUTE, self._keep(entry.owner), self._keep(_interned(name)),
                     self._keep(x)] for name, x in zip(entry.key, entry.held)]
        if entry.kind == "items":
            return self._items(entry)
        objects = [self._expected(entry, i, x) for i, x in enumerate(entry.held)]
        if entry.kind == "dict" and isinstance(entry.owner, dict):
            return [[DICT, self._keep(entry.owner), len(objects) // 2, *objects]]
        if entry.kind == "set" and all(map(_compares_quietly, entry.held)):
            return [[SET, self._keep(entry.owner), len(objects), *objects]]
        if entry.kind == "list" and type(entry.owner) is list:
            return [[LIST, self._keep(entry.owner), len(objects), *objects]]
        return None

    def _object(self, entry: Entry) -> list[list[int]] | None:
        """The words of an object that say what class it has and which dict."""
        owner, (kind, held) = entry.owner, entry.held
        found = [[WORD, class_word(owner), self._keep(kind)]]
        if held is not None:
            at = dict_word(owner, held)
            if not at:
                return None
            found.append([WORD, at, self._keep(held)])
        self._keep(owner)
        return found

    def _items(self, entry: Entry) -> list[list[int]] | None:
        owner = entry.owner
        address = self._keep(owner)
        if type(owner) is MappingProxyType:
            address = ctypes.c_void_p.from_address(id(owner) + calls.HEAD).value or 0
        elif not isinstance(owner, dict):
            return None
        pairs = []
        for i, (key, held) in enumerate(zip(entry.key, entry.held)):
            pairs += [self._keep(key), 0 if held is MISSING else self._expected(entry, i, held)]
        found = [[ITEMS, address, len(entry.key), *pairs]]
        if entry.size >= 0:
            found.append([SIZE, address, entry.size])
        return found

    def _spans(self, program: Any) -> list[int]:
        words = []
        groups = program.groups
        for at, slot in enumerate(program.slots):
            size = slot.dtype.itemsize
            for n, s in zip(slot.shape, slot.strides):
                size += (n - 1) * abs(s)
            size = 0 if 0 in slot.shape else size
            words += [size, groups[at], int(groups[at] in program.mutated_groups), 0]
        return words


def _compares_quietly(x: Any) -> bool:
    """Whether looking for it in a set runs no code of a program, and finds what is as good."""
    kind = type(x)
    by_identity = kind.__eq__ is object.__eq__ and kind.__hash__ is object.__hash__
    return kind in _COMPARABLE or by_identity


def _interned(name: str) -> str:
    import sys  # only here
    return sys.intern(name)


def first_table(plan: Any) -> np.ndarray:
    """A plan's first table of kernels for the gate: empty where the plan begins in Python."""
    if not plan.segments or plan.segments[0].table is None:
        return chores.table_words([], [], False)
    segment = plan.segments[0]
    run = segment.table.copy()
    for p in range(int(run[0])):
        at = chores.HEAD_WORDS + 3 * p + 1
        run[at] = segment.slots[int(run[at])]
    return run
