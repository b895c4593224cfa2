"""Nodes of compiled steps along axes, and those that move items: eager's bits, none in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
import flambeau.nn.functional as F
from tests.compiler.test_index_nodes import agrees, same, with_grads

HELD = [np.float32, np.float64, np.int64, np.int32]


def values(rng: Any, shape: tuple[int, ...], held: Any = np.float32, nan: bool = False) -> Any:
    """Numbers of which several are equal, and some of which may be NaN or -0."""
    a = rng.integers(-4, 5, shape).astype(held)
    if np.dtype(held).kind == "f":
        a = np.where(rng.random(shape) < 0.5, a, rng.standard_normal(shape)).astype(held)
        a[a == 0] = rng.choice([0.0, -0.0])
        if nan:
            a[rng.random(shape) < 0.1] = np.nan
    return torch.from_numpy(a)


EXTREMES = {
    "argmax": lambda x, d: x.argmax(d), "argmin": lambda x, d: x.argmin(d, keepdim=True),
    "max": lambda x, d: tuple(x.max(d)), "min": lambda x, d: tuple(x.min(d, keepdim=True)),
    "amax": lambda x, d: x.amax(d), "amin": lambda x, d: x.amin(d, keepdim=True),
    "aminmax": lambda x, d: tuple(x.aminmax(dim=d)), "sort": lambda x, d: tuple(x.sort(d)),
    "sort down": lambda x, d: tuple(x.sort(d, descending=True)),
    "topk": lambda x, d: tuple(x.topk(2, d)),
    "least": lambda x, d: tuple(x.topk(3, d, largest=False)),
    "argsort": lambda x, d: x.argsort(d), "cumsum": lambda x, d: x.cumsum(d),
    "cumprod": lambda x, d: x.cumprod(d), "cummax": lambda x, d: tuple(x.cummax(d)),
    "cummin": lambda x, d: tuple(x.cummin(d))}


@pytest.mark.parametrize("shape", [(6, 5), (3, 7, 4), (9,), (70, 70)])
@pytest.mark.parametrize("name", EXTREMES)
def test_along_axes(name: str, shape: tuple[int, ...]) -> None:
    for dim in range(len(shape)):
        agrees(lambda x, dim=dim: EXTREMES[name](x, dim), lambda r: [values(r, shape, nan=True)])


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("name", EXTREMES)
def test_along_axes_of_dtypes(name: str, held: Any) -> None:
    agrees(lambda x: EXTREMES[name](x, 1), lambda r: [values(r, (6, 5), held)])
    agrees(lambda x: EXTREMES[name](x, 0), lambda r: [values(r, (6, 5), held).t()])


@pytest.mark.parametrize("name", [
    n for n in EXTREMES if n not in ("argmax", "argmin", "argsort", "cumprod")])
def test_along_axes_goes_back(name: str) -> None:
    def first(x: Any) -> Any:
        found = EXTREMES[name](x, 1)
        return found[0] if isinstance(found, tuple) else found

    agrees(with_grads(first), lambda r: [values(r, (6, 5))])


WHOLE = {
    "max": lambda x: x.max(), "min": lambda x: x.min(), "argmax": lambda x: x.argmax(),
    "argmin": lambda x: x.argmin(), "any": lambda x: (x > 3).any(), "all": lambda x: (x > -4).all(),
    "any of rows": lambda x: (x > 2).any(1), "all of columns": lambda x: (x < 3).all(0),
    "any of numbers": lambda x: x.any(0), "count": lambda x: torch.count_nonzero(x),
    "count of rows": lambda x: torch.count_nonzero(x, 1), "aminmax": lambda x: tuple(x.aminmax()),
    "mask": lambda x: (x > 0).sum(), "mask of rows": lambda x: (x > 0).sum(1),
    "mask of columns": lambda x: (x > 0).sum(0), "kept": lambda x: (x > 0).sum(1, keepdim=True)}


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("name", WHOLE)
def test_whole_reductions(name: str, held: Any) -> None:
    agrees(WHOLE[name], lambda r: [values(r, (6, 5), held)])
    agrees(WHOLE[name], lambda r: [values(r, (6, 5), held).t()])
    agrees(WHOLE[name], lambda r: [values(r, (80, 90), held)])


@pytest.mark.parametrize("held", [np.int64, np.int32, np.bool_])
@pytest.mark.parametrize("dims", [None, 0, 1, 2, (0, 2), (0, 1), (1, 2)])
def test_sums_of_integers(held: Any, dims: Any) -> None:
    agrees(lambda x: x.sum() if dims is None else x.sum(dims),
           lambda r: [torch.from_numpy((r.integers(-3, 3, (4, 5, 6))).astype(held))])


@pytest.mark.parametrize("held", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(6, 5), (3, 7, 4), (100, 33)])
def test_means_over_other_dimensions_than_the_last(shape: tuple[int, ...], held: Any) -> None:
    for dim in range(len(shape) - 1):
        agrees(lambda x, dim=dim: x.mean(dim), lambda r: [values(r, shape, held)])
        agrees(lambda x, dim=dim: (x * 2).mean(dim, keepdim=True),
               lambda r: [values(r, shape, held)])


MOVES = {
    "flip": lambda x: x.flip(0), "flip both": lambda x: x.flip(0, 1) * 2,
    "flip of a flip": lambda x: x.flip(0)[1:].flip(1), "fliplr": lambda x: torch.fliplr(x) + x,
    "rot90": lambda x: torch.rot90(x) * 1, "rot90 twice": lambda x: torch.rot90(x, 2),
    "rot90 back": lambda x: torch.rot90(x * 2, -1).contiguous(),
    "roll": lambda x: x.roll(2, 0), "roll back": lambda x: x.roll(-3, 1),
    "roll both": lambda x: x.roll((1, 2), (0, 1)), "roll flat": lambda x: x.roll(7),
    "roll none": lambda x: x.roll(0, 0), "tril": lambda x: x.tril(), "triu": lambda x: x.triu(1),
    "tril below": lambda x: x.tril(-1), "triu below": lambda x: x.triu(-2),
    "repeat": lambda x: x.repeat(2, 3), "repeat more": lambda x: x.repeat(2, 1, 2),
    "tile": lambda x: x[0].tile(3), "rows repeated": lambda x: x.repeat_interleave(2, 0),
    "pad": lambda x: F.pad(x, (1, 2)), "pad all": lambda x: F.pad(x, (1, 0, 2, 1), value=1.5),
    "cut": lambda x: F.pad(x, (-1, 2)), "cut all": lambda x: F.pad(x, (-1, -1)),
    "diag": lambda x: torch.diag(x[0]), "diag above": lambda x: torch.diag(x[0], 2),
    "diag_embed": lambda x: torch.diag_embed(x), "diagonal": lambda x: x.diagonal(1) * 2,
    "one column": lambda x: x[:, 1] * 2, "short rows": lambda x: x[:, 1:3] - x[:, :2],
    "turned": lambda x: x.t().contiguous(), "turned flat": lambda x: x.t().reshape(-1),
    "masked": lambda x: x.masked_fill(x > 0, -1.0), "where": lambda x: torch.where(x > 0, x, 2.0)}


@pytest.mark.parametrize("name", MOVES)
def test_moves(name: str) -> None:
    agrees(MOVES[name], lambda r: [values(r, (6, 5), nan=True)])
    agrees(MOVES[name], lambda r: [values(r, (5, 6)).t()])
    if "rot90 back" != name:
        agrees(with_grads(MOVES[name]), lambda r: [values(r, (6, 5))])


@pytest.mark.parametrize("held", [np.float64, np.int64, np.int32, np.bool_])
@pytest.mark.parametrize("name", ["flip", "roll", "triu", "repeat", "pad", "diag", "turned"])
def test_moves_of_dtypes(name: str, held: Any) -> None:
    agrees(MOVES[name], lambda r: [torch.from_numpy(r.integers(0, 2, (6, 5)).astype(held))])


def test_masks_are_counted_as_they_go() -> None:
    agrees(lambda x: (x > 0).cumsum(1), lambda r: [values(r, (6, 5))])


def test_accuracy() -> None:
    def step(logits: Any, y: Any) -> Any:
        right = logits.argmax(1) == y
        few = logits.topk(2, 1)[1] == y.unsqueeze(1)
        return right.sum(), few.any(1).sum(), F.one_hot(logits.argmax(1), 5).sum(0)

    agrees(step, lambda r: [values(r, (8, 5)), torch.from_numpy(r.integers(0, 5, 8))])


def test_a_beam_goes_on() -> None:
    def step(scores: Any, beams: Any, tokens: Any) -> Any:
        total = (beams.unsqueeze(1) + scores).reshape(-1)
        best, at = total.topk(3)
        rows, words = torch.where(at < 5, 0, torch.where(at < 10, 1, 2)), at - 5
        return best, torch.cat([tokens[rows], words.unsqueeze(1)], 1)

    agrees(step, lambda r: [values(r, (3, 5)), values(r, (3,)),
                            torch.from_numpy(r.integers(0, 5, (3, 4)))])


def test_a_buffer_of_experience_is_filled_and_sampled() -> None:
    def step(states: Any, rewards: Any, at: Any, state: Any, reward: Any, picked: Any) -> Any:
        states[at] = state
        rewards[at] = reward
        best = rewards[picked].max(0)
        return states[picked], best.values, best.indices

    agrees(step, lambda r: [
        values(r, (10, 4)), values(r, (10,)), torch.from_numpy(r.integers(0, 10, 2)),
        values(r, (2, 4)), values(r, (2,)), torch.from_numpy(r.integers(0, 10, 6))])


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_axis(data: Any) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    name = data.draw(st.sampled_from([n for n in EXTREMES if n not in ("topk", "least")]))
    dim = data.draw(st.integers(0, len(shape) - 1))
    order = data.draw(st.permutations(range(len(shape))))
    function: Callable = EXTREMES[name]

    def step(x: Any) -> Any:
        return function(x.permute(order), dim)

    x = values(np.random.default_rng(data.draw(st.integers(0, 99))), shape, nan=True)
    compiled = torch.compile(step)
    for _ in range(3):
        same(compiled(x), step(x))
