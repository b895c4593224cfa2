"""A graph as native code: kernels in order, memory for what they make, and one table of calls."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from flambeau.backends import memory
from flambeau.backends.llvm import chores, pool
from flambeau.backends.threads import leave_blas_alone
from flambeau.compiler.access import Access, access_of, dense
from flambeau.compiler.arena import Arena
from flambeau.compiler.graph import Graph, Node, Value
from flambeau.compiler.groups import Group, Unit, grouped
from flambeau.compiler.interpreter import OutOfRange, step_of
from flambeau.compiler.kernels import Kernel, compile_all, kernel_of
from flambeau.compiler.products import Product, product_of
from flambeau.compiler.strides import Strided, strided_of

__all__ = ["NativeResult", "Plan", "Target"]

ndarray = np.ndarray
# Bytes moved, or operations done, from which other Python threads may run meanwhile.
LONG = 1 << 16


class Target(NamedTuple):
    """Where a wanted value shall be: in the array of an input, or in a new one (input -1)."""

    value: Value
    input: int
    strides: tuple[int, ...]


class Place(NamedTuple):
    """Where a value's elements are: "arena" (a byte), "slot" (an array of the call), "const"."""

    kind: str
    at: int


class Segment:
    """Units that run as one table, or one node that runs in NumPy."""

    def __init__(self, table: ndarray | None, slots: list[int], call: Callable | None) -> None:
        self.table = table
        self.slots = slots
        self.call = call
        # Arrays that nobody needs once this has run.
        self.dying: list[int] = []


