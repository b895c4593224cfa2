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
