"""A graph as native code: kernels in order, and memory for what they make."""

from __future__ import annotations

import functools
import itertools
import threading
from collections.abc import Callable, Sequence
from itertools import zip_longest
from sys import getrefcount
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from flambeau.backends import conversions, memory, product_choice
from flambeau.backends.llvm import chores, pool
from flambeau.compiler.access import Access, access_of, dense
from flambeau.compiler.arena import Arena
from flambeau.compiler.axes import along_of
from flambeau.compiler.calls import Call, Place, Single, Word
from flambeau.compiler.densified import densified_of
from flambeau.compiler.graph import Graph, Node, Value
from flambeau.compiler.groups import Group, Unit, grouped
from flambeau.compiler.interpreter import OutOfRange, step_of
from flambeau.compiler.kernels import compile_all, kernel_of
from flambeau.compiler.order import waves_of
from flambeau.compiler.pair_products import pair_product_of
from flambeau.compiler.picks import Put, check_call, looks_itself, pick_of, put_of
from flambeau.compiler.products import Product, product_of
from flambeau.compiler.recompute import recompute
from flambeau.compiler.replays import replayed_in_rows, replayed_of
from flambeau.compiler.singles import chore_of
from flambeau.compiler.strides import strided_of
from flambeau.compiler.tables import TableWriter
from flambeau.compiler.writes import Copy, Written, copied_of, copy_of, written_of

__all__ = ["NativeResult", "Plan", "Target"]

ndarray = np.ndarray
# Bytes of buffers that tracing leaves behind from which they are given back to the system.
MUCH = 1 << 22
# Numbers that are checked at once.
CHECKED = 1 << 14
# Nodes that overwrite some of an array.
OVERWRITES = (Written, Put)


class Target(NamedTuple):
    """Where a wanted value shall be: in the array of an input, or in a new one (input -1)."""

    value: Value
    input: int
    strides: tuple[int, ...]


