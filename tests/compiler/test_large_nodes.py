"""Operators on large tensors that compiled steps run whole: their results, checks and writes."""

from __future__ import annotations

import re
from typing import Any

import pytest

import flambeau as torch
from flambeau.backends import large
from flambeau.compiler.entry import unit_of

SIDE = 300


def matrix(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return torch.randn(SIDE, SIDE)


def places(seed: int = 1) -> Any:
    torch.manual_seed(seed)
    return torch.randint(0, SIDE, (SIDE, SIDE))


def agrees(step: Any, *inputs: Any) -> None:
    """Compiled calls give what eager ones do, each in memory of its own."""
    compiled, want = torch.compile(step), step(*inputs)
    found = [compiled(*inputs) for _ in range(5)]
    for x in found:
        assert x.dtype is want.dtype and x.stride() == want.stride()
        assert torch.equal(x, want)
    assert len({x.data_ptr() for x in [*found, *inputs]}) == len(found) + len(inputs)


@pytest.mark.parametrize("step", [
    lambda a: a.flip(1), lambda a: a.sort(1)[0], lambda a: a.cumsum(0), lambda a: a.roll(3, 1),
    lambda a: a.long(), lambda a: torch.rot90(a), lambda a: a.t().contiguous(),
    lambda a: a.t().contiguous() * 2 + 1, lambda a: a[:, 1:].t().contiguous() * 2,
    lambda a: a.reshape(3, 100, 300).transpose(1, 2).contiguous().relu()])
def test_results_are_nobody_elses(step: Any) -> None:
    agrees(step, matrix())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("step", [
    lambda a, b: a + b, lambda a, b: a * 2.0, lambda a, b: a > b, lambda a, b: (a * b).relu(),
    lambda a, b: a.exp(), lambda a, b: 1.5 - a, lambda a, b: a + 1])
def test_half_types(step: Any, dtype: Any) -> None:
    agrees(step, matrix().to(dtype), matrix(2).to(dtype))


@pytest.mark.parametrize("at", [0, 77, SIDE * SIDE - 1])
@pytest.mark.parametrize("wrong", [-1, SIDE])
def test_one_index_out_of_range_is_found(at: int, wrong: int) -> None:
    step = torch.compile(lambda a, i: a.gather(1, i))
    a, right = matrix(), places()
    bad = right.clone()
    bad.view(-1)[at] = wrong
    for _ in range(3):
        assert torch.equal(step(a, right), a.gather(1, right))
        with pytest.raises(RuntimeError, match=f"index {wrong} is out of bounds"):
            step(a, bad)


@pytest.mark.parametrize("name", ["scatter", "scatter_add", "gather"])
def test_nothing_is_changed_where_an_index_is_out_of_range(name: str) -> None:
    total = torch.zeros(SIDE, SIDE)

    @torch.compile
    def step(a: Any, i: Any) -> Any:
        total.add_(1)
        out = a.gather(1, i) if name == "gather" else getattr(a, name)(1, i, total)
        total.mul_(2)
        return out

    a, right = matrix(), places()
    bad = right.clone()
    bad[3, 4] = SIDE
    for _ in range(3):
        step(a, right)
    before = total.clone()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=f"index {SIDE} is out of bounds"):
            step(a, bad)
        assert torch.equal(total, before)


def test_a_result_and_its_source_are_not_one_array() -> None:
    def step(a: Any, i: Any) -> Any:
        found = a.gather(1, i)
        return found, found.view(-1), found

    compiled, i = torch.compile(step), places()
    a = matrix()
    kept = [compiled(a + n, i) for n in range(4)]
    for n, (x, y, z) in enumerate(kept):
        assert torch.equal(x, (a + n).gather(1, i)) and torch.equal(x, z)
        assert torch.equal(y, x.view(-1))


def test_gradients_that_are_one_number_everywhere() -> None:
    def step(a: Any, i: Any) -> Any:
        a.grad = None
        (a.gather(1, i).sum() + a.cumsum(1).sum() + a[i[0]].sum()).backward()
        return a.grad

    agrees(step, matrix().requires_grad_(), places())


def test_values_are_written_where_they_are_read() -> None:
    @torch.compile
    def swap(a: Any, b: Any) -> None:
        kept = a.clone()
        a.copy_(b)
        b.copy_(kept)

    @torch.compile
    def move(a: Any, b: Any) -> None:
        a.copy_(b)

    a, b = matrix(), matrix(2)
    first, second = a.clone(), b.clone()
    for _ in range(4):
        swap(a, b)
    assert torch.equal(a, first) and torch.equal(b, second)
    for _ in range(3):
        move(a, b)
    assert torch.equal(a, second) and torch.equal(b, second) and a.data_ptr() != b.data_ptr()


