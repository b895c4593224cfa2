"""Steps that go back through history from before their call: no trace stands for that."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau as torch
from tests.compiler.harness import check


@pytest.mark.parametrize("how", ["backward", "grad"])
def test_history_from_before_the_call(how: str) -> None:
    def build(wrap: Any) -> tuple:
        state: list[Any] = []

        @wrap
        def back(y: Any, loss: Any) -> Any:
            if how == "grad":
                return torch.autograd.grad(loss, y)[0]
            y.grad = None
            loss.backward()

        def step(i: int) -> Any:
            y = torch.full((3,), i / 10, requires_grad=True)
            result = back(y, torch.exp(y).sum())
            state[:] = [y]
            return result

        return step, lambda: state

    check(build, compiled=False, warns=True)


def test_the_history_of_another_compiled_function() -> None:
    def build(wrap: Any) -> tuple:
        w = torch.randn(3, requires_grad=True)
        forward = wrap(lambda x: (w * x).sum().exp())
        back = wrap(lambda loss: loss.backward())

        def step(i: int) -> Any:
            w.grad = None
            back(forward(torch.full((3,), i / 10)))

        return step, lambda: [w]

    check(build, least=10, warns=True)


def test_arguments_whose_histories_meet() -> None:
    def build(wrap: Any) -> tuple:
        w = torch.randn(3, requires_grad=True)
        product = wrap(lambda a, b: (a * b).sum())

        def step(i: int) -> Any:
            w.grad = None
            first = w * (1 + i / 10)
            product(first * 2, first).backward()

        return step, lambda: [w]

    check(build)


@pytest.mark.parametrize("where", ["leaf", "argument"])
def test_hooks_where_the_step_ends(where: str) -> None:
    def build(wrap: Any) -> tuple:
        w = torch.randn(3, requires_grad=True)
        seen: list[Any] = []
        if where == "leaf":
            w.register_hook(lambda g: seen.append(g.sum()) or g * 2)
        forward = wrap(lambda x, v: (x * v * w).sum())

        def step(i: int) -> Any:
            w.grad = None
            v = w * 3
            if where == "argument":
                v.register_hook(lambda g: seen.append(g.sum()) or g * 2)
            forward(torch.full((3,), i / 10), v).backward()

        return step, lambda: (w, seen)

    check(build)


def test_a_hook_on_an_argument() -> None:
    def build(wrap: Any) -> tuple:
        w = torch.randn(3, requires_grad=True)
        seen: list[Any] = []

        @wrap
        def forward(v: Any) -> Any:
            v.register_hook(lambda g: seen.append(g.sum()) or g * 2)
            return (v * 3).sum()

        def step(i: int) -> Any:
            w.grad = None
            forward(w * i).backward()

        return step, lambda: (w, seen)

    check(build, compiled=False, warns=True)


def test_one_tensor_returned_twice() -> None:
    def build(wrap: Any) -> tuple:
        w = torch.randn(3, requires_grad=True)

        @wrap
        def forward(x: Any) -> Any:
            y = x * w
            return y, y.exp(), y

        def step(i: int) -> Any:
            w.grad = None
            a, b, c = forward(torch.full((3,), i / 10))
            (a * b + c).sum().backward()
            return a is c

        return step, lambda: [w]

    check(build)


@pytest.mark.parametrize("change", ["relu", "where", "view"])
def test_inputs_changed_before_going_back(change: str) -> None:
    def build(wrap: Any) -> tuple:
        w = torch.randn(3, 3, requires_grad=True)
        forward = wrap({"relu": lambda x: torch.relu(x + w), "where": lambda x: torch.where(
            x > 0, w, x), "view": lambda x: x.t() * 2 + w * w.sum()}[change])

        def step(i: int) -> Any:
            w.grad = None
            x = torch.randn(3, 3)
            y = forward(x)
            x.zero_()
            y.sum().backward()

        return step, lambda: [w]

    check(build)


def test_views_that_only_the_history_keeps() -> None:
    def build(wrap: Any) -> tuple:
        mix, out = torch.nn.Linear(4, 12), torch.nn.Linear(4, 2)

        @wrap
        def forward(x: Any) -> Any:
            q, k, v = (z.view(2, 3, 2, 2).transpose(1, 2) for z in mix(x).split(4, dim=2))
            y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return out(y.transpose(1, 2).reshape(2, 3, 4))

        def step(i: int) -> Any:
            mix.zero_grad()
            out.zero_grad()
            forward(torch.randn(2, 3, 4)).sum().backward()

        return step, lambda: (*mix.parameters(), *out.parameters())

    check(build)


def test_a_parameter_changed_before_going_back() -> None:
    def build(wrap: Any) -> tuple:
        w = torch.randn(3, requires_grad=True)
        forward = wrap(lambda x: torch.where(w > 0, w, x))

        def step(i: int) -> Any:
            w.grad = None
            y = forward(torch.randn(3))
            with torch.no_grad():
                w.mul_(-1)
            y.sum().backward()

        return step, lambda: [w]

    check(build)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_going_back_from_some_of_the_results(which: int) -> None:
    def build(wrap: Any) -> tuple:
        trunk, one, two = (torch.nn.Linear(3, 3) for _ in range(3))
        parameters = [*trunk.parameters(), *one.parameters(), *two.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)

        @wrap
        def forward(x: Any) -> Any:
            h = torch.tanh(trunk(x))
            return one(h).sum(), (two(h).square().mean() * 0).sqrt(), two(x).exp()

        def step(i: int) -> Any:
            optimizer.zero_grad()
            results = forward(torch.randn(2, 3))
            results[which if i % 4 else 0].sum().backward()
            optimizer.step()

        return step, lambda: parameters

    check(build)


def test_going_back_from_one_result_after_another() -> None:
    def build(wrap: Any) -> tuple:
        w, v = (torch.randn(3, requires_grad=True) for _ in range(2))

        @wrap
        def forward(x: Any) -> Any:
            return w * 2, (v * x).exp().sum(), (w * w * x).sum()

        def step(i: int) -> Any:
            w.grad = v.grad = None
            a, b, c = forward(torch.randn(3))
            b.backward()
            a.sum().backward()
            a.sum().backward()
            (c if i % 5 else b).backward()
            c.backward()

        return step, lambda: [w, v]

    check(build)


def test_gradients_of_tensors_that_are_not_read() -> None:
    def build(wrap: Any) -> tuple:
        v, w = (torch.ones(2, requires_grad=True) for _ in range(2))

        @wrap
        def step(x: Any) -> Any:
            w.grad = None
            had = v.grad is not None
            v.grad = None
            return (x * w).detach() * (2 if had else 3)

        def call(i: int) -> Any:
            if i % 3:
                v.grad, w.grad = torch.ones(2), torch.ones(2)
            return step(torch.ones(2) * i)

        return call, lambda: [v, w]

    check(build)