class Plan:
    """``run(arrays)`` computes the targets; ``fresh`` are those that are new arrays."""

    def __init__(self, graph: Graph, inputs: int, targets: Sequence[Target],
                 recomputes: bool = False) -> None:
        self.graph = graph
        self.targets = targets
        self.lock = threading.Lock()
        self.known: dict[int, Access] = {}
        self.consts: dict[int, ndarray] = {}
        self.units, self.known = grouped(graph)
        if recomputes and recompute(graph, self.units, [t.value for t in targets],
                                    {t.input for t in targets}):
            self.units, self.known = grouped(graph)
        # Per unit the values that it reads.
        self.roots: dict[int, list[Value]] = {}
        self.inputs = self.slots = inputs
        self.places: dict[int, Place] = {}
        self.fresh: list[tuple[int, Target]] = []
        # Of these the slots whose arrays nodes in Python make.
        self.elsewhere: set[int] = set()
        self.written: set[int] = set()
        # What is copied in the end to where it is wanted.
        self.copies: list[tuple[Place, Copy]] = []
        self._place_inputs()
        self.homes = {v.number: u for u in self.units for n in u.nodes for v in n.outputs}
        self.singles = {u.number: s for u in self.units if not isinstance(u, Group)
                        for s in [self._single(u.nodes[0])] if s is not None}
        layouts = [s.layout for s in self.singles.values() if isinstance(s, Product)]
        self.undecided = product_choice.Undecided([x for x in layouts if x is not None])
        self.kept = self._kept()
        # Units that run side by side, and which of these lists each unit is in.
        self.waves = self._waves()
        self.turns = {u.number: at for at, wave in enumerate(self.waves) for u in wave}
        self.readers = self._readers()
        self._place_targets()
        self._build()

    def access(self, value: Value) -> Access:
        """How a value lies."""
        return access_of(value, self.known)

    # Order

    def _waves(self) -> list[list[Unit]]:
        aims = {t.value.number for t in self.targets if t.input >= 0}
        wanted = {self.access(t.value).root.number for t in self.targets}

        def writes(unit: Unit) -> bool:
            return any([v.number in aims for n in unit.nodes for v in n.outputs])

        def kind(unit: Unit) -> Any:
            if isinstance(unit, Group):
                return tuple([n.name for n in unit.nodes])
            single = self.singles.get(unit.number)
            return None if single is None else type(single)

        def made(unit: Unit) -> int:
            return sum([v.nbytes for n in unit.nodes for v in n.outputs
                        if v.number in self.kept and v.number not in wanted])

        return waves_of(self.units, writes, kind, made)

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
        # What inputs hold when it begins, and the values that are wanted in the end.
        self.sources = {n.params["at"]: n.outputs[0] for n in self.graph.nodes
                        if n.kind == "input"}
        self.wanted = {self.access(t.value).root.number for t in self.targets}
        safe = max([self.turns[u.number] for u in self.units if self._may_fail(u)], default=-1)
        for target in self.targets:
            value = target.value
            if value.number in self.places or self.access(value).root is not value:
                self._copy_there(target)
                continue
            home = self.homes[value.number]
            if target.strides != tuple(
                    [s * value.dtype.itemsize for s in dense(value.shape)]) and value.size > 1:
                continue
            if target.input < 0:
                self.places[value.number] = Place("slot", self._new_slot(target))
            elif self.turns[home.number] > safe and target.input not in self.written and (
                    self._may_overwrite(value, home, self.sources.get(target.input))):
                self.places[value.number] = Place("slot", target.input)
                self.written.add(target.input)
            else:
                self._copy_there(target)
            self._write_there(value, safe)

    def _copy_there(self, target: Target) -> None:
        """Copy a value in the end that is somewhere else, or that others have, too."""
        value, source = target.value, self.sources.get(target.input)
        strides = dense(value.shape)
        copy = copy_of(self.access(value), strides)
        if (copy is None or value.dtype != copy.source.root.dtype
                or target.strides != tuple([s * value.dtype.itemsize for s in strides])):
            return
        if target.input < 0:
            self.copies.append((Place("slot", self._new_slot(target)), copy))
        elif target.input not in self.written and (
                source is None or source.number not in self.wanted):
            self.written.add(target.input)
            self.copies.append((Place("slot", target.input), copy))

    def _write_there(self, value: Value, safe: int) -> None:
        """Let what came before a part was overwritten be made in the same place.

        ``safe`` is the last list of units that may fail: later ones may write into inputs.
        """
        place = self.places.get(value.number)
        home = self.homes[value.number]
        single = self.singles.get(home.number)
        while place is not None and isinstance(single, OVERWRITES) and self._alone(home, single):
            assert single.base is not None
            before = single.base.root
            if before.number in self.places:
                return
            home = self.homes[before.number]
            if place.at < self.inputs and (self.turns[home.number] <= safe or not (
                    self._may_overwrite(before, home, self.sources.get(place.at)))):
                return
            self.places[before.number] = place
            single = self.singles.get(home.number)

    def _alone(self, unit: Unit, single: Written | Put) -> bool:
        """Whether nobody else needs an array of which a part is overwritten, then or later."""
        if single.base is None:
            return False
        root, turn = single.base.root, self.turns[unit.number]
        return (single.may_be_in_place and root.number not in self.wanted
                and all([u is unit or self.turns[u.number] < turn
                         for u in self.readers[root.number]]))

    def _new_slot(self, target: Target) -> int:
        self.fresh.append((self.slots, target))
        self.slots += 1
        return self.slots - 1

    def _readers(self) -> dict[int, list[Unit]]:
        """Per input's number the units that read it."""
        found: dict[int, list[Unit]] = {}
        for unit in self.units:
            for root in self._roots_read(unit):
                found.setdefault(root.number, []).append(unit)
        return found

    def _roots_read(self, unit: Unit) -> list[Value]:
        found = self.roots.get(unit.number)
        if found is None:
            found = self.roots[unit.number] = [
                self.access(v).root for node in unit.nodes for v in node.values()]
        return found

    def _may_overwrite(self, value: Value, home: Unit, source: Value | None) -> bool:
        """Whether a unit can write into an input: nobody needs what it held by then."""
        single = self.singles.get(home.number)
        if not isinstance(home, Group) and not isinstance(single, OVERWRITES):
            return False
        if source is None:
            return True
        turn = self.turns[home.number]
        if source.number in self.wanted or any([u is not home and self.turns[u.number] >= turn
                                                for u in self.readers.get(source.number, ())]):
            return False
        if isinstance(single, OVERWRITES):
            return all([a.root is not source for a in single.ins]) or (
                single.base is not None and single.base.root is source and single.may_be_in_place)
        assert isinstance(home, Group)
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
        self.kernels = {u.number: kernel_of(u, self.kept) for u in self.units
                        if isinstance(u, Group)}
        self._place_made()
        for kernel in self.kernels.values():
            read = [self.places[v.number] for v, _ in kernel.ins]
            outs = [self.places[v.number] for v in kernel.outs]
            if all([p not in read and (p.kind == "arena" or p.at >= self.inputs) for p in outs]):
                kernel.stream()
        compile_all(self.kernels.values())
        writer = TableWriter(self.consts)
        homes = []
        for wave in self.waves:
            if wave[0].number in self.kernels or wave[0].number in self.singles:
                for calls in zip_longest(*[self._calls(u) for u in wave], fillvalue=()):
                    writer.run([c for part in calls for c in part])
            else:
                self._write_node(wave[0].nodes[0], writer)
            homes.append(writer.here)
        writer.run([copy.call((place, 0), self._word(copy.source)) for place, copy in self.copies])
        self.segments = writer.finished()
        self._let_die(homes)
        self.writer: TableWriter | None = writer

    def settle(self) -> None:
        """Take the memory that runs need: when nothing holds what tracing needed any more."""
        if self.writer is not None:
            if memory.cached_bytes() >= MUCH:
                memory.give_back()
            self.arena = memory.empty((self.arena_size,), np.dtype(np.uint8))
            self.writer.settle(self.arena)
            self.writer = None

    def _calls(self, unit: Unit) -> list[list[Call]]:
        """What a unit calls, one after another."""
        kernel = self.kernels.get(unit.number)
        if kernel is not None:
            words: list[Word] = [(self.places[v.number], 0) for v in kernel.outs]
            words += [(self.places[v.number], offset * v.dtype.itemsize)
                      for v, offset in kernel.ins]
            return kernel.calls(words, self.scratch[unit.number])
        single = self.singles[unit.number]
        words = [(self.places[v.number], 0) for v in single.outs]
        words += [self._word(a) for a in single.ins]
        return single.calls(words, self.scratch[unit.number])

    def _word(self, a: Access) -> Word:
        """Where the elements of an access begin."""
        return self.places[a.root.number], a.offset * a.root.dtype.itemsize

    def _write_node(self, node: Node, writer: TableWriter) -> None:
        """Run a node in NumPy, or as a check."""
        if node.kind == "const" or node.kind == "check" and (
                self._is_found_out(node) or self._write_check(node, writer)):
            return
        readers = [(v.number, self.reader(v)) for v in node.values()]
        step = step_of(node)
        outs = [(v.number, self.places[v.number].at) for v in node.outputs]
        made = {slot for slot, _ in self.fresh}
        self.elsewhere |= made.intersection([slot for _, slot in outs])

        def call(slots: list[Any]) -> None:
            values = {number: read(slots) for number, read in readers}
            operands = [*values.values()]
            step(values)
            for number, slot in outs:
                a = values.pop(number)
                if slot in made:
                    slots[slot] = a if is_apart(a, operands, slots[slot]) else own_copy(a)
                else:
                    slots[slot] = a if a.flags.c_contiguous else conversions.dense_copy(a)

        writer.call(call)

    def _is_found_out(self, check: Node) -> bool:
        """Whether a node that runs in Python raises where a check would fail."""
        alone = [u for u in self.readers[self.access(check.values()[0]).root.number]
                 if u.number not in self.kernels and u.number not in self.singles]
        return any([looks_itself(u.nodes[0], check) for u in alone])

    def _write_check(self, node: Node, writer: TableWriter) -> bool:
        (value,) = node.values()
        if not value.size:
            return True
        access = self.access(value)
        low, high, ignored = (node.params[k] for k in ("low", "high", "ignored"))
        flag = np.zeros(1, np.int64)
        address = flag.__array_interface__["data"][0]
        word = self._word(access)
        if value.dtype == np.int64 and access.strides == dense(access.shape):
            words = [address, word, low, high, low if ignored is None else ignored]
            call: Call | None = Call(chores.chore("range_i64"), value.size, CHECKED, words,
                                     value.nbytes)
        else:
            call = check_call(access, address, word, low, high, ignored)
        if call is None:
            return False
        self.consts[-1 - len(self.consts)] = flag
        writer.run([Call(chores.chore("zero"), 8, 8, [address], 0)])
        writer.run([call])
        writer.test(address)
        return True

    def _let_die(self, homes: list[int]) -> None:
        """Note after which segment nobody needs the arrays that single nodes make.

        ``homes`` has the segment of every wave.
        """
        lasting = {slot for slot, _ in self.fresh}
        for number, place in self.places.items():
            last = self.last.get(number)
            if (place.kind == "slot" and place.at >= self.inputs and place.at not in lasting
                    and last is not None and last < len(homes)):
                self.segments[homes[last]].dying.append(place.at)

    def _single(self, node: Node) -> Single | None:
        """The calls that a node outside of groups is; None where it runs in Python."""
        if node.kind not in ("op", "write"):
            return None
        access = self.access
        return (_calls_of(node, access) or densified_of(node, access, _calls_of)
                or replayed_of(node, access) or densified_of(node, access, replayed_in_rows))

    def _may_fail(self, unit: Unit) -> bool:
        return not (isinstance(unit, Group) or unit.number in self.singles)

    def _kept(self) -> set[int]:
        """The values that somebody reads outside of the group that makes them."""
        kept = {self.access(t.value).root.number for t in self.targets}
        for unit in self.units:
            for root in self._roots_read(unit):
                if self.homes.get(root.number) is not unit:
                    kept.add(root.number)
        for u in self.units:
            if isinstance(u, Group) and not any([n.outputs[0].number in kept for n in u.nodes]):
                kept.add(u.nodes[-1].outputs[0].number)
        return kept

    def _place_made(self) -> None:
        """Give every value that a unit leaves behind a place, while somebody needs it."""
        last: dict[int, int] = {}
        for unit in self.units:
            for root in self._roots_read(unit):
                last[root.number] = max(last.get(root.number, 0), self.turns[unit.number])
        for t in self.targets:
            last[self.access(t.value).root.number] = len(self.waves)
        self.last = last
        arena, given = Arena(), set[int]()
        # Per unit the memory that it needs while it runs.
        self.scratch: dict[int, list[Place]] = {}
        for at, unit in [(at, u) for at, wave in enumerate(self.waves) for u in wave]:
            runs = self.kernels.get(unit.number) or self.singles.get(unit.number)
            if runs is None:
                for value in unit.nodes[0].outputs:
                    if value.number not in self.places:
                        self.places[value.number] = Place("slot", self.slots)
                        self.slots += 1
                continue
            self.scratch[unit.number] = [Place("arena", arena.take(size, at, at))
                                         for size in runs.scratch]
            for value in runs.outs:
                if value.number in self.places:
                    continue
                end = last.get(value.number, at)
                place = self._dying_place(unit, value, given)
                if place is None:
                    place = Place("arena", arena.take(value.nbytes, at, end))
                else:
                    arena.keep(place.at, value.nbytes, end)
                self.places[value.number] = place
        self.arena_size = arena.size

    def _dying_place(self, unit: Unit, value: Value, given: set[int]) -> Place | None:
        """Where an operand is that a unit reads last, element by element as it writes ``value``.

        ``given`` has the operands whose places are given away.
        """
        single = self.singles.get(unit.number)
        if isinstance(single, OVERWRITES):
            return self._place_before(unit, single, given)
        if not isinstance(unit, Group):
            return None
        turn, layout = self.turns[unit.number], unit.layouts[value.number]
        for root in self._roots_read(unit):
            place = self.places.get(root.number)
            if (place is None or place.kind != "arena" or self.last[root.number] != turn
                    or root.number in given or root.number in unit.layouts
                    or (root.size, root.nbytes) != (value.size, value.nbytes)):
                continue
            if all([u is unit or self.turns[u.number] < turn for u in self.readers[root.number]]
                   ) and all([self._reads_in_step(unit, n, root, layout) for n in unit.nodes]):
                given.add(root.number)
                return place
        return None

    def _place_before(self, unit: Unit, single: Written | Put, given: set[int]) -> Place | None:
        """Where an array is of which a part is overwritten, if it is needed no more."""
        if single.base is None:
            return None
        root = single.base.root
        place = self.places.get(root.number)
        if (place is None or place.kind != "arena" or root.number in given
                or not self._alone(unit, single)):
            return None
        given.add(root.number)
        return place

    # Running

    def writes(self, value: Value, input: int) -> bool:
        """Whether a value is put in the array of an input."""
        place = Place("slot", input)
        return self.places.get(value.number) == place or place in [to for to, _ in self.copies]

    def run(self, arrays: Sequence[ndarray]) -> NativeResult:
        """Compute the targets; raises OutOfRange where a check fails."""
        pool.ensure_started()
        self.settle()
        slots: list[Any] = [*arrays, *[None] * (self.slots - len(arrays))]
        for slot, target in self.fresh:
            slots[slot] = self.maker(slot, target)()
        self.go_on(slots, 0)
        return NativeResult(self, slots)

    def maker(self, slot: int, target: Target) -> Callable[[], ndarray]:
        """What makes the new array of a target, or what stands for it until a node makes it."""
        shape, held = target.value.shape, target.value.dtype
        if slot in self.elsewhere:
            return itertools.repeat(np.broadcast_to(np.zeros((), held), shape)).__next__
        large = target.value.nbytes >= memory.ALIGN_FROM
        return functools.partial(memory.empty if large else np.empty, shape, held)

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
            whole = base(slots)
            if not whole.flags.c_contiguous:
                whole = as_strided(whole, (found.offset + 1,), (item,))[found.offset:]
                return as_strided(whole, found.shape, strides, writeable=False)
            part = np.ndarray(found.shape, root.dtype, whole, found.offset * item, strides)
            part.flags.writeable = False
            return part

        return base if root is value else view