@pytest.mark.parametrize("step", [
    lambda a, b: a + b.t(), lambda a, b: (a.t() * b).t() - 1, lambda a, b: a.t() < b[:1],
    lambda a, b: a.t().exp() + b.t(), lambda a, b: a[:, 1:].t() * b[1:]])
def test_transposed_operands(step: Any) -> None:
    a, b = matrix(), matrix(2)
    compiled, want = torch.compile(step), step(a, b)
    for _ in range(4):
        found = compiled(a, b)
        torch.testing.assert_close(found, want)
    assert torch.equal(a, matrix()) and torch.equal(b, matrix(2))


@pytest.mark.skipif(not large.available(), reason="no generated kernels here")
def test_what_no_other_kernel_takes_up_is_made_once() -> None:
    step = torch.compile(lambda a: a.t().contiguous() * 2 + 1)
    a = torch.randn(800, 800)
    for _ in range(3):
        assert torch.equal(step(a), a.t() * 2 + 1)
    names = [n.name for n in unit_of(step).programs[0].executor.graph.nodes]
    assert names.count("mul") == 1


def test_parts_are_written_in_place() -> None:
    @torch.compile
    def write(a: Any, b: Any) -> None:
        a[:, 3:].copy_(b[:, 3:])
        a[1:] = a[:-1] * 2

    a, b = matrix(), matrix(2)
    want = a.clone()
    for _ in range(4):
        write(a, b)
        want[:, 3:] = b[:, 3:]
        want[1:] = want[:-1] * 2
    torch.testing.assert_close(a, want)


@pytest.mark.parametrize("columns", [1024, 1000, 40])
def test_rows_of_results_that_go_past_the_caches(columns: int) -> None:
    torch.manual_seed(0)
    x = torch.randn((1 << 22) // columns + 1, columns)
    w = torch.randn(columns)

    def step(x: torch.Tensor) -> tuple:
        p = x.softmax(1)
        y = torch.nn.functional.layer_norm(p * w, (columns,))
        return p, y, (y * x).sum(1)

    compiled = torch.compile(step)
    for _ in range(3):
        for found, want in zip(compiled(x), step(x), strict=True):
            torch.testing.assert_close(found, want, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dims", [(0, 2, 3), (0, 3), (1, 3), (-1, 0), (0, 2), (1, 2, 3)])
@pytest.mark.parametrize("name", ["sum", "mean", "amax", "amin"])
def test_reductions_over_axes_apart(name: str, dims: tuple[int, ...]) -> None:
    def step(a: Any) -> tuple[Any, Any]:
        made = a * 2 + 1
        return getattr(made, name)(dims), getattr(made, name)(dims, keepdim=True)

    torch.manual_seed(0)
    a = torch.randn(12, 10, 24, 15)
    compiled, wants = torch.compile(step), step(a)
    for _ in range(3):
        for found, want in zip(compiled(a), wants):
            assert found.shape == want.shape and found.stride() == want.stride()
            torch.testing.assert_close(found, want)


@pytest.mark.skipif(not large.available(), reason="generated kernels are off")
def test_sums_over_axes_apart_are_made_with_what_they_add() -> None:
    compiled = torch.compile(lambda a: (a * 2).sum((0, 2, 3)))
    a = torch.randn(12, 10, 24, 15)
    for _ in range(3):
        compiled(a)
    assert "[mul sum]" in str(torch.compiler.explain(compiled))


@pytest.mark.skipif(not large.available(), reason="generated kernels are off")
@pytest.mark.parametrize("shape", [(1, 10, 1, 1), (10, 1, 1), (12, 1, 1, 1), (1, 10, 24, 1)])
def test_one_number_for_many_items_is_read_by_the_kernel_that_needs_it(shape: tuple) -> None:
    torch.manual_seed(0)
    a, scale = torch.randn(12, 10, 24, 16), torch.randn(shape)
    compiled = torch.compile(lambda a, scale: ((a * scale) + 1).relu())
    agrees(lambda a, scale: ((a * scale) + 1).relu(), a, scale)
    for _ in range(3):
        compiled(a, scale)
    assert "[mul add relu]" in str(torch.compiler.explain(compiled))


@pytest.mark.skipif(not large.available(), reason="generated kernels are off")
def test_normalised_images_are_made_by_few_kernels() -> None:
    def step(x: Any) -> Any:
        return torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True).relu()

    torch.manual_seed(0)
    weight, bias, x = torch.randn(10), torch.randn(10), torch.randn(12, 10, 24, 16)
    compiled = torch.compile(step)
    for _ in range(3):
        torch.testing.assert_close(compiled(x), step(x))
    told = str(torch.compiler.explain(compiled)).split("runs, in this order")[1]
    assert not re.search(r"^ *(mul|add|sub|relu):", told, re.MULTILINE)