class Plan:
    """``run(arrays)`` computes the targets; ``fresh`` are those that are new arrays."""

    def __init__(self, graph: Graph, inputs: int, targets: Sequence[Target]) -> None:
        self.graph = graph
        self.targets = targets
        self.lock = threading.Lock()
        self.known: dict[int, Access] = {}
        self.consts: dict[int, ndarray] = {}
        self.units, self.known = grouped(graph)
        self.inputs = self.slots = inputs
        self.places: dict[int, Place] = {}
        self.fresh: list[tuple[int, Target]] = []
        self.written: set[int] = set()
        self._place_inputs()
        self.order = self._ordered()
        self.homes = {v.number: u for u in self.order for n in u.nodes for v in n.outputs}
        self.singles = {u.number: s for u in self.order if not isinstance(u, Group)
                        for s in [self._single(u.nodes[0])] if s is not None}
        self._place_targets()
        self._build()

    def access(self, value: Value) -> Access:
        """How a value lies."""
        return access_of(value, self.known)

    # Order

    def _ordered(self) -> list[Unit]:
        """Units in an order that dependencies allow: what can fail first, writers last."""
        aims = {t.value.number for t in self.targets if t.input >= 0}

        def rank(unit: Unit) -> tuple[int, int]:
            writes = any([v.number in aims for n in unit.nodes for v in n.outputs])
            return int(writes), unit.number

        ready: list[tuple[int, int]] = []
        # Per unit those that wait for it, though for others, too, it may be.
        waiting: dict[int, list[Unit]] = {}
        done = 0

        def enter(unit: Unit) -> None:
            left = unit.before & ~done
            if left:
                waiting.setdefault((left & -left).bit_length() - 1, []).append(unit)
            else:
                heapq.heappush(ready, rank(unit))

        for u in self.units:
            enter(u)
        units = {u.number: u for u in self.units}
        found = []
        while ready:
            number = heapq.heappop(ready)[-1]
            found.append(units[number])
            done |= 1 << number
            for u in waiting.pop(number, ()):
                enter(u)
        assert not waiting, "units wait for each other"
        return found

    # Places

    def _place_inputs(self) -> None:
        for node in self.graph.nodes:
            if node.kind == "input":
                self.places[node.outputs[0].number] = Place("slot", node.params["at"])
            elif node.kind == "const":
                value = node.outputs[0]
                self.consts[value.number] = np.array(node.params["array"], order="C")
                self.places[value.number] = Place("const", value.number)

    def _place_targets(self) -> None:
        """Let values that are wanted be computed where they are wanted, if nothing forbids it."""
        readers = self._readers()
        turns = {u.number: at for at, u in enumerate(self.order)}
        sources = {n.params["at"]: n.outputs[0] for n in self.graph.nodes if n.kind == "input"}
        kept = {self.access(t.value).root.number for t in self.targets}
        safe = max([at for at, u in enumerate(self.order) if self._may_fail(u)], default=-1)
        for target in self.targets:
            value = target.value
            if value.number in self.places or self.access(value).root is not value:
                continue
            home = self.homes[value.number]
            if target.strides != tuple(
                    [s * value.dtype.itemsize for s in dense(value.shape)]) and value.size > 1:
                continue
            if target.input < 0:
                self.places[value.number] = Place("slot", self._new_slot(target))
            elif turns[home.number] > safe and target.input not in self.written and (
                    self._may_overwrite(value, turns[home.number], sources.get(target.input),
                                        kept, readers)):
                self.places[value.number] = Place("slot", target.input)
                self.written.add(target.input)

    def _new_slot(self, target: Target) -> int:
        self.fresh.append((self.slots, target))
        self.slots += 1
        return self.slots - 1

    def _readers(self) -> dict[int, list[int]]:
        """Per input's number the places, in the order, of the units that read it."""
        found: dict[int, list[int]] = {}
        for at, unit in enumerate(self.order):
            for root in self._roots_read(unit):
                found.setdefault(root.number, []).append(at)
        return found

    def _roots_read(self, unit: Unit) -> Iterator[Value]:
        for node in unit.nodes:
            for v in node.values():
                yield self.access(v).root

    def _may_overwrite(self, value: Value, at: int, source: Value | None, kept: set[int],
                       readers: dict[int, list[int]]) -> bool:
        """Whether the unit at a place of the order can write into an input: nobody needs what it
        held by then. ``kept`` are the values that are wanted in the end.
        """
        home = self.order[at]
        if not isinstance(home, Group):
            return False
        if source is None:
            return True
        if source.number in kept or any([i > at for i in readers.get(source.number, ())]):
            return False
        layout = home.layouts[value.number]
        return all([self._reads_in_step(home, n, source, layout) for n in home.nodes])

    def _reads_in_step(self, home: Group, node: Node, source: Value, layout: str) -> bool:
        operands: Sequence[Any] = home.operands[id(node)]
        for x in operands:
            access = getattr(x, "access", None)
            if access is None or access.root is not source:
                continue
            if access.offset or layout == "row":
                return False
            if layout == "array" and (x.layout != "array" or home.reduces):
                return home.size == 1
            if layout == "column" and x.layout != "column" and home.size != home.columns:
                return False
        return True

    # Building

    def _build(self) -> None:
        kept = self._kept()
        kernels = {u.number: kernel_of(u, kept) for u in self.order if isinstance(u, Group)}
        self.kernels = kernels
        self._place_made(kernels)
        for kernel in kernels.values():
            if all([self.places[v.number].kind == "arena" or self.places[v.number].at >= self.inputs
                    for v in kernel.outs]):
                kernel.stream()
        compile_all(kernels.values())
        writer = _Writer(self)
        for unit in self.order:
            if unit.number in kernels:
                writer.kernel(kernels[unit.number])
            elif unit.number in self.singles:
                writer.single(self.singles[unit.number])
            else:
                writer.node(unit.nodes[0])
            writer.unit_ends()
        self.segments = writer.finished()
        self._let_die(writer.homes)
        self.arena = memory.empty((self.arena_size,), np.dtype(np.uint8))
        writer.settle(self.arena)

    def _let_die(self, homes: list[int]) -> None:
        """Note after which segment nobody needs the arrays that single nodes make.

        ``homes`` has the segment of every unit, in their order.
        """
        lasting = {slot for slot, _ in self.fresh}
        for number, place in self.places.items():
            last = self.last.get(number)
            if (place.kind == "slot" and place.at >= self.inputs and place.at not in lasting
                    and last is not None and last < len(homes)):
                self.segments[homes[last]].dying.append(place.at)

    def _single(self, node: Node) -> Product | Strided | None:
        """The kernel that a node outside of groups is; None where it runs in Python."""
        if node.kind != "op" or is_power(node):
            return None
        return product_of(node, self.access) or strided_of(node, self.access)

    def _may_fail(self, unit: Unit) -> bool:
        return not (isinstance(unit, Group) or unit.number in self.singles
                    or is_power(unit.nodes[0]))

    def _kept(self) -> set[int]:
        """The values that somebody reads outside of the group that makes them."""
        kept = {self.access(t.value).root.number for t in self.targets}
        for unit in self.order:
            for root in self._roots_read(unit):
                if self.homes.get(root.number) is not unit:
                    kept.add(root.number)
        for u in self.order:
            if isinstance(u, Group) and not any([n.outputs[0].number in kept for n in u.nodes]):
                kept.add(u.nodes[-1].outputs[0].number)
        return kept

    def _place_made(self, kernels: dict[int, Kernel]) -> None:
        """Give every value that a unit leaves behind a place, while somebody needs it."""
        last: dict[int, int] = {}
        for at, unit in enumerate(self.order):
            for root in self._roots_read(unit):
                last[root.number] = at
        for t in self.targets:
            last[self.access(t.value).root.number] = len(self.order)
        self.last = last
        arena = Arena()
        self.partials: dict[int, int] = {}
        for at, unit in enumerate(self.order):
            made: list[Value] = []
            if unit.number in kernels:
                kernel = kernels[unit.number]
                made = kernel.outs
                for value, layout in zip(kernel.outs, kernel.layouts):
                    if layout == "row":
                        size = kernel.count * value.nbytes
                        self.partials[value.number] = arena.take(size, at, at)
            elif unit.number in self.singles or is_power(unit.nodes[0]):
                made = [unit.nodes[0].outputs[0]]
            else:
                for value in unit.nodes[0].outputs:
                    if value.number not in self.places:
                        self.places[value.number] = Place("slot", self.slots)
                        self.slots += 1
            for value in made:
                if value.number not in self.places:
                    end = last.get(value.number, at)
                    self.places[value.number] = Place("arena", arena.take(value.nbytes, at, end))
        self.arena_size = arena.size

    # Running

    def run(self, arrays: Sequence[ndarray]) -> NativeResult:
        """Compute the targets; raises OutOfRange where a check fails."""
        pool.ensure_started()
        slots: list[Any] = [*arrays, *[None] * (self.slots - len(arrays))]
        for slot, target in self.fresh:
            slots[slot] = memory.empty(target.value.shape, target.value.dtype)
        self.go_on(slots, 0)
        return NativeResult(self, slots)

    def go_on(self, slots: list[Any], first: int) -> None:
        """Run the segments from number ``first`` on; raises OutOfRange where a check fails."""
        run = chores.run_table()
        assert run is not None
        for segment in self.segments[first:]:
            if segment.table is None:
                assert segment.call is not None
                segment.call(slots)
            elif not run(segment.table, *[slots[i] for i in segment.slots]):
                raise OutOfRange
            for i in segment.dying:
                slots[i] = None

    def reader(self, value: Value) -> Callable[[list[Any]], ndarray]:
        """A function from the slots of a run to the array of a value."""
        found = self.access(value)
        root, place = found.root, self.places[found.root.number]
        item = root.dtype.itemsize
        strides = tuple([s * item for s in found.strides])

        def base(slots: list[Any]) -> ndarray:
            if place.kind == "slot":
                return slots[place.at]
            if place.kind == "const":
                return self.consts[place.at]
            return self.arena[place.at:place.at + root.nbytes].view(root.dtype).reshape(root.shape)

        def view(slots: list[Any]) -> ndarray:
            if not value.size:
                return np.empty(value.shape, value.dtype)
            start = as_strided(base(slots), (found.offset + 1,), (item,))[found.offset:]
            return as_strided(start, found.shape, strides, writeable=False)

        return base if root is value else view


