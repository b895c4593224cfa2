"""Single nodes as the inner loops of NumPy that their operators consist of: with their bits.

An operator's forward is called on stand-ins for its operands, which write down its steps, as where
eager mode replays small arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau.backends import replay_plan
from flambeau.backends.llvm import chores
from flambeau.backends.llvm.walk_text import walk_words
from flambeau.backends.replay_plan import Writer
from flambeau.backends.replay_values import Memory, Refused, Step
from flambeau.backends.replay_values import Value as StandIn
from flambeau.compiler.access import Access
from flambeau.compiler.calls import Call, Place, Word
from flambeau.compiler.graph import Node, Value
from flambeau.compiler.interpreter import stand_for
from flambeau.core.call_steps import STEPS
from flambeau.core.pointwise import LARGE, computing_dtypes
from flambeau.core.promote import number_array, result_type

__all__ = ["Replayed", "replayed_in_rows", "replayed_of"]

ndarray = np.ndarray
# Operators whose forwards take small arrays to NumPy alone: by kind, and by name.
_KINDS = frozenset(("pointwise", "reduction"))
_NAMED = frozenset((*STEPS, "dot", "logcumsumexp", "mv"))


class Replayed(NamedTuple):
    """The loops that a node is; ``homes`` says per memory of theirs where it is, by id.

    That is a result or an operand, by its number among both, a piece of scratch memory, or what
    ``kept`` keeps: a number, or an array of the operator's own.
    """

    outs: list[Value]
    ins: list[Access]
    scratch: list[int]
    steps: list[Step]
    homes: dict[int, tuple[str, int]]
    kept: list[Any]

    @property
    def nbytes(self) -> int:
        """How many bytes it reads and writes."""
        return sum([v.nbytes for v in self.outs]) + sum([a.root.nbytes for a in self.ins])

    def calls(self, words: list[Word], scratch: list[Place]) -> list[list[Call]]:
        """A call for every loop."""
        return [[self._call(step, words, scratch)] for step in self.steps]

    def _call(self, step: Step, words: list[Word], scratch: list[Place]) -> Call:
        besides: Any = step.besides
        if isinstance(besides, tuple):
            besides = self._address(np.array(besides, np.int64))
        starts = [self._start(memory, offset, words, scratch)
                  for memory, offset, _ in step.operands]
        context = walk_words(step.loop, besides, step.sizes, [s for *_, s in step.operands], starts)
        turns = step.sizes[0]
        return Call(chores.chore("walk"), turns, turns, context, 8 * math.prod(step.sizes), turns)

    def _start(self, memory: Any, offset: int, words: list[Word], scratch: list[Place]) -> Word:
        if isinstance(memory, ndarray):
            return self._address(memory.copy())
        kind, at = self.homes[id(memory)]
        if kind == "address":
            return at + offset
        if kind == "scratch":
            return scratch[at], offset
        word = words[at]
        return word + offset if isinstance(word, int) else (word[0], word[1] + offset)

    def _address(self, a: ndarray) -> int:
        """Where an array is, which is kept from now on."""
        self.kept.append(a)
        found: int = a.__array_interface__["data"][0]
        return found


def replayed_of(node: Node, access: Callable[[Value], Access]) -> Replayed | None:
    """The loops that a node of small arrays is; None where they are not known."""
    op = node.op
    if node.kind != "op" or op is None or node.fixed or (
            op.kind not in _KINDS and op.name not in _NAMED):
        return None
    values, outs = node.values(), list(node.outputs)
    if not values or any([not 0 < v.size < LARGE for v in (*values, *outs)]):
        return None
    ins = [access(v) for v in values]
    writer = Writer()
    given = [_stand_in(writer, v, a) for v, a in zip(values, ins)]
    try:
        found = _run(node, given)
        results = _results(writer, found, outs)
        return _placed(writer, given, results, outs, ins)
    except Exception:
        # what the operator does with a stand-in is open: it then runs in Python
        return None


def replayed_in_rows(node: Node, access: Callable[[Value], Access]) -> Replayed | None:
    """As ``replayed_of``, for copies of operands that do not lie row by row.

    There are none where floats are added up, which NumPy does in the order in which they lie.
    """
    op, (*_, last) = node.op, node.outputs
    if op is not None and op.kind == "reduction" and last.dtype.kind == "f":
        return None
    return replayed_of(node, access)


def _stand_in(writer: Writer, v: Value, a: Access) -> StandIn:
    strides = tuple([s * v.dtype.itemsize for s in a.strides])
    return StandIn(writer, Memory(v.dtype, v.size, True), v.shape, strides)


def _run(node: Node, given: Sequence[StandIn]) -> Sequence[Any]:
    """What the operator's forward gives of stand-ins."""
    op, rest = node.op, iter(given)
    assert op is not None
    operands: list[Any] = [next(rest) if type(x) is Value else x for x in node.inputs]
    # what would be refused is checked before, where the graph does not know better
    forward: Any = STEPS.get(op.name) or getattr(op.forward, "unchecked", op.forward)
    if op.kind == "pointwise":
        return [_pointwise(node, operands, forward)]
    found = forward(*operands, **node.params)
    return found if op.multiple else [found]


