"""Parts that a compiled step overwrites, and what it copies: as in eager mode, call by call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
from flambeau.compiler.entry import unit_of

CALLS = 4


def compared(step: Any, *tensors: torch.Tensor) -> None:
    """Calls of a step and of its compiled copy give the same, and leave the same behind."""
    ours, theirs = ([t.clone() for t in tensors] for _ in range(2))
    compiled = torch.compile(step)
    for _ in range(CALLS):
        found, want = compiled(*ours), step(*theirs)
        for a, b in zip(_leaves([found, ours]), _leaves([want, theirs]), strict=True):
            assert a.dtype == b.dtype and a.stride() == b.stride()
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6, equal_nan=True)
        assert [a._version for a in ours] == [b._version for b in theirs]


def _leaves(x: Any) -> list[torch.Tensor]:
    if isinstance(x, torch.Tensor):
        return [x]
    return [leaf for part in x or () for leaf in _leaves(part)]


def _first_row(x: Any, y: Any) -> None:
    y[0] = 1.5


def _column(x: Any, y: Any) -> None:
    y[:, 1] = x[0]


def _rows_of_itself(x: Any, y: Any) -> None:
    y[0] = y[1]
    y[2:4] = y[1:3].clone()


def _chain(x: Any, y: Any) -> Any:
    before = y.sum()
    y[0] = x[1]
    y[3] = x[2] * 2
    y[1:5, ::2] = 0.25
    return before, y.sum()


def _old_and_new(x: Any, y: Any) -> Any:
    old = y.clone()
    y[2] = x[0]
    return old, y


def _exchanged(x: Any, y: Any) -> None:
    old = x.clone()
    x.copy_(y)
    y.copy_(old)


def _read_between(x: Any, y: Any) -> Any:
    y[0] = x[0]
    middle = y * 2
    y[0] = x[1]
    return middle


def _built(x: Any, y: Any) -> Any:
    made = torch.zeros(6, 6)
    for i in range(6):
        made[i] = x[i] * i + y[0]
    return made, made[2]


def _through_turns(x: Any, y: Any) -> Any:
    y.t()[1] = x[2]
    y[:, 3:].t()[0] = -1.0
    y.diagonal()[1:3] = x[0, :2]
    return x.t().contiguous(), x.flip(0)


def _filled(x: Any, y: Any) -> Any:
    y.fill_(0.5)
    y[3].zero_()
    return torch.ones(2, 3), y.clone(), x, y[1]


def _multiplied(x: Any, y: Any) -> Any:
    y.mul_(0.5)
    y[1] = x[1]
    y.add_(x)
    return x[0].clone()


STEPS = [_first_row, _column, _rows_of_itself, _chain, _old_and_new, _exchanged, _read_between,
         _built, _through_turns, _filled, _multiplied]


@pytest.mark.parametrize("turned", [False, True], ids=["rows", "turned"])
@pytest.mark.parametrize("step", STEPS, ids=lambda f: f.__name__)
def test_steps_that_write_parts(step: Any, turned: bool) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(6, 6), torch.randn(6, 6)
    if not turned:
        compared(step, x, y)
        return
    # a clone keeps the order of its memory
    compared(step, x, y.t())


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64,
                                   torch.uint8, torch.bool, torch.complex64], ids=str)
def test_other_dtypes(dtype: Any) -> None:
    x, y = (torch.arange(48).reshape(6, 8).to(dtype), torch.arange(48, 96).reshape(6, 8).to(dtype))

    def step(x: Any, y: Any) -> Any:
        y[1] = x[0]
        y[:, 2:4] = x[:, 4:6]
        y[::2, 0] = 1
        return y[3].clone(), x.t().contiguous(), torch.zeros(3, dtype=dtype)

    compared(step, x, y)


def test_a_cache_of_keys_grows_in_place() -> None:
    cache, new = torch.zeros(2, 3, 16, 8), torch.randn(2, 3, 1, 8)

    def step(cache: Any, new: Any) -> Any:
        cache[:, :, 5:6] = new
        return (cache * new).sum()

    compared(step, cache, new)
    compiled = torch.compile(step)
    for _ in range(3):
        compiled(cache, new)
    place = cache.data_ptr()
    compiled(cache, new)
    assert cache.data_ptr() == place and (cache[:, :, 5:6] == new).all()


def test_nothing_is_written_where_the_step_fails() -> None:
    x, at = torch.randn(6, 4), torch.tensor([1, 2])

    def step(y: Any, at: Any) -> Any:
        y[0] = 7.0
        return x[at]

    compiled, y = torch.compile(step), torch.zeros(3, 4)
    for _ in range(3):
        compiled(y, at)
    y.zero_()
    with pytest.raises(IndexError):
        compiled(y, torch.tensor([1, 99]))
    assert (y == 0).all()


@pytest.mark.parametrize("write", [lambda y, x: y.copy_(x), lambda y, x: y[0].copy_(x[1]),
                                   lambda y, x: y.mul_(x)], ids=["copy", "row", "product"])
@pytest.mark.parametrize("returns", [False, True])
def test_arrays_that_may_not_be_written(write: Any, returns: bool) -> None:
    def step(y: Any, x: Any) -> Any:
        write(y, x)
        return y.sum() if returns else None

    compiled, x = torch.compile(step), torch.full((3, 4), 2.0)
    for _ in range(4):
        compiled(torch.ones(3, 4), x)
    held = np.ones((3, 4), np.float32)
    held.flags.writeable = False
    with pytest.raises(RuntimeError, match="read-only"):
        compiled(torch.from_numpy(held), x)
    assert (held == 1).all()


def test_results_kept_are_not_overwritten() -> None:
    step = torch.compile(lambda x: (x.clone(), x.t().contiguous(), torch.full((2,), 3.0)))
    x = torch.randn(3, 4)
    first = step(x)
    kept = [t.clone() for t in first]
    first[2].add_(1)
    x.zero_()
    again = step(x)
    assert all([(a == b).all() for a, b in zip(first[:2], kept)])
    assert (again[0] == 0).all() and (again[2] == 3).all()


@pytest.mark.parametrize("cut", [lambda x: x.unbind(), lambda x: x.split(2, 1),
                                 lambda x: x.chunk(3),
                                 lambda x: [row.unbind() for row in x.split(2)]],
                         ids=["unbind", "split", "chunk", "nested"])
def test_the_views_of_one_call_have_one_node(cut: Any) -> None:
    x = torch.randn(6, 6, requires_grad=True)
    step = torch.compile(cut)
    for _ in range(3):
        found, want = _leaves(step(x)), _leaves(cut(x))
    assert [t.shape for t in found] == [t.shape for t in want]
    assert len({id(t.grad_fn) for t in found}) == len({id(t.grad_fn) for t in want})
    assert all([a.grad_fn.name() == b.grad_fn.name() for a, b in zip(found, want)])
    sum([(t * (i + 1)).sum() for i, t in enumerate(found)]).backward()
    ours, x.grad = x.grad, None
    sum([(t * (i + 1)).sum() for i, t in enumerate(want)]).backward()
    assert (ours == x.grad).all()


LINES = [
    "a[{i}] = b[{j}]", "a[:, {i}] = 2.0", "b[{i}:, 1] = c[{i}:, {j}]", "a[1:4] = a[0:3].clone()",
    "b += a", "c = a.clone()", "a.copy_(b)", "b.copy_(c)", "b.t()[{i}] = a[{j}]", "a.mul_(0.5)",
    "c[{i}, {j}] = a.sum()", "c = b * 2", "a[{i}] += b[{j}]", "b[::2] = 0.5", "a.fill_(1.25)",
    "c[{i}] = c[{j}]", "c = torch.zeros(5, 5)", "b.view(-1)[{i}:{i} + 7] = a.view(-1)[{j}:{j} + 7]",
    "kept.append(a[{i}].clone())", "kept.append(b * 1)", "kept.append(c.clone())",
    "a[:, {i}:{i} + 2] = c[{j}].unsqueeze(1)"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(LINES), st.integers(0, 4), st.integers(0, 4)),
                min_size=1, max_size=9))
def test_any_order_of_writes(chosen: list[tuple[str, int, int]]) -> None:
    lines = [line.format(i=i, j=j) for line, i, j in chosen]
    body = "\n    ".join(["kept = []", *lines, "return kept, c"])
    names: dict[str, Any] = {"torch": torch}
    exec(f"def step(a, b, c):\n    {body}\n", names)
    torch.manual_seed(1)
    compared(names["step"], torch.randn(5, 5), torch.randn(5, 5), torch.randn(5, 5))


def test_steps_were_compiled() -> None:
    def step(a: Any, b: Any) -> Any:
        a[1] = b[0]
        b.fill_(2.0)
        return a.clone()

    compiled = torch.compile(step)
    for _ in range(4):
        compiled(torch.randn(3, 3), torch.randn(3, 3))
    assert unit_of(compiled).runs == 2
