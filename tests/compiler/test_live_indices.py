"""Integers that change at every call and only index: inputs of one program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau as torch
from flambeau import nn
from flambeau.compiler.entry import unit_of
from flambeau.compiler.live_index import LiveIndex, index_names
from tests.compiler.harness import check

ROWS = 12


def programs_of(wrap: Any) -> int:
    return sum(len(unit_of(f).programs) for f in wrap.made)


def calls(step: Callable, *shapes: tuple[int, ...], arguments: Callable) -> Callable:
    """What builds a program that calls ``step`` with tensors and numbers of its own."""
    def build(wrap: Any) -> Any:
        compiled = wrap(step)
        tensors = [torch.randn(*shape) for shape in shapes]
        return lambda i: compiled(*tensors, *arguments(i)), lambda: tensors

    return build


READS: dict[str, tuple[Callable, Callable]] = {
    "row": (lambda x, i: x[i] * 2, lambda i: (i % ROWS,)),
    "from the end": (lambda x, i: x[i] * 2, lambda i: (-1 - i % ROWS,)),
    "column": (lambda x, i: x[:, i].exp(), lambda i: (i % 5,)),
    "item": (lambda x, i, j: x[i, j] + 1, lambda i: (i % ROWS, i % 5)),
    "apart": (lambda x, i, j: x[i, :, j] + 1, lambda i: (i % ROWS, i % 6)),
    "last": (lambda x, i: x[..., i] + 1, lambda i: (i % 6,)),
    "beside a slice": (lambda x, i: x[i, 1:4, None] + 1, lambda i: (i % ROWS,)),
    "two": (lambda x, i, j: x[i] * x[j], lambda i: (i % ROWS, 3))}


@pytest.mark.parametrize("name", READS)
def test_reading_where_a_number_says(name: str) -> None:
    step, arguments = READS[name]
    wrap = check(calls(step, (ROWS, 5, 6), arguments=arguments), least=17)
    assert programs_of(wrap) <= 3


def test_indices_out_of_range_raise_as_in_eager_mode() -> None:
    at = [0, 1, 2, ROWS, 3, -ROWS - 1, 4, 10**30, -10**30, 5, -1, *range(9)]
    wrap = check(calls(lambda x, i: x[i] * 2, (ROWS, 3), arguments=lambda i: (at[i],)), least=10)
    assert programs_of(wrap) == 2


def test_the_first_number_that_changes_may_be_out_of_range() -> None:
    at = [0, ROWS, -ROWS - 1, 10**30, *range(16)]
    for n in range(ROWS, len(at)):
        at[n] %= ROWS
    check(calls(lambda x, i: x[i] * 2, (ROWS, 3), arguments=lambda i: (at[i],)), least=10)


def test_writing_where_a_number_says() -> None:
    def step(x: Any, y: Any, i: Any) -> Any:
        x[i] = y
        x[i, 1] = 3.0
        x[0] = x[i] + 1
        return x.sum()

    wrap = check(calls(step, (ROWS, 5), (5,), arguments=lambda i: (i % ROWS,)), least=15)
    assert programs_of(wrap) <= 3


def test_values_of_another_dtype_are_written_as_in_eager_mode() -> None:
    def build(wrap: Any) -> Any:
        @wrap
        def step(x: Any, y: Any, i: Any) -> Any:
            x[i] = y
            return x * 1

        x, y = torch.zeros(ROWS, 5), torch.arange(5)
        return lambda i: step(x, y, i % 4), lambda: [x]

    check(build, warns=None, compiled=False)


def test_batches_of_a_training_loop() -> None:
    def build(wrap: Any) -> Any:
        net = nn.Linear(4, 2)
        optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 30)
        xs, ys = torch.randn(5, 8, 4), torch.randn(5, 8, 2)

        @wrap
        def step(i: Any) -> Any:
            optimizer.zero_grad()
            loss = ((net(xs[i]) - ys[i]) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        def call(i: int) -> Any:
            loss = step(i % 5)
            schedule.step()
            return loss, optimizer.param_groups[0]["lr"]

        return call, lambda: list(net.parameters())

    wrap = check(build, least=12)
    assert programs_of(wrap) <= 5


def test_gradients_go_back_to_the_rows() -> None:
    def build(wrap: Any) -> Any:
        table = nn.Parameter(torch.randn(ROWS, 4))

        @wrap
        def step(i: Any) -> Any:
            table.grad = None
            (table[i] ** 2).sum().backward()
            with torch.no_grad():
                table.sub_(table.grad, alpha=0.1)
            return table.detach() * 1

        return lambda i: step(i % ROWS), lambda: [table]

    wrap = check(build, least=15)
    assert programs_of(wrap) <= 3


def test_modules_called_with_a_number() -> None:
    def build(wrap: Any) -> Any:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.table = nn.Parameter(torch.randn(ROWS, 4))

            def forward(self, x: Any, i: Any) -> Any:
                return (self.table.detach()[i] * x).relu()

        net, x = wrap(Net()), torch.randn(3, 4)
        return lambda i: net(x, i % ROWS), lambda: [x]

    check(build, warns=None, compiled=False)


OTHER_USES: dict[str, Callable] = {
    "computed with": lambda x, i: x[i] + i,
    "a slice": lambda x, i: x[i:i + 2] * 2,
    "a list": lambda x, i: x[0] * [1, 2, 3, 4, 5][i],
    "a loop": lambda x, i: sum([x[k] for k in range(i)], x[i]),
    "a test": lambda x, i: x[i] if i % 2 else x[i] * 2,
    "a shape": lambda x, i: x.view(-1)[:i * 2].sum() + x[i].sum(),
    "beside a tensor": lambda x, i: x[i, torch.tensor([0, 1])] * 2,
    "text": lambda x, i: x[i] * len(f"{i:3}"),
    "a view that is returned": lambda x, i: x[i]}


@pytest.mark.parametrize("name", OTHER_USES)
def test_numbers_that_do_other_things_are_constants(name: str) -> None:
    check(calls(OTHER_USES[name], (ROWS, 5), arguments=lambda i: (i % 5,)), warns=None,
          compiled=False)


def test_views_that_are_written_later() -> None:
    def build(wrap: Any) -> Any:
        @wrap
        def step(x: Any, i: Any) -> Any:
            row = x[i]
            row.add_(1)
            return x * 1

        x = torch.randn(ROWS, 5)
        return lambda i: step(x, i % 4), lambda: [x]

    check(build, warns=None, compiled=False)


def test_numbers_given_by_name() -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x, i, *, j=0: x[i, j] * 2 + x[j, i])
        x = torch.randn(ROWS, ROWS)
        return lambda n: step(x, j=n % 3, i=n % ROWS), lambda: [x]

    wrap = check(build, least=14)
    assert programs_of(wrap) <= 4


def test_other_arguments_in_the_place_of_a_number() -> None:
    def build(wrap: Any) -> Any:
        step = wrap(lambda x, i=0, times=1: x[i] * times)
        x = torch.randn(ROWS, 5)
        return lambda n: step(x, n % 3) if n % 2 else step(x, times=n % 5), lambda: [x]

    check(build, warns=None, compiled=False)


def test_lists_of_numbers_are_no_numbers() -> None:
    check(calls(lambda x, i: x[i] * 2, (ROWS, 5), arguments=lambda i: ([i % 4],)), warns=None,
          compiled=False)


def test_a_loop_that_python_runs() -> None:
    def loop(x: Any) -> Any:
        total = 0.0
        for i in range(x.shape[0]):
            row = (x[i] * 2).exp().sum()
            if row.item() > 1e9:
                break
            total += row.item()
        return total

    wrap = check(calls(loop, (ROWS, 5), arguments=lambda i: ()), warns=None, compiled=False)
    unit = unit_of(wrap.made[0])
    assert all([len(part.programs) <= 2 for _, part in unit.parts.units()])


def test_booleans_and_tensors_among_the_calls() -> None:
    given = [0, 1, 2, True, False, 3, 2, 1.5, None, 4, torch.tensor(2), *range(9)]
    check(calls(lambda x, i: x[i] * 2, (ROWS, 5), arguments=lambda i: (given[i],)), warns=None,
          compiled=False)


def test_what_code_does_with_its_parameters() -> None:
    def several(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, *rest: Any) -> Any:
        c = c + 1
        a[b, 1:2][c, d] = a[(e, 2)]
        return [a[k] for k in range(f)]

    assert index_names(several.__code__) == {"b", "d", "e"}

    def held(a: Any, i: Any) -> Any:
        return a[i], lambda: i

    assert index_names(held.__code__) == set()


def test_a_number_in_place_of_another_is_as_good() -> None:
    number = LiveIndex(3, 0)
    assert isinstance(number, int) and not number.leaked
    assert [1, 2, 3, 4][number] == 4 and number.leaked
    assert number + number == 6 and 1 - number == -2 and number == 3 and hash(number) == hash(3)
    assert f"{number:>2}" == " 3" and {3: "x"}[number] == "x" and divmod(7, number) == (2, 1)
    assert number.bit_length() == 2 and [*range(number)] == [0, 1, 2] and float(number) == 3.0
