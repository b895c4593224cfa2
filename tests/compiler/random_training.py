"""Whole training programs made at random: their text, and what can be seen of running one.

A program makes a network, an optimizer and some state, defines a step, and says what happens
between calls. Its text is a tree of lines, so that a program which shows a difference can be cut
down to the lines that matter (`smaller`).
"""

from __future__ import annotations

import linecache
import random
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

import flambeau as torch
from flambeau.base.pytree import tree_flatten
from flambeau.compiler.entry import unit_of
from flambeau.compiler.stance import UNITS
from tests.compiler import training_words as words
from tests.compiler.training_text import HEADER, STATE, Holder

CALLS = 9
# What a program may do wrong: it ends there.
ENDS = (RuntimeError, ValueError, IndexError, TypeError, KeyError, AttributeError, NameError,
        ZeroDivisionError, AssertionError, NotImplementedError)


class Line:
    """A line of a program, with the lines inside its block."""

    def __init__(self, text: str, *inside: Line) -> None:
        self.text = text
        self.inside = list(inside)

    def write(self, indent: int = 0) -> Iterator[str]:
        yield from textwrap.indent(self.text, "    " * indent).splitlines()
        for line in self.inside:
            yield from line.write(indent + 1)
        if not self.inside and self.text.rstrip().endswith(":"):
            yield "    " * (indent + 1) + "pass"

    def copy(self) -> Line:
        return Line(self.text, *[line.copy() for line in self.inside])

    def walk(self) -> Iterator[Line]:
        yield self
        for line in self.inside:
            yield from line.walk()