def _calls_of(node: Node, access: Callable[[Value], Access]) -> Single | None:
    """The calls of kernels and chores that a node is; None where it is none."""
    return (written_of(node, access) or chore_of(node, access) or product_of(node, access)
            or pair_product_of(node, access) or pick_of(node, access) or put_of(node, access)
            or strided_of(node, access) or along_of(node, access) or copied_of(node, access))


def own_copy(a: ndarray) -> ndarray:
    """A dense copy, which is a new result."""
    made = memory.empty(a.shape, a.dtype)
    if not conversions.write(made, a):
        made[...] = a
    return made


def is_apart(a: ndarray, operands: Sequence[ndarray], wanted: ndarray) -> bool:
    """Whether what an operator gave can be a new result itself: ``wanted`` is what it must be like.

    It is nobody else's: no operand's memory, none that others hold, no view.
    """
    if a.shape != wanted.shape or a.dtype != wanted.dtype or not a.flags.carray:
        return False
    # one reference is the caller's, one that of the parameter, one the function's
    if getrefcount(a) != 3:
        return False
    # what has a view is referred to by that
    return a.base is None or memory.is_owner(a) and not any(
        [np.may_share_memory(a, x) for x in operands])


class NativeResult:
    """What a run computed."""

    def __init__(self, plan: Plan, slots: list[Any]) -> None:
        self.plan = plan
        self.slots = slots

    def is_written(self, value: Value, input: int) -> bool:
        """Whether a value was computed in the array of an input."""
        return self.plan.writes(value, input)

    def array(self, value: Value) -> ndarray:
        """The array of a value, in memory that the next run uses again."""
        return self.plan.reader(value)(self.slots)

    def new(self, target: int) -> ndarray | None:
        """The new array of a target; None where it was not computed in one."""
        return next((self.slots[s] for s, t in self.plan.fresh
                     if t is self.plan.targets[target]), None)
