"""Numbers that change at every call: inputs of one program, not programs of their own."""

from __future__ import annotations

import math
from typing import Any

import flambeau as torch
from flambeau import nn
from flambeau.compiler.entry import unit_of
from tests.compiler.harness import check

RATE = 0.1


def programs_of(wrap: Any) -> int:
    return sum(len(unit_of(f).programs) for f in wrap.made)


def test_a_learning_rate_that_falls_at_every_step() -> None:
    def build(wrap: Any) -> Any:
        net = nn.Linear(4, 2)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
        x, y = torch.randn(8, 4), torch.randn(8, 2)

        @wrap
        def step() -> Any:
            optimizer.zero_grad()
            loss = ((net(x) - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        def call(i: int) -> Any:
            loss = step()
            schedule.step()
            return loss, optimizer.param_groups[0]["lr"]

        return call, lambda: list(net.parameters())

    wrap = check(build, least=14)
    assert programs_of(wrap) <= 3


def test_adam_with_a_schedule() -> None:
    def build(wrap: Any) -> Any:
        net = nn.Linear(4, 2)
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
        x, y = torch.randn(8, 4), torch.randn(8, 2)

        @wrap
        def step() -> Any:
            optimizer.zero_grad()
            loss = ((net(x) - y) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        def call(i: int) -> Any:
            optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
            return step()

        return call, lambda: list(net.parameters())

    wrap = check(build, least=12)
    assert programs_of(wrap) <= 3


def test_globals_closures_lists_attributes_and_arguments() -> None:
    class Config:
        scale = 1.0

    def build(wrap: Any) -> Any:
        global RATE
        RATE = 0.1
        rate = 0.5
        held = [0.25]
        config = Config()
        config.scale = 1.0

        @wrap
        def step(x: Any, k: float) -> Any:
            return x * RATE + rate * held[0] - x * (1 - config.scale) / k

        def call(i: int) -> Any:
            nonlocal rate
            global RATE
            RATE, rate = 0.1 + 0.01 * i, 0.5 - 0.02 * i
            held[0], config.scale = 0.25 * i + 0.5, 1.5 ** i
            return step(torch.arange(4.0), 1.5 + i)

        return call, list

    wrap = check(build, least=15)
    assert programs_of(wrap) <= 3


def test_a_comparison_is_checked() -> None:
    def build(wrap: Any) -> Any:
        @wrap
        def step(x: Any, k: float) -> Any:
            return x * k if k > 5 else x + k

        return lambda i: step(torch.arange(4.0), 0.5 * i), list

    check(build, least=10)


def test_what_math_makes_of_a_number_is_no_input() -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x, k: x * math.floor(math.sqrt(k)))
        return lambda i: step(torch.arange(4.0), 1.0 + 0.25 * i), list

    check(build, compiled=False, warns=True)


def test_a_number_that_gets_away_is_no_input() -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x, k: x * torch.tensor(k) + round(k))
        return lambda i: step(torch.arange(4.0), 1.0 + 0.25 * i), list

    check(build, compiled=False, warns=True)


def test_integers_and_other_dtypes() -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x, y, k: (x * k, y * k, (x.double() * k), x[0] * k))
        return (lambda i: step(torch.arange(4.0), torch.arange(4), 1.0 + i / 3), list)

    check(build, least=14)


def test_numbers_computed_from_ones_that_change_are_returned() -> None:
    def build(wrap: Any) -> tuple:
        step = wrap(lambda x, rate: (x * rate, rate * 2, [rate]))
        return lambda i: step(torch.ones(2), i / 10), list

    check(build, compiled=False, warns=True)


def test_calls_with_other_arguments_where_a_number_changes() -> None:
    def build(wrap: Any) -> tuple:
        step = wrap(lambda *tensors, **scales: sum(tensors) * sum(scales.values()))
        tensors, number = [torch.ones(2), torch.arange(2.0)], iter(range(100))
        calls = [lambda: step(*tensors, x=1.0), lambda: step(tensors[0], y=tensors[1]),
                 lambda: step(tensors[0], y=float(next(number))), lambda: step(*tensors)]
        return lambda i: calls[i % 4 if i > 7 else 2](), list

    check(build, compiled=False, warns=None)


def test_a_number_that_changed_and_is_there_no_more() -> None:
    def build(wrap: Any) -> tuple:
        rates, named = [1.0], {"rate": 1.0}

        @wrap
        def step(x: Any) -> Any:
            return x * (rates[0] if rates else 7) + named.get("rate", 3)

        def call(i: int) -> Any:
            if i in (1, 2, 3, 10, 11):
                rates[:1] = [1.5 * i]
                named["rate"] = 0.5 * i
            elif i == 5:
                rates.clear()
            elif i == 7:
                del named["rate"]
            elif i == 14:
                rates[0] = torch.ones(2)
            return step(torch.ones(2))

        return call, list

    check(build, compiled=False, warns=None)