class Writer:
    """Writes one program."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.tensors = ["x"]
        self.own: list[str] = []
        self.floats = ["0.5", "gain", "cfg.scale", "TABLE['gain']", "rate"]
        self.double = self.random.random() < 0.7
        self.closure = False

    def pick(self, options: Any) -> Any:
        return self.random.choice(list(options))

    def chance(self, p: float) -> bool:
        return self.random.random() < p

    def filled(self, text: str) -> str:
        names = {"a": self.pick(self.tensors), "b": self.pick(self.tensors),
                 "f": self.pick(self.floats), "o": self.pick(self.own or ["x.clone()"]),
                 "k": str(self.random.randint(0, 3)), "i": str(self.random.randint(1, CALLS - 2)),
                 "m": self.pick(["net", "net", "net.first", "net.layers[-1]", "net.layers[0]"])}
        if "{c}" in text:
            names["c"] = self.pick(words.CONDITIONS).format(**names)
        if "{e}" in text:
            names["e"] = self.pick(words.VALUES).format(**names)
        return text.format(**names)

    # The step

    def statements(self, count: int, depth: int) -> list[Line]:
        return [self.statement(depth) for _ in range(count)]

    def statement(self, depth: int) -> Line:
        chance = self.random.random()
        if chance < 0.5:
            name = f"t{self.random.randint(0, 4)}"
            line = Line(f"{name} = {self.filled(self.pick(words.VALUES))}")
            if name not in self.tensors:
                self.tensors.append(name)
            if name in self.own:
                self.own.remove(name)
            return line
        if chance < 0.62:
            name = f"o{self.random.randint(0, 2)}"
            line = Line(f"{name} = ({self.filled(self.pick(words.VALUES))}) * 1")
            self.tensors = list(dict.fromkeys([*self.tensors, name]))
            self.own = list(dict.fromkeys([*self.own, name]))
            return line
        if chance < 0.75 and self.own:
            return Line(self.filled(self.pick(words.CHANGES)))
        if chance < 0.86 or depth > 2:
            return Line(self.filled(self.pick(words.STATEMENTS)))
        return self.block(depth)

    def block(self, depth: int) -> Line:
        head = self.filled(self.pick(words.BLOCKS))
        before = self.tensors.copy(), self.own.copy()
        body = self.statements(self.random.randint(1, 3), depth + 1)
        # What is set inside may be unbound later; what is set again is of the same shape.
        self.tensors, self.own = before
        if head == "try:":
            return Line("if True:", Line(head, *body),
                        Line("except RuntimeError:", Line("log.append('caught')")))
        return Line(head, *body)

    def training(self) -> list[Line]:
        """Loss, backward, what is done to gradients, and the optimizer's step."""
        loss = self.filled(self.pick(words.LOSSES))
        lines = [Line(f"loss = {loss}" + " + 0.1 * w.square().sum()" * self.chance(0.9))]
        lines += [Line(self.filled(self.pick(words.BACKWARD)))]
        if self.chance(0.4):
            lines.append(Line(self.filled(self.pick(words.GRADIENTS))))
        if self.chance(0.85):
            lines.append(Line(words.STEPS[-1] if self.closure else self.pick(words.STEPS)))
        if self.chance(0.3):
            lines.append(Line(self.filled(self.pick(words.AFTER))))
        return lines

    def step(self) -> Line:
        head = Line(self.pick(words.HEADS))
        head.inside = [Line(self.pick(words.ZEROING))] if self.chance(0.85) else []
        if self.chance(0.8):
            head.inside.append(Line("t0 = net(x)"))
            self.tensors = ["x", "t0", "t0"]
        head.inside += self.statements(self.random.randint(1, 7), 0)
        if self.chance(0.85) and "no_grad" not in head.text:
            head.inside += self.training()
            self.floats.append("0.25")
        else:
            head.inside.append(Line(f"loss = {self.filled('{a}.mean()')}"))
        head.inside += self.statements(self.random.randint(0, 2), 1)
        head.inside.append(Line("return " + self.filled(self.pick(words.RESULTS))))
        return head

    # The rest

    def setup(self) -> list[Line]:
        layers = [self.pick(words.LAYERS) for _ in range(self.random.randint(1, 3))]
        lines = [Line("net = Net([" + ", ".join(layers) + "])")]
        held = "double" if self.double else "float"
        lines.append(Line(f"net = net.{held}()"))
        lines.append(Line(f"w = torch.randn(4, 4, dtype=torch.{held}).requires_grad_()"))
        lines.append(Line(f"total = torch.zeros(4, dtype=torch.{held})"))
        lines.append(Line("parameters = [*net.parameters(), w]"))
        calm = not self.double or any([w in lines[0].text for w in words.NO_GRADIENT])
        optimizer = self.pick(words.CALM_OPTIMIZERS if calm else words.OPTIMIZERS)
        self.closure = optimizer.startswith("LBFGS")
        lines.append(Line(f"opt = torch.optim.{optimizer}"))
        lines.append(Line(f"sched = {self.pick(words.SCHEDULERS)}"))
        return lines

    def events(self) -> list[Line]:
        """What happens before calls."""
        found = []
        for _ in range(self.random.randint(0, 3)):
            when = self.pick(["i == {i}", "i == {i}", "i % 2 == 0", "i >= {i}", "i % 3 == 2"])
            found.append(Line(f"if {self.filled(when)}:",
                              Line(self.filled(self.pick(words.EVENTS)))))
        return found

    def call(self) -> Line:
        held = "torch.float64" if self.double else "torch.float32"
        sizes = self.pick(words.SIZES)
        line = Line("def call(i):", Line(words.DECLARED),
                    Line(f"x = torch.randn({sizes}, 4, dtype={held})"))
        if self.chance(0.3):
            line.inside.append(Line(self.filled(self.pick(words.INPUTS))))
        line.inside.append(Line("y = torch.arange(x.shape[0]) % 4"))
        if self.chance(0.1):
            line.inside.append(Line("y = x.detach()[:, 0].abs().long() % 4"))
        line.inside += self.events()
        line.inside.append(Line(f"result = {self.filled(self.pick(words.CALLS))}"))
        if self.chance(0.25):
            line.inside.append(Line(self.filled(self.pick(words.LATER))))
        if self.chance(0.15):
            line.inside.append(Line("if sched: sched.step()"))
        line.inside.append(Line("return result, x"))
        return line

    def program(self) -> Line:
        setup, step, wrap = self.setup(), self.step(), Line("step = wrap(step)")
        if self.chance(0.06):
            step.inside[-1:] = [Line("return Holder(loss, [x])")]
        if self.chance(0.1):
            wrap = Line("net.forward = wrap(net.forward)")
        elif self.chance(0.1):
            wrap = Line("step = wrap(step); net.compile() if wrap.active else None")
        return Line("def build(wrap, **_):", *setup, *map(Line, STATE), step, wrap,
                    self.call(), Line("def seen():", Line(words.SEEN)), Line("return call, seen"))


class World(SimpleNamespace):
    """What a run showed: of each call; and the error that ended it."""


def source_of(program: Line) -> str:
    return HEADER + "\n".join(program.write()) + "\n"


def plain(tree: Any) -> list[Any]:
    """Everything that can be compared, by value, and the nesting."""
    leaves, spec = tree_flatten(tree)
    found: list[Any] = [str(spec)]
    for x in leaves:
        if isinstance(x, Holder):
            found += plain((x.value, x.more))
        elif isinstance(x, torch.Tensor):
            found.append([x.detach().clone(), x.stride(), x.requires_grad, x.is_leaf,
                          None if x.grad_fn is None else True, type(x).__name__,
                          None if not x.is_leaf or x.grad is None else x.grad.clone()])
        elif isinstance(x, np.ndarray):
            found.append(torch.from_numpy(x.copy()))
        else:
            found.append(x)
    return found