class NativeResult:
    """What a run computed."""

    def __init__(self, plan: Plan, slots: list[Any]) -> None:
        self.plan = plan
        self.slots = slots

    def is_written(self, value: Value, input: int) -> bool:
        """Whether a value was computed in the array of an input."""
        return self.plan.places.get(value.number) == ("slot", input)

    def array(self, value: Value) -> ndarray:
        """The array of a value, in memory that the next run uses again."""
        return self.plan.reader(value)(self.slots)

    def new(self, target: int) -> ndarray | None:
        """The new array of a target; None where it was not computed in one."""
        return next((self.slots[s] for s, t in self.plan.fresh
                     if t is self.plan.targets[target]), None)


def is_power(node: Node) -> bool:
    """Whether a node is a power of float64 numbers that lie as the C library's loop reads them."""
    if node.op is None or node.op.name != "pow" or node.outputs[0].dtype != np.float64:
        return False
    shape = node.outputs[0].shape
    for x in node.inputs:
        if type(x) is Value:
            access = access_of(x)
            if x.dtype != np.float64 or access.strides != dense(access.shape) or (
                    x.shape != shape and x.size != 1):
                return False
        elif isinstance(x.value, (complex, bool)):
            return False
    return True


class _Writer:
    """Writes the tables: entries, and where in them addresses must be put."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.segments: list[Segment] = []
        # The segment of every unit so far.
        self.homes: list[int] = []
        self.entries: list[list[int]] = []
        self.patches: list[tuple[int, int, int]] = []
        self.arena_words: list[tuple[int, int]] = []
        self.pending: list[tuple[int, list[tuple[int, int]]]] = []
        self.work = 0
        self.length = 0

    def unit_ends(self) -> None:
        """Note where the unit that was just written runs: in the table to come, or by itself."""
        self.homes.append(len(self.segments) if self.entries else max(len(self.segments) - 1, 0))

    def kernel(self, kernel: Kernel) -> None:
        """Run a fused kernel, and add up what its units left of sums over rows."""
        plan = self.plan
        pointers: list[Any] = []
        for value, layout in zip(kernel.outs, kernel.layouts):
            if layout == "row":
                partial = Place("arena", plan.partials[value.number])
                size = kernel.count * value.nbytes
                self._entry(chores.address("zero"), size, size, [(partial, 0)])
                pointers.append((partial, 0))
            else:
                pointers.append((plan.places[value.number], 0))
        for value, offset in kernel.ins:
            pointers.append((plan.places[value.number], offset * value.dtype.itemsize))
        self._entry(kernel.address, kernel.count, kernel.chunk, [*pointers, *kernel.sizes])
        self.work += kernel.nbytes
        for value, layout in zip(kernel.outs, kernel.layouts):
            if layout == "row":
                name = "sum_f32" if value.dtype == np.float32 else "sum_f64"
                words = [(plan.places[value.number], 0),
                         (Place("arena", plan.partials[value.number]), 0), kernel.count,
                         value.size]
                self._entry(chores.address(name), value.size, 1 << 14, words)

    def single(self, single: Product | Strided) -> None:
        """Run a matrix product, or a node over operands of any strides."""
        plan = self.plan
        words: list[Any] = [(plan.places[single.out.number], 0)]
        for access in single.ins:
            words.append((plan.places[access.root.number],
                          access.offset * access.root.dtype.itemsize))
        if isinstance(single, Strided):
            route = single.route
            self._entry(route.address, route.rows, route.chunk, [*words, *route.numbers])
            self.work += single.nbytes
            return
        leave_blas_alone()
        self._entry(chores.address(single.name), single.slices, 1, [*words, *single.sizes])
        self.work += single.flops // 8

    def node(self, node: Node) -> None:
        """Run a node in NumPy, or as a chore."""
        if node.kind == "const":
            return
        if node.kind == "check" and self._check(node) or self._power(node):
            return
        self._close()
        readers = {v.number: self.plan.reader(v) for v in node.values()}
        step = step_of(node)
        outs = [(v.number, self.plan.places[v.number].at) for v in node.outputs]
        made = {slot for slot, _ in self.plan.fresh}
        count = self.plan.graph.count

        def call(slots: list[Any]) -> None:
            values: list = [None] * count
            for number, read in readers.items():
                values[number] = read(slots)
            step(values)
            for number, slot in outs:
                a = values[number]
                if slot in made:
                    slots[slot][...] = a
                else:
                    slots[slot] = a if a.flags.c_contiguous else a.copy("C")

        self.segments.append(Segment(None, [], call))

    def _check(self, node: Node) -> bool:
        (value,) = node.values()
        access = self.plan.access(value)
        if value.dtype != np.int64 or access.strides != dense(access.shape):
            return False
        low, high, ignored = (node.params[k] for k in ("low", "high", "ignored"))
        flag = np.zeros(1, np.int64)
        self.plan.consts[-1 - len(self.plan.consts)] = flag
        address = flag.__array_interface__["data"][0]
        data = (self.plan.places[access.root.number], access.offset * 8)
        words = [address, data, low, high, low if ignored is None else ignored]
        self._entry(chores.address("range_i64"), value.size, value.size, words)
        self._entry(0, 0, 0, [address])
        return True

    def _power(self, node: Node) -> bool:
        """A power of float64 numbers: the C library's, one by one."""
        if not is_power(node):
            return False
        plan, out = self.plan, node.outputs[0]
        words: list[Any] = [(plan.places[out.number], 0)]
        moves = []
        for x in node.inputs:
            if type(x) is Value:
                access = plan.access(x)
                words.append((plan.places[access.root.number], access.offset * 8))
                moves.append(int(x.size > 1))
            else:
                held = np.array(x.value, np.float64)
                plan.consts[-1 - len(plan.consts)] = held
                words.append(held.__array_interface__["data"][0])
                moves.append(0)
        self._entry(chores.address("pow_f64"), out.size, 1 << 12, [*words, *moves])
        return True

    def _entry(self, kernel: int | None, count: int, chunk: int, words: Sequence[Any]) -> None:
        entry = [kernel or 0, count, max(chunk, 1), len(words)]
        for word in words:
            if not isinstance(word, tuple):
                entry.append(word)
                continue
            place, offset = word
            at = self.length + len(entry)
            if place.kind == "slot":
                self.patches.append((at, place.at, offset))
                entry.append(0)
            elif place.kind == "const":
                array = self.plan.consts[place.at]
                entry.append(array.__array_interface__["data"][0] + offset)
            else:
                self.arena_words.append((at, place.at + offset))
                entry.append(0)
        self.entries.append(entry)
        self.length += len(entry)

    def _close(self) -> None:
        if not self.entries:
            return
        slots = sorted({slot for _, slot, _ in self.patches})
        at = {slot: i for i, slot in enumerate(slots)}
        patches = [(word, at[slot], offset) for word, slot, offset in self.patches]
        table = chores.table_words(patches, self.entries, self.work > LONG)
        start = int(table[chores.ENTRIES])
        self.pending.append((len(self.segments), [(start + w, b) for w, b in self.arena_words]))
        self.segments.append(Segment(table, slots, None))
        self.entries, self.patches, self.arena_words = [], [], []
        self.work = self.length = 0

    def finished(self) -> list[Segment]:
        """The segments, whose tables lack the addresses in the arena."""
        self._close()
        return self.segments

    def settle(self, arena: ndarray) -> None:
        """Put the arena's addresses into the tables."""
        start = arena.__array_interface__["data"][0]
        for number, words in self.pending:
            table = self.segments[number].table
            assert table is not None
            for word, byte in words:
                table[word] = start + byte