def _pointwise(node: Node, operands: Sequence[Any], forward: Callable) -> Any:
    assert node.op is not None
    real = [stand_for(x) if type(x) is Value else x.value for x in node.inputs]
    compute, result = computing_dtypes(node.op, result_type(real))
    arrays = [x.astype(compute, copy=False) if isinstance(x, StandIn) else
              number_array(x.value, compute) for x in operands]
    found = forward(*arrays, **node.params)
    return found if result is None else found.astype(result, copy=False)


def _results(writer: Writer, found: Sequence[Any], outs: Sequence[Value]) -> list[StandIn]:
    """What was found, each dense and in memory of its own."""
    results: list[StandIn] = []
    if len(found) != len(outs):
        raise Refused
    for x, out in zip(found, outs):
        if not isinstance(x, StandIn) or x.shape != out.shape or x.dtype != out.dtype:
            raise Refused
        own = not x.memory.given and x.size == x.memory.size and x.flags.c_contiguous
        if not own or any([x.memory is r.memory for r in results]):
            x = writer.dense(x)
        results.append(x)
    return results


def _placed(writer: Writer, given: Sequence[StandIn], results: Sequence[StandIn],
            outs: list[Value], ins: list[Access]) -> Replayed:
    """The steps, once it is said where every memory of theirs is."""
    homes = {id(x.memory): ("word", at) for at, x in enumerate((*results, *given))}
    scratch: list[int] = []
    # Steps refer to memories by id: these must stay.
    memories: list[Any] = [x.memory for x in (*results, *given)]
    _refuse_unsure(writer, given)
    for step in writer.steps:
        for memory, *_ in step.operands:
            if isinstance(memory, ndarray) or id(memory) in homes:
                continue
            memories.append(memory)
            if memory.given:
                homes[id(memory)] = "address", memory.offset
            else:
                homes[id(memory)] = "scratch", len(scratch)
                scratch.append(memory.size * memory.dtype.itemsize)
    return Replayed(outs, ins, scratch, writer.steps, homes, [*memories, *writer.constants])


def _refuse_unsure(writer: Writer, given: Sequence[StandIn]) -> None:
    """Refuse steps that take places which may be none: those that are told are, loops' are not."""
    loops = replay_plan.loops()
    taking = {loops[n] for n in loops if n.startswith(("pick", "put", "add"))}
    finding = {loops[n] for n in loops if n.startswith(("first", "best"))}
    told = {id(x.memory) for x in given}
    sure = {id(s.operands[2][0]) for s in writer.steps if s.loop in finding}
    for step in writer.steps:
        index = step.operands[1][0] if step.loop in taking else None
        if index is not None and id(index) not in sure and (
                not index.given or id(index) in told):
            raise Refused
