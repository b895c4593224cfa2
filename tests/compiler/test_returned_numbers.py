"""Numbers that a step reads from tensors: compiled where they only go to the result."""

from __future__ import annotations

from typing import Any

import pytest

import flambeau as torch
from tests.compiler.harness import check


def test_the_loss_is_returned_as_a_number() -> None:
    def build(wrap: Any) -> Any:
        w = torch.ones(3, requires_grad=True)

        @wrap
        def step(x: Any) -> Any:
            loss = ((x * w) ** 2).mean()
            loss.backward()
            with torch.no_grad():
                w.sub_(0.1 * w.grad)
            w.grad = None
            return loss.item()

        return lambda i: step(torch.arange(3.0) + i), lambda: w

    check(build)


def test_several_numbers_and_tensors() -> None:
    def build(wrap: Any) -> Any:
        @wrap
        def step(x: Any) -> Any:
            total, most, mean = x.sum(), x.max(), (x * 2).mean()
            first = total.item()
            return first, [most.detach().item(), total], {"k": mean.item()}

        return lambda i: step(torch.arange(4.0) * (i + 1)), list

    check(build)


@pytest.mark.parametrize("finish", [
    lambda x: x.sum().item() * 2, lambda x: f"{x.sum().item():.3f}",
    lambda x: round(x.sum().item()), lambda x: x * x.sum().item(),
    lambda x: x.sum().item() if x.sum().item() > 5 else None, lambda x: [x.sum().item()] * 2])
def test_numbers_that_go_elsewhere(finish: Any) -> None:
    def build(wrap: Any) -> Any:
        step = wrap(finish)
        return lambda i: step(torch.arange(4.0) * i), list

    check(build, compiled=False, warns=True)


def test_a_number_read_by_another_function() -> None:
    def build(wrap: Any) -> Any:
        seen: list[float] = []

        def note(t: Any) -> float:
            return t.item()

        @wrap
        def step(x: Any) -> Any:
            y = x * note(x.sum())
            return y

        return lambda i: (step(torch.arange(4.0) * i), seen), list

    check(build, compiled=False, warns=True)
