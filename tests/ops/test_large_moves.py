"""Large copies with elements moved, repeated or found by indices, beside NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch

SHAPES = [(300, 401), (7, 100, 70), (100_003,), (3, 20, 30, 40), (60_000, 2), (5000, 9)]
DTYPES = ["float32", "float64", "int64", "int16", "bool", "bfloat16"]


def filled(shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> Any:
    a = np.random.default_rng(seed).normal(size=shape) * 5
    return torch.tensor(a).to(getattr(torch, dtype))


def same(found: Any, want: np.ndarray) -> None:
    assert tuple(found.shape) == want.shape
    np.testing.assert_array_equal(found.double().numpy(), want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_flips(shape: tuple[int, ...], dtype: str) -> None:
    t = filled(shape, dtype)
    a = t.double().numpy()
    for dims in [(d,) for d in range(len(shape))] + [tuple(range(len(shape)))]:
        found = t.flip(dims)
        assert found.is_contiguous()
        same(found, np.flip(a, dims))


@pytest.mark.parametrize("k", range(-2, 5))
@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) > 1])
def test_quarter_turns(shape: tuple[int, ...], k: int) -> None:
    t = filled(shape)
    for dims in ((0, 1), (len(shape) - 1, 0)):
        found = torch.rot90(t, k, dims)
        same(found, np.rot90(t.double().numpy(), k, dims))
        assert found.is_contiguous() == (k % 2 == 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_repetitions(shape: tuple[int, ...], dtype: str) -> None:
    t = filled(shape, dtype)
    a = t.double().numpy()
    rank = len(shape)
    ones = (1,) * (rank - 1)
    for times in ((2, *ones), (*ones, 3), (2,) * rank, (3, 1, *ones)):
        same(t.repeat(times), np.tile(a, times))
    same(t.mT.repeat((2,) * rank) if rank > 1 else t, np.tile(
        np.swapaxes(a, -1, -2), (2,) * rank) if rank > 1 else a)


def test_repetitions_of_nothing_and_of_one_number() -> None:
    assert torch.zeros(0, 3).repeat(2, 2).shape == (0, 6)
    assert torch.zeros(2, 3).repeat(0, 2).shape == (0, 6)
    assert torch.tensor(3.0).repeat(2, 2).tolist() == [[3.0, 3.0], [3.0, 3.0]]
    assert torch.tensor(3.0).repeat().shape == ()


@pytest.mark.parametrize("order", [(0, 2, 1, 3), (3, 1, 0, 2), (1, 0, 2, 3)])
@pytest.mark.parametrize("shape", [(4, 64, 20, 8), (4, 64, 20, 11), (3, 50, 60, 7)])
def test_short_rows_in_another_order(shape: tuple[int, ...], order: tuple[int, ...]) -> None:
    t = filled(shape)
    same(t.permute(order).contiguous(), t.double().numpy().transpose(order))


@pytest.mark.parametrize(("left", "right"), [
    ((300, 1), (301,)), ((2, 1, 200), (150, 1)), ((1, 40_000), (2, 1)), ((181,), (181, 1))])
def test_small_operands_of_large_results(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    x, y = filled(left), filled(right, seed=1)
    a, b = x.numpy(), y.numpy()
    for found, want in ((x * y, a * b), (x + y, a + b), (x < y, a < b), (y - x, b - a)):
        assert found.is_contiguous()
        same(found, want)
    with pytest.raises(RuntimeError, match="must match the size"):
        torch.ones(300, 200) + torch.ones(200, 300)


@pytest.mark.parametrize("shape", [(300, 200), (90_000,), (40, 50, 60)])
def test_places_along_a_dimension(shape: tuple[int, ...]) -> None:
    t, rng = filled(shape), np.random.default_rng(2)
    a = t.numpy()
    for dim, n in enumerate(shape):
        few = rng.integers(0, n, 777)
        same(t.index_select(dim, torch.tensor(few)), a.take(few, dim))
        index = rng.integers(0, n, shape)
        places = torch.tensor(index)
        same(t.gather(dim, places), np.take_along_axis(a, index, dim))
        at = list(np.indices(shape))
        at[dim] = index
        want = a.copy()
        np.add.at(want, tuple(at), a)
        found = t.scatter_add(dim, places, t).numpy()
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-4)
    same(torch.tensor(a.ravel())[torch.tensor(few)], a.ravel()[few])


@pytest.mark.parametrize("wrong", [-1, 200])
@pytest.mark.parametrize("name", ["gather", "scatter", "scatter_add", "scatter value"])
def test_a_wrong_index_changes_nothing(name: str, wrong: int) -> None:
    t, index = filled((300, 200)), torch.zeros(300, 200, dtype=torch.int64)
    index[299, 199] = wrong
    before = t.clone()
    with pytest.raises(RuntimeError, match=f"index {wrong} is out of bounds for dimension 1"):
        if name == "gather":
            t.gather(1, index)
        elif name == "scatter value":
            t.scatter_(1, index, 3.0)
        else:
            getattr(t, f"{name}_")(1, index, t.clone())
    assert torch.equal(t, before)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_types_beside_float32(dtype: str) -> None:
    x, y = filled((300, 401), dtype), filled((300, 401), dtype, 1)
    to = x.dtype
    for f in (lambda a, b: a + b, lambda a, b: a * 2.5, lambda a, b: torch.relu(a),
              lambda a, b: a.mT * b.mT, lambda a, b: a > b, lambda a, b: a + b[:1]):
        want = f(x.float(), y.float())
        want = want if want.dtype is torch.bool else want.to(to)
        assert torch.equal(f(x, y), want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_items_repeated_side_by_side(shape: tuple[int, ...], dtype: str) -> None:
    t = filled(shape, dtype)
    a = t.double().numpy()
    for dim in (None, *range(len(shape))):
        for times in (1, 2, 9):
            found = t.repeat_interleave(times, dim)
            assert found.is_contiguous()
            same(found, np.repeat(a, times, dim))
    found.zero_()
    same(t, a)
