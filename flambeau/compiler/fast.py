"""The quick way through a program: one native call, then Python written for what it changes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from flambeau.backends.llvm import chores, pool
from flambeau.base.pytree import TreeSpec, build_node
from flambeau.compiler.gate import Gate, first_table, native_step
from flambeau.compiler.history import Live, Spent, spent_like
from flambeau.compiler.interpreter import OtherSizes, OutOfRange
from flambeau.compiler.live import place_of
from flambeau.compiler.observer import GENERATED
from flambeau.compiler.results import FAILED, MISSED, RAISED
from flambeau.compiler.stand_ins import Capture, Memory
from flambeau.compiler.state import MISSING
from flambeau.compiler.trace import Made, Read
from flambeau.compiler.views import Layout, layout_in, seen_through
from flambeau.core import dispatch
from flambeau.core.index_ops import named
from flambeau.core.node import Output
from flambeau.core.op import OPS
from flambeau.core.tensor import Tensor, new_tensor

__all__ = ["fast_call"]


def fast_call(program: Any) -> tuple[Callable[..., Any], Gate] | None:
    """``call(*arguments)`` that gives the step's result, MISSED or FAILED; and its gate.

    Where the program changes things in unusual ways only its checks are native. None where there
    can be no such call.
    """
    step = native_step()
    if step is None or _has_repeated(program):
        return None
    plain = _is_plain(program)
    if not plain and program.places:
        return None
    plan = program.executor
    gate = (Gate(program, first_table(plan), plan.fresh) if plain
            else Gate(program, chores.table_words([], [], False), []))
    if gate.table is None:
        return None
    writer = _Writer(program, gate, step)
    text = writer.source() if plain else writer.source_of_checks()
    exec(compile(text, GENERATED, "exec"), writer.names)
    return writer.names["call"], gate


def _has_repeated(program: Any) -> bool:
    """Whether a tensor is more than one argument."""
    return any([x is not None and k != i
                for i, (x, k) in enumerate(zip(program.looks, program.same))])


def _run_of(program: Any) -> Callable[[list[Tensor]], Any]:
    """Running a program that was checked, on the tensors of its slots."""

    def run(tensors: list[Tensor]) -> Any:
        try:
            return program.run(tensors, [t._a for t in tensors])
        except OtherSizes:
            return MISSED  # who looks next counts them
        except (OutOfRange, *RAISED):
            return FAILED

    return run


def _rest_of(program: Any) -> Callable[[list[Any]], bool] | None:
    """What runs the segments behind the first table; None where there are none.

    It takes the arrays of inputs and results, puts other arrays in the place of results that are
    made elsewhere, and gives False, with nothing changed, where a step cannot be made as it was
    traced.
    """
    plan, engines = program.executor, program.trace.engines
    first = int(bool(plan.segments) and plan.segments[0].table is not None)
    if len(plan.segments) <= first:
        return None

    def rest(arrays: list[Any]) -> bool:
        marks = [(e, e.mark()) for e in engines]
        try:
            count = len(arrays)
            arrays += [None] * (plan.slots - count)
            plan.go_on(arrays, first)
            del arrays[count:]
        except BaseException as error:
            for engine, mark in marks:
                engine.go_back(mark)
            if isinstance(error, (OutOfRange, *RAISED)):
                return False
            raise
        return True

    return rest


def _is_plain(program: Any) -> bool:
    trace, plan = program.trace, program.executor
    if not all([plan.writes(m.value, m.captures[0].at) for m in trace.written]):
        return False
    new = {id(t) for _, t in plan.fresh}
    if any([t.input < 0 and id(t) not in new for t in plan.targets]):
        return False
    kept = [*trace.moved.values(), *[g for _, g in trace.grads.values()]]
    if any([x.memory.captures for x in kept if type(x) is Made]):
        return False
    return all([_is_plain_result(x) for x in [*trace.outputs, *kept] if type(x) is Made])


def _is_plain_result(x: Made) -> bool:
    """Whether it is a new tensor, a view of one, or a view of one from outside."""
    if x.kind is not Tensor:
        return False
    if x.memory.captures:
        return bool(x.chain)
    return not x.chain or _layout_of(x) is not None


def _layout_of(x: Made) -> Layout | None:
    """Where a view is in the new array that it is one of."""
    value = x.memory.value
    assert value is not None
    return layout_in(value.shape, value.dtype, x.memory.strides, x.chain)


class _Writer:
    """Writes the function, and collects what it names."""

    def __init__(self, program: Any, gate: Gate, step: Callable) -> None:
        self.program = program
        self.gate = gate
        self.trace = program.trace
        self.names: dict[str, Any] = {
            "step": step, "table": gate.table, "Tensor": Tensor, "new": new_tensor,
            "MISSED": MISSED, "FAILED": FAILED, "pool": gate.pool, "lock": program.lock,
            "ready": pool.ensure_started, "spent_like": spent_like, "Output": Output,
            "build": build_node, "ndarray": np.ndarray, "seen_through": seen_through,
            "gate": gate, "threads": threading, "dispatch": dispatch}
        self.arrays: dict[int, str] = {}
        self.tensors: dict[int, str] = {}
        self.lines: list[str] = []
        self.lives: list[str] = []
        self.sees = False

    def source(self) -> str:
        """The text of ``call``."""
        program, rest = self.program, _rest_of(self.program)
        args = self._arguments()
        releases = rest is not None or self.gate.releases
        shared = releases or bool(program.places)
        self.line(f"def {'run' if shared else 'call'}({', '.join(args)}):")
        self._compare()
        if releases:
            self.line("    ready()")
        for _, array in program.lives:
            held = np.empty((), array.dtype)
            self.lives.append(self._name("l", held))
        self.arrays = {slot: f"f{slot}" for slot, _ in program.executor.fresh}
        self._update_lives()
        self._step()
        if self.arrays:
            self.line(f"    {''.join([f'{name}, ' for name in self.arrays.values()])} = done")
        if rest is not None:
            self._go_on(rest)
        self._commit()
        undecided = program.executor.undecided
        if undecided.left:
            name = self._name("q", undecided)
            self.line(f"    if {name}.left and {name}.count():")
            self.line(f"        {self._name('p', program.plan_anew)}()")
        self.line(f"    return {self._tree(self.trace.spec, iter(self.trace.outputs))}")
        if shared:
            self.line(f"def call({', '.join(args)}):")
            self.line("    with lock:")
            self.line(f"        return run({', '.join(args)})")
        return "\n".join(self.lines)

    def source_of_checks(self) -> str:
        """The text of a ``call`` that checks natively, and then runs the program."""
        self.line(f"def call({', '.join(self._arguments())}):")
        self._compare()
        self._step()
        tensors = [self._capture(at) for at in range(len(self.program.slots))]
        self.line(f"    return {self._name('r', _run_of(self.program))}([{', '.join(tensors)}])")
        return "\n".join(self.lines)

    def _arguments(self) -> list[str]:
        return [f"a{i}" for i in range(len(self.program.constants))]

    def _compare(self) -> None:
        """Compare what Python has to: which arguments are one tensor, context variables."""
        program = self.program
        real = [a for a, look in zip(self._arguments(), program.looks) if look is not None]
        if len(real) > 1:
            pairs = [f"{a} is {b}" for i, a in enumerate(real) for b in real[:i]]
            few = f"len({{{', '.join([f'id({a})' for a in real])}}}) < {len(real)}"
            self.line(f"    if {' or '.join(pairs) if len(real) < 5 else few}:")
            self.line("        return MISSED")
        for looked in program.looked:
            if looked.kind == "context":
                variable, value = self._name("v", looked.owner), self._name("h", looked.held[0])
                self.line(f"    if {variable}.get({self._name('m', MISSING)}) is not {value}:")
                self.line("        return MISSED")

    def _step(self) -> None:
        """Call the native step; what it gives is ``done``."""
        args = ["table", "pool", *self.lives, *self._arguments()]
        self.line(f"    done = step({', '.join(args)})")
        self.line("    if done.__class__ is not tuple:")
        self.line("        return MISSED if done is None else FAILED")

    def _made(self) -> list[str]:
        """What names the arrays that are made for a call, in the order of their slots."""
        return [*self.lives, *self.arrays.values()]

    def _go_on(self, rest: Callable[[list[Any]], bool]) -> None:
        """Run what the native call left."""
        held = [f"{self._capture(at)}._a" for at in range(len(self.program.slots))]
        self.line(f"    arrays = [{', '.join([*held, *self._made()])}]")
        self.line(f"    if not {self._name('r', rest)}(arrays):")
        self.line("        return FAILED")
        if self.arrays:
            first = len(held) + len(self.lives)
            self.line(f"    {''.join([f'{name}, ' for name in self.arrays.values()])} = "
                      f"arrays[{first}:]")

    def _update_lives(self) -> None:
        """Read the numbers that keep changing, check what was compared, and put them in place."""
        program = self.program
        if not program.places:
            return
        names = []
        for number, place in enumerate(program.places):
            name = f"u{number}"
            names.append(name)
            self.line("    try:")
            if place.kind == "argument":
                self.line(f"        {name} = a{place.key}")
            elif place.kind == "cell":
                self.line(f"        {name} = {self._name('w', place.owner)}.cell_contents")
            else:
                owner, key = self._name("w", place.owner), self._name("k", place.key)
                self.line(f"        {name} = {owner}[{key}]")
            self.line("    except (KeyError, IndexError, ValueError):")
            self.line("        return MISSED")
            self.line(f"    if type({name}) is not {place.held.__name__}:")
            self.line("        return MISSED")
            for word in self._words(place):
                self.line(f"    table[{word}] = id({name})")
        self.line(f"    values = ({''.join([n + ', ' for n in names])})")
        for left, right, compare, found in program.checks:
            a, b, c = (self._name("e", x) for x in (left, right, compare))
            self.line(f"    if {c}({a}(values), {b}(values)) is not {found}:")
            self.line("        return MISSED")
        for name, (expression, _) in zip(self.lives, program.lives):
            self.line(f"    {name}[()] = {self._name('e', expression)}(values)")

    def _words(self, place: Any) -> list[int]:
        """Where the table expects a number."""
        found = []
        for entry in self.program.state.entries:
            for i in range(len(entry.held)):
                key = (id(entry), i)
                own = place_of(entry, i) if key in self.gate.words else None
                if own is not None and own.mark == place.mark:
                    found.append(self.gate.words[key])
        return found

    def line(self, text: str) -> None:
        """Add a line."""
        self.lines.append(text)

    def _name(self, stem: str, value: Any) -> str:
        name = f"{stem}{len(self.names)}"
        self.names[name] = value
        return name

    def _array(self, memory: Memory) -> str:
        target = self.program.executor.targets[self.program.targets[id(memory)]]
        slot = next(s for s, t in self.program.executor.fresh if t is target)
        return self.arrays[slot]

    def _array_of(self, x: Made) -> str:
        """What gives the array of a new tensor, which may be a view of a new array."""
        array = self._array(x.memory)
        if not x.chain:
            return array
        layout = _layout_of(x)
        assert layout is not None
        dtype = self._name("d", layout.dtype)
        return f"ndarray({layout.shape}, {dtype}, {array}, {layout.offset}, {layout.strides})"

    def _capture(self, at: int) -> str:
        """What names the tensor of a slot."""
        slot = self.program.slots[at]
        if slot.source == "arg":
            return f"a{slot.where}"
        if at not in self.tensors:
            if slot.source == "held":
                self.tensors[at] = self._name("t", slot.tensor)
            else:
                name = self.tensors[at] = f"g{at}"
                self.line(f"    {name} = {self._capture(slot.where)}._x.grad")
        return self.tensors[at]

    def _commit(self) -> None:
        for before, _ in self.trace.grads.values():
            if type(before) is Capture:
                self._capture(before.at)
        for written in self.trace.written:
            self._count(written)
        if self.program.back is not None:
            self._go_back(self.program.back)
        for at, made in self.trace.moved.items():
            self.line(f"    {self._capture(at)}._a = {self._array_of(made)}")
        for at, (before, after) in self.trace.grads.items():
            if before is after:
                continue
            t = self._capture(at)
            self.line(f"    x = {t}._x")
            self.line("    if x is None:")
            self.line(f"        x = {t}._meta()")
            self.line(f"    x.grad = {self._tensor(after)}")

    def _go_back(self, back: Any) -> None:
        """Make the node that goes back through what the step returns."""
        count = len(self.program.slots)
        needed = {*back.ends, *back.used}
        tensors = [self._capture(at) if at in needed else "None" for at in range(count)]
        arrays = [f"{self._capture(at)}._a" if at in back.used else "None" for at in range(count)]
        arrays += [f"{name}.copy()" for name in self.lives]
        plan, first = self.program.executor, len(self.program.targets)
        kept = []
        for i in range(len(back.kept)):
            target = plan.targets[first + i]
            kept.append(self.arrays[next(s for s, t in plan.fresh if t is target)])
        made = self._name("b", back.node_type)
        self.line(f"    node = {made}([{', '.join(tensors)}], [{', '.join(arrays)}], "
                  f"[{', '.join(kept)}])")

    def _count(self, memory: Memory) -> None:
        """Count the writes of a memory, once per counter."""
        names = [self._capture(c.at) for c in memory.captures]
        for nr, name in enumerate(names):
            pad = "    "
            if nr:
                others = " and ".join([f"{name}._v is not {o}._v" for o in names[:nr]])
                self.line(f"    if {name}._v is None or {others}:")
                pad = "        "
            self.line(f"{pad}v = {name}._v")
            self.line(f"{pad}if v is None:")
            self.line(f"{pad}    {name}._v = [{memory.writes}]")
            self.line(f"{pad}else:")
            self.line(f"{pad}    v[0] += {memory.writes}")

    def _tensor(self, x: Any) -> str:
        if x is None:
            return "None"
        if type(x) is Capture:
            return self._capture(x.at)
        if type(x) is Read:
            return f"{self._array(x.memory)}.item()"
        if type(x) is not Made:
            return self._name("c", x)
        key = -1 - id(x)
        if key not in self.tensors and (x.memory.captures or x.of is not None):
            source = (self._capture(x.memory.captures[0].at) if x.of is None
                      else self._tensor(x.of))
            name = self.tensors[key] = f"o{len(self.tensors)}"
            if all([op.view and not op.multiple and op is not OPS["detach"]
                    for op, _, _ in x.chain]):
                self._view(name, source, x.chain)
                return name
            if not self.sees:
                self.sees = True
                self.line("    seen = {}")
            self.line(f"    {name} = seen_through({source}, {self._name('c', x.chain)}, seen)")
        elif key not in self.tensors:
            name = self.tensors[key] = f"o{len(self.tensors)}"
            self.line(f"    {name} = new(Tensor)")
            self.line(f"    {name}._a = {self._array_of(x)}")
            self.line(f"    {name}._node = {self._node(x.edge)}")
            self.line(f"    {name}._v = {name}._x = None")
        return self.tensors[key]

    def _view(self, name: str, source: str, chain: tuple) -> None:
        """Make views, one of the other, without asking again what the gate has found."""
        for op, params, _ in chain:
            told = self._name("p", params)
            more = ""
            if op.name == "getitem":
                array = f"{source}._a[{self._name('i', params['index'])}]"
                more = f", True, {self._name('n', named(params['index']))}"
            else:
                array = f"{self._name('w', op.forward)}({source}._a, **{told})"
            self.line(f"    {name} = dispatch.make_view({self._name('v', op)}, {source}, {array}, "
                      f"{told}{more})")
            source = name

    def _node(self, edge: Any) -> str:
        if edge is None:
            return "None"
        if type(edge) is Live:
            return f"Output(node, {edge.nr})"
        if isinstance(edge, Spent):
            return f"{self._name('n', type(spent_like(edge)))}()"
        name = self._name("n", edge)
        return f"spent_like({name})" if isinstance(edge, Output) else name

    def _tree(self, spec: TreeSpec, leaves: Iterator[Any]) -> str:
        if spec.kind is None:
            return self._tensor(next(leaves))
        inside = "".join([f"{self._tree(c, leaves)}, " for c in spec.children])
        if spec.kind is tuple:
            return f"({inside})"
        return f"[{inside}]" if spec.kind is list else f"build({self._name('s', spec)}, [{inside}])"
