"""A recording: what ran, when, inside of what, and with which memory, while it was going on."""

from __future__ import annotations

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from types import FrameType, FunctionType
from typing import Any

import numpy as np

from flambeau.core.exchange import Exchange
from flambeau.core.modes import pause
from flambeau.core.node import LEAF, Node, Output
from flambeau.core.tensor import Tensor

__all__ = ["BACKWARD", "FORWARD", "Record", "Session", "USER", "active"]

# What runs, by PyTorch's numbers: an operator, a node of backward, a block that a user named.
FORWARD, BACKWARD, USER = 0, 1, 7
NESTED = "Profiler is already enabled on this thread"
clock = time.perf_counter_ns


class Record:
    """One run of something: its name, its time in nanoseconds, what it ran inside of."""

    __slots__ = ("allocated", "children", "end", "flops", "name", "parent", "scope", "sequence",
                 "shapes", "stack", "start")

    def __init__(self, name: str, scope: int, parent: Record | None) -> None:
        self.name = name
        self.scope = scope
        self.parent = parent
        self.children: list[Record] = []
        self.allocated = 0
        self.flops = 0
        self.sequence = -1
        self.shapes: list | None = None
        self.stack: list[str] | None = None
        self.start = self.end = 0


class _Running:
    session: Session | None = None


def active() -> Session | None:
    """The recording that is going on, if any."""
    return _Running.session