def run(program: Line, compiled: bool, calls: int = CALLS) -> World:
    """Run a program; every call is looked at."""
    text, name = source_of(program), f"<random training {id(program)}>"
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    module = ModuleType("random_training_program")
    sys.modules[module.__name__] = module
    scope = vars(module)
    exec(compile(text, name, "exec"), scope)
    made: list[Any] = []
    there = {id(u) for u in UNITS}

    def wrap(function: Callable) -> Callable:
        found = torch.compile(function) if compiled else function
        made.append(found)

        def watched(*args: Any, **kwargs: Any) -> Any:
            world.before = plain(world.seen())
            return found(*args, **kwargs)

        return watched

    wrap.active = compiled  # type: ignore[attr-defined]
    torch.manual_seed(1)
    world = World(calls=[], error=None, runs=0, kept=[], before=None, reasons=[], seen=list)
    try:
        call, seen = scope["build"](wrap)
        world.seen = seen
        kept: list[Any] = []
        for i in range(calls):
            try:
                result = call(i)
            except ENDS as error:
                world.error = (i, type(error).__name__, str(error).splitlines()[:1])
                world.after = plain(seen())
                break
            kept.append(result)
            world.calls.append([plain(result), plain(seen()), torch.get_rng_state()])
        world.kept = [plain(result) for result in kept]
    finally:
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float32)
        linecache.cache.pop(name, None)
    world.runs = sum([u.runs for u in UNITS if id(u) not in there])
    world.reasons = [r for f in made if compiled for r in unit_of(f).reasons]
    return world


def compared(program: Line, calls: int = CALLS) -> tuple[str, World]:
    """Where a compiled run differs from an eager one, empty where it does not; the compiled run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = run(program, False, calls)
        got = run(program, True, calls)
    exact = "torch.float64" in source_of(program)
    within = 1e-6 if exact and "autocast" not in source_of(program) else 2e-2
    for i, (a, b) in enumerate(zip(want.calls, got.calls)):
        for what, left, right in zip(("result", "state", "random"), a, b):
            found = difference(left, right, within)
            if found:
                return f"call {i}, {what}{found}", got
    if got.error is not None and "support double backward" in str(got.error[2]):
        return "", got
    if want.error != got.error:
        return f"error {want.error} and {got.error}", got
    if want.error is not None:
        found = torn(want.after, got, within)
        if found:
            return f"after the error{found}", got
    found = difference(want.kept, got.kept, within)
    return f"kept results{found}" if found else "", got


def torn(after: list[Any], got: World, within: float) -> str:
    """What an error left neither as eager mode leaves it nor as it was before the call.

    Tensors are as before; what Python did to other objects is done.
    """
    if len(after) != len(got.after) or len(after) != len(got.before or ()):
        return ""
    for x, y, z in zip(after, got.after, got.before):
        found = difference(x, y, within)
        if found and difference(z, y, within):
            return found
    return ""


def difference(a: Any, b: Any, within: float, where: str = "") -> str:
    """Where two lookings differ; empty where they do not."""
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        if a.dtype != b.dtype or a.shape != b.shape:
            return f"{where}: {a.dtype} {tuple(a.shape)} and {b.dtype} {tuple(b.shape)}"
        x, y = (t.double().numpy() for t in (a, b))
        near = 2e-2 if a.dtype in (torch.bfloat16, torch.float16) else within
        return "" if np.allclose(x, y, rtol=near, atol=near, equal_nan=True) else (
            f"{where}: {a} and {b}")
    if isinstance(a, (list, tuple)) and type(a) is type(b) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            found = difference(x, y, within, f"{where}.{i}")
            if found:
                return found
        return ""
    if isinstance(a, (float, np.floating)) and type(a) is type(b):
        near = a == b or abs(a - b) <= within * max(1, abs(a)) or a != a and b != b
        return "" if near else f"{where}: {a} and {b}"
    return "" if type(a) is type(b) and a == b else f"{where}: {a} and {b}"


def smaller(program: Line, fails: Callable[[Line], bool]) -> Line:
    """The program without lines that do not matter for ``fails``."""
    found, changed = program.copy(), True
    while changed:
        changed = False
        for holder in list(found.walk()):
            for line in list(holder.inside):
                at = holder.inside.index(line)
                for instead in ([], line.inside):
                    if instead is line.inside and not line.inside:
                        continue
                    holder.inside[at:at + 1] = instead
                    if fails(found):
                        changed = True
                        break
                    holder.inside[at:at + len(instead)] = [line]
    return found
