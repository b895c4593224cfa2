"""Random steps that read values, print and branch half-way: in parts as in eager mode."""

from __future__ import annotations

import linecache
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from tests.compiler.harness import check

HEAD = """\
def make(torch, np, net, w, total, log, state, print):
    def helper(a, b):
        return torch.relu(a) + b * 0.25

    def loud(a):
        b = torch.exp(-a * a)
        if b.mean() > 0.5:
            print("loud")
        return b * a

    def step(x, flag):
        f0 = 0.5
"""
EXPRESSIONS = (
    "torch.tanh({a})", "{a} * {b}", "{a} + 0.5 * {b}", "net({a})", "{a} * {f}", "{a}.detach()",
    "torch.dropout({a}, 0.25, True)", "helper({a}, {b})", "torch.where({a} > 0, {a}, {b})",
    "({a} @ {b}.t()) @ {b} * 0.1", "loud({a})", "sum(v * 0.5 for v in ({a}, {b}))",
    "{a}.view(-1).view(3, 3)", "[{a}, {b}][1]", "torch.from_numpy({a}.detach().numpy() * 2) + {b}")
CONDITIONS = ("{a}.sum() > 0", "{a}.mean().item() > {b}.mean().item()", "flag", "{f} > 0",
              "state['n'] % 3 == 0")
STATEMENTS = (
    "{g} = min(3.0, {a}.sum().item())", "log.append(round({a}.mean().item(), 3))", "print('here')",
    "state['n'] += 2", "total.add_({a}.detach() * 0.1)", "w.grad = None", "{o}.mul_(0.9)",
    "({a}.square().mean() + {b}.mean()).backward()", "scale = lambda v: v * 0.5 + {a}")
BLOCKS = ("if {c}:", "for k in range(2):", "with torch.no_grad():", "try:")


class Writer:
    """Writes a step of random statements."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.tensors, self.floats = ["x", "w"], ["f0"]
        self.lines: list[str] = []

    def filled(self, text: str) -> str:
        pick = self.random.choice
        own = [t for t in self.tensors if t not in ("x", "w")] or ["x"]
        names = {"a": pick(self.tensors), "b": pick(self.tensors), "f": pick(self.floats),
                 "o": pick(own), "g": f"f{self.random.randint(0, 2)}"}
        names["c"] = pick(CONDITIONS).format(**names) if "{c}" in text else ""
        if "{g}" in text and names["g"] not in self.floats:
            self.floats.append(names["g"])
        return text.format(**names)

    def statement(self, indent: int) -> None:
        pad, chance = "    " * indent, self.random.random()
        if chance < 0.5:
            value = self.filled(self.random.choice(EXPRESSIONS))
            name = f"t{self.random.randint(0, 5)}"
            self.lines.append(f"{pad}{name} = {value}")
            if name not in self.tensors:
                self.tensors.append(name)
        elif chance < 0.82 or indent > 3:
            self.lines.append(pad + self.filled(self.random.choice(STATEMENTS)))
        else:
            self.block(indent, pad)

    def block(self, indent: int, pad: str) -> None:
        head = self.filled(self.random.choice(BLOCKS))
        self.lines.append(pad + head)
        before = self.tensors.copy(), self.floats.copy()
        for _ in range(self.random.randint(1, 3)):
            self.statement(indent + 1)
        if head == "try:":
            self.lines += [f"{pad}except RuntimeError:", f"{pad}    log.append('caught')"]
        if self.random.random() < 0.8:
            # Else what was set inside may be unbound later.
            self.tensors, self.floats = before

    def source(self) -> str:
        for _ in range(self.random.randint(5, 12)):
            self.statement(2)
        self.lines.append(f"        return {self.filled('{a}, {b}, w.grad, {f}')}")
        return HEAD + "\n".join(self.lines) + "\n    return step\n"


def made(seed: int) -> Callable:
    source, name = Writer(seed).source(), f"<random step {seed}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    scope: dict[str, Any] = {}
    exec(compile(source, name, "exec"), scope)
    return scope["make"]


@pytest.mark.parametrize("seed", range(12))
def test_random_steps(seed: int) -> None:
    make = made(seed)

    def build(wrap: Any) -> tuple:
        net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Tanh())
        w = torch.randn(3, 3, requires_grad=True)
        total, log, state = torch.zeros(3, 3), [], {"n": 0}
        step = wrap(make(torch, np, net, w, total, log, state, lambda text: log.append(text)))
        failed: list[Any] = []

        def call(i: int) -> Any:
            if not failed:
                try:
                    return step(torch.randn(3, 3), i % 3 == 0)
                except (RuntimeError, UnboundLocalError) as error:
                    failed.append(type(error))
                    torch.manual_seed(0)
            with torch.no_grad():
                w.clamp_(-2, 2)

        def seen() -> Any:
            # What is left of a step that failed is another question.
            return failed if failed else (w, total, log, state["n"], *net.parameters())

        return call, seen

    check(build, 14, compiled=False, warns=None, tolerance=2e-4)