def _forget() -> None:
    """In a child of the process nobody asks for what it runs."""
    if _Running.session is not None:
        _Running.session.stop()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class Session:
    """Records what the thread that starts it runs.

    ``shapes``, ``memory`` and ``stack`` say what to note beside the times; ``flops_of`` estimates
    the floating-point operations of an operator from its name, arguments and result.
    """

    def __init__(self, *, shapes: bool = False, memory: bool = False, stack: bool = False,
                 flops_of: Callable | None = None) -> None:
        self.shapes = shapes
        self.memory = memory
        self.stack = stack
        self.flops_of = flops_of
        self.records: list[Record] = []
        # Allocations and their ends: (nanoseconds, bytes, bytes in all, address).
        self.allocations: list[tuple[int, int, int, int]] = []
        self.paused = False
        self.start_ns = self.stop_ns = 0
        self.thread = threading.get_ident()
        # By which the operating system, and so other tools, know the thread.
        self.native_thread = threading.get_native_id()
        self._open: list[Record] = []
        self._exchanges: list[Exchange] = []
        self._watched: set[int] = set()
        self._living: dict[int, weakref.ref] = {}
        self._total = 0

    def start(self, watch: Callable[[Session], None]) -> None:
        """Begin, once ``watch(self)`` has said what to record.

        RuntimeError where another recording is going on.
        """
        if _Running.session is not None:
            raise RuntimeError(NESTED)
        _Running.session = self
        # what is watched must not be called some other way
        pause(True)
        try:
            watch(self)
        except BaseException:
            self.stop()
            raise
        self.start_ns = clock()

    def stop(self) -> None:
        """End; what is still open ends now."""
        self.stop_ns = clock()
        if _Running.session is self:
            _Running.session = None
            pause(False)
        for exchange in reversed(self._exchanges):
            exchange.undo()
        self._exchanges.clear()
        self._living.clear()
        while self._open:
            self.close(self._open[-1])

    def is_mine(self) -> bool:
        """Whether the calling thread is the one that is recorded."""
        return threading.get_ident() == self.thread

    def exchange(self, function: Any, replace: Callable[[Callable], Callable]) -> None:
        """Run something in a function's place while the recording goes on; once per function."""
        if isinstance(function, FunctionType) and id(function) not in self._watched:
            self._watched.add(id(function))
            self._exchanges.append(Exchange(function, replace))

    def watch(self, function: Any, *names: Any) -> None:
        """Record every call of ``function``.

        ``names`` are names, or functions of its arguments that give them, each perhaps in a pair
        with its scope; the records of several lie inside each other.
        """
        levels = [name if isinstance(name, tuple) else (name, FORWARD) for name in names]

        def replace(original: Callable) -> Callable:
            def call(*args: Any, **kwargs: Any) -> Any:
                if threading.get_ident() != self.thread or self.paused:
                    return original(*args, **kwargs)
                return self._run(original, levels, args, kwargs)

            return call

        self.exchange(function, replace)

    def _run(self, original: Callable, levels: list[tuple], args: tuple, kwargs: dict) -> Any:
        outermost = record = None
        for name, scope in levels:
            shown = name if type(name) is str else name(*args)
            record = self.open(shown, scope, args, kwargs)
            outermost = outermost or record
        if record is None or outermost is None:
            return original(*args, **kwargs)
        result = None
        try:
            result = original(*args, **kwargs)
            return result
        finally:
            record.end = clock()
            self._note(record, args, kwargs, result)
            self.close(outermost)

    def open(self, name: str, scope: int, args: tuple = (),
             kwargs: dict | None = None) -> Record | None:
        """Begin a record inside of the open one; None where that operator is open already."""
        parent = self._open[-1] if self._open else None
        if scope == FORWARD and parent is not None and parent.name == name:
            return None
        record = Record(name, scope, parent)
        if self.shapes:
            record.shapes = [_shape(x) for x in (*args, *(kwargs or {}).values())]
        if self.stack:
            record.stack = list(_stack(sys._getframe(1)))
        if parent is not None:
            parent.children.append(record)
        self.records.append(record)
        self._open.append(record)
        record.start = clock()
        return record

    def close(self, record: Record) -> None:
        """End a record, and whatever is open inside of it."""
        now = clock()
        while self._open:
            last = self._open.pop()
            last.end = last.end or now
            if last is record:
                return

    def _note(self, record: Record, args: tuple, kwargs: dict, result: Any) -> None:
        if record.scope == BACKWARD:
            record.sequence = getattr(args[0], "seq", -1)
        elif isinstance(result, Tensor):
            record.sequence = _sequence(result)
        if self.flops_of is not None and not any(child.flops for child in record.children):
            record.flops = self.flops_of(record.name, (*args, *kwargs.values()), result)
        if self.memory:
            self._note_memory(record, result)

    def _note_memory(self, record: Record, result: Any) -> None:
        for t in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(t, Tensor) and type(t._a) is np.ndarray:
                owner = _owner(t._a)
                if owner.size and id(owner) not in self._living:
                    self._allocated(record, owner)

    def _allocated(self, record: Record, owner: np.ndarray) -> None:
        size, key = owner.nbytes, id(owner)
        place = owner.__array_interface__["data"][0]

        def ended(_: Any) -> None:
            # Not of arrays that outlive the recording.
            if self._living.pop(key, None) is not None:
                if self._open:
                    self._open[-1].allocated -= size
                self._count(-size, place)

        self._living[key] = weakref.ref(owner, ended)
        record.allocated += size
        self._count(size, place)

    def _count(self, size: int, place: int) -> None:
        self._total += size
        self.allocations.append((clock(), size, self._total, place))


def _owner(a: np.ndarray) -> np.ndarray:
    """The array whose memory ``a`` shows."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return a


def _sequence(t: Tensor) -> int:
    node = t._node
    if type(node) is Output:
        node = node.node
    return node.seq if node is not None and node is not LEAF and isinstance(node, Node) else -1


def _shape(x: Any) -> list:
    """The sizes of a tensor; an empty list for what is none."""
    return list(x._a.shape) if isinstance(x, Tensor) else []


def _stack(frame: FrameType | None) -> Iterator[str]:
    """The calls of the program, innermost first, as "file(line): function"."""
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in ("flambeau", "torch"):
            yield f"{frame.f_code.co_filename}({frame.f_lineno}): {frame.f_code.co_name}"
        frame = frame.f_back
