"""Nodes of compiled steps that are NumPy's loops, or products: eager's values, none in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import flambeau as torch
import flambeau.nn.functional as F
from tests.compiler.test_index_nodes import agrees, is_native, with_grads

CALLS = 20
SHAPES = [(8,), (3, 7), (4, 3, 5)]


def numbers(rng: Any, shape: tuple[int, ...], held: Any = np.float32) -> torch.Tensor:
    held = np.dtype(held)
    if held.kind in "iu":
        return torch.from_numpy(rng.integers(0 if held.kind == "u" else -9, 10, shape).astype(held))
    if held.kind == "b":
        return torch.from_numpy(rng.random(shape) < 0.5)
    return torch.from_numpy(rng.standard_normal(shape)).to(torch.from_numpy(
        np.zeros(0, held)).dtype if held.kind == "f" else torch.bfloat16)


def near(found: Any, want: Any, rtol: float) -> None:
    """As close as sums in another order are."""
    if isinstance(want, (tuple, list)):
        for a, b in zip(found, want, strict=True):
            near(a, b, rtol)
        return
    assert found.dtype is want.dtype and found.shape == want.shape
    wide = [t.detach().double().numpy() for t in (found, want)]
    np.testing.assert_allclose(*wide, rtol=rtol, atol=rtol)


def comes_near(step: Callable, make: Callable[[Any], list], native: bool = True,
               rtol: float = 2e-5) -> None:
    compiled, rng = torch.compile(step), np.random.default_rng(0)
    for _ in range(CALLS):
        given = make(rng)
        near(compiled(*given), step(*given), rtol)
    assert not native or is_native(compiled)


SPREADS: dict[str, Callable] = {
    "var": lambda x, d, k: x.var(d, keepdim=k), "std": lambda x, d, k: x.std(d, keepdim=k),
    "var_mean": lambda x, d, k: tuple(torch.var_mean(x, d, keepdim=k)),
    "std_mean": lambda x, d, k: tuple(torch.std_mean(x, d, keepdim=k)),
    "biased": lambda x, d, k: x.var(d, correction=0, keepdim=k),
    "corrected": lambda x, d, k: x.std(d, correction=2, keepdim=k),
    "norm": lambda x, d, k: x.norm(dim=d, keepdim=k),
    "norm 1": lambda x, d, k: x.norm(1, dim=d, keepdim=k),
    "logsumexp": lambda x, d, k: x.logsumexp(d, keepdim=k)}


@pytest.mark.parametrize("held", [np.float32, np.float64])
@pytest.mark.parametrize("name", SPREADS)
@pytest.mark.parametrize("shape", SHAPES)
def test_spreads_are_native(name: str, shape: tuple[int, ...], held: Any) -> None:
    for dim in (0, -1, tuple(range(len(shape)))):
        for keepdim in (False, True):
            (comes_near if name == "norm" else agrees)(
                lambda x, d=dim, k=keepdim: SPREADS[name](x, d, k),
                lambda r: [numbers(r, shape, held)])


@pytest.mark.parametrize("name", [n for n in SPREADS if "mean" not in n])
def test_spreads_go_back(name: str) -> None:
    for dim in (0, 1):
        comes_near(with_grads(lambda x, d=dim: SPREADS[name](x, d, False)),
                   lambda r: [numbers(r, (5, 6))], native=False)


@pytest.mark.parametrize("name", SPREADS)
def test_spreads_of_what_lies_otherwise(name: str) -> None:
    agrees(lambda x: SPREADS[name](x, 1, False), lambda r: [numbers(r, (6, 5)).t()], native=False)
    agrees(lambda x: SPREADS[name](x[:, ::2], 0, False), lambda r: [numbers(r, (6, 8))],
           native=False)


@pytest.mark.parametrize("held", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("name", SPREADS)
def test_spreads_of_half_types(name: str, held: Any) -> None:
    comes_near(lambda x: SPREADS[name](x, 1, False), lambda r: [numbers(r, (6, 5), held)],
               native=False)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3), (3, 0), (1, 1)])
@pytest.mark.parametrize("name", ["var", "std", "biased", "var_mean"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_spreads_of_few(name: str, shape: tuple[int, ...]) -> None:
    dims = tuple(range(len(shape)))
    agrees(lambda x: SPREADS[name](x, dims, False), lambda r: [numbers(r, shape)], native=False)


@pytest.mark.parametrize("held", [np.float32, np.float64, np.int64, np.int32, np.bool_])
@pytest.mark.parametrize("shape", SHAPES)
def test_products_of_all_are_native(shape: tuple[int, ...], held: Any) -> None:
    for dim in (0, -1):
        agrees(lambda x, d=dim: x.prod(d), lambda r: [numbers(r, shape, held)])
        agrees(lambda x, d=dim: x.prod(d, keepdim=True), lambda r: [numbers(r, shape, held)])
    agrees(lambda x: x.prod(), lambda r: [numbers(r, shape, held)])


def test_products_of_all_go_back() -> None:
    comes_near(with_grads(lambda x: x.prod(1)), lambda r: [numbers(r, (4, 3))], native=False)
    comes_near(with_grads(lambda x: x.prod()), lambda r: [numbers(r, (4,))], native=False)


DIVISIONS: dict[str, Callable] = {
    "//": lambda x, y: x // y, "%": lambda x, y: x % y, "fmod": torch.fmod,
    "floor": lambda x, y: torch.div(x, y, rounding_mode="floor"),
    "trunc": lambda x, y: torch.div(x, y, rounding_mode="trunc")}
WHOLE = [np.int64, np.int32, np.int16, np.int8, np.uint8]


def divisors(rng: Any, shape: tuple[int, ...], held: Any) -> torch.Tensor:
    found = numbers(rng, shape, held)
    return torch.where(found == 0, torch.ones_like(found), found)


@pytest.mark.parametrize("held", WHOLE)
@pytest.mark.parametrize("name", DIVISIONS)
def test_whole_divisions(name: str, held: Any) -> None:
    native = held in (np.int64, np.int32)
    agrees(DIVISIONS[name],
           lambda r: [numbers(r, (5, 6), held), divisors(r, (5, 6), held)], native=native)
    agrees(DIVISIONS[name],
           lambda r: [numbers(r, (5, 6), held), divisors(r, (6,), held)], native=native)
    agrees(DIVISIONS[name],
           lambda r: [numbers(r, (5, 6), held).t(), divisors(r, (), held)], native=False)
    for number in (3, -2) if np.dtype(held).kind == "i" else (3,):
        agrees(lambda x, n=number: DIVISIONS[name](x, n),
               lambda r: [numbers(r, (5, 6), held)], native=native)


@pytest.mark.parametrize("held", [np.float32, np.float64])
@pytest.mark.parametrize("name", DIVISIONS)
def test_divisions_of_floats(name: str, held: Any) -> None:
    def make(rng: Any) -> list:
        x, y = numbers(rng, (5, 6), held), numbers(rng, (5, 6), held)
        x[0, 0], y[0, 1], x[0, 2], y[0, 3] = -0.0, 0.0, float("inf"), float("nan")
        return [x, y]

    agrees(DIVISIONS[name], make)
    agrees(lambda x: DIVISIONS[name](x, 0.5), lambda r: [numbers(r, (5, 6), held)])


def test_extreme_quotients() -> None:
    low = np.iinfo(np.int64).min
    pair = [torch.tensor([low, low, 7, -7]), torch.tensor([-1, 2, -2, 2])]
    for name in ("//", "%"):
        agrees(DIVISIONS[name], lambda r: pair)


@pytest.mark.parametrize("name", DIVISIONS)
def test_dividing_by_zero_is_refused(name: str) -> None:
    state = torch.zeros(4, dtype=torch.int64)

    @torch.compile
    def step(x: Any, y: Any) -> Any:
        state.add_(1)
        return DIVISIONS[name](x, y)

    good = torch.tensor([5, -5, 7, 8]), torch.tensor([1, 2, -3, 4])
    for _ in range(3):
        step(*good)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        step(good[0], torch.tensor([1, 0, 1, 1]))
    assert state.tolist() == [3] * 4
    assert torch.equal(step(*good), DIVISIONS[name](*good))


BITS: dict[str, Callable] = {
    "and": lambda x, y: x & y, "or": lambda x, y: x | y, "xor": lambda x, y: x ^ y,
    "not": lambda x, y: ~x, "left": lambda x, y: x << 2, "right": lambda x, y: x >> 1,
    "sign": lambda x, y: x.sign(), "gcd": torch.gcd, "square": lambda x, y: x ** 2}


@pytest.mark.parametrize("held", WHOLE)
@pytest.mark.parametrize("name", BITS)
def test_bits(name: str, held: Any) -> None:
    agrees(BITS[name], lambda r: [numbers(r, (5, 6), held), numbers(r, (5, 6), held)],
           native=held in (np.int64, np.int32) and name != "square")


CONTRACTIONS = {
    "ij,jk->ik": [(4, 5), (5, 6)], "ij,kj->ik": [(4, 5), (6, 5)], "ji,jk->ik": [(5, 4), (5, 6)],
    "ij,ij->i": [(4, 5), (4, 5)], "ij,ij->": [(4, 5), (4, 5)], "ij,j->i": [(4, 5), (5,)],
    "j,ji->i": [(5,), (5, 4)], "i,i->": [(5,), (5,)], "i,j->ij": [(4,), (5,)],
    "ij,ij->ij": [(4, 5), (4, 5)], "ij,ij->ji": [(4, 5), (4, 5)],
    "bij,bjk->bik": [(2, 4, 5), (2, 5, 3)], "bij,bkj->bik": [(2, 4, 5), (2, 3, 5)],
    "bhid,bhjd->bhij": [(2, 3, 4, 5), (2, 3, 6, 5)], "ibj,bjk->kib": [(4, 2, 5), (2, 5, 3)],
    "ijk,jkl->il": [(2, 3, 4), (3, 4, 5)], "kji,jkl->il": [(4, 3, 2), (3, 4, 5)],
    "ij,k->i": [(4, 5), (3,)], "ij,jk,kl->il": [(4, 5), (5, 6), (6, 3)],
    "bn,anm,bm->ba": [(4, 5), (3, 5, 6), (4, 6)], "i,ij,j->": [(4,), (4, 5), (5,)],
    "ii,ij->ij": [(4, 4), (4, 5)], "...ij,...jk->...ik": [(2, 4, 5), (5, 3)],
    "ij,jk->ik ": [(1, 5), (5, 1)]}


@pytest.mark.parametrize("held", [np.float32, np.float64])
@pytest.mark.parametrize("text", CONTRACTIONS)
def test_einsum_is_native(text: str, held: Any) -> None:
    def make(rng: Any) -> list:
        return [numbers(rng, shape, held) for shape in CONTRACTIONS[text]]

    comes_near(lambda *tensors: torch.einsum(text, *tensors), make)
    comes_near(with_grads(lambda *tensors: torch.einsum(text, *tensors)), make, native=False)


@pytest.mark.parametrize("held", [np.float16, ml_dtypes.bfloat16, np.int64])
@pytest.mark.parametrize("text", ["ij,jk->ik", "ij,ij->i", "i,j->ij", "bn,anm,bm->ba"])
def test_einsum_of_other_dtypes(text: str, held: Any) -> None:
    comes_near(lambda *tensors: torch.einsum(text, *tensors),
               lambda r: [numbers(r, shape, held) for shape in CONTRACTIONS[text]], native=False,
               rtol=1e-2)


def test_einsum_of_what_lies_otherwise_or_is_empty() -> None:
    comes_near(lambda x, y: torch.einsum("ij,jk->ik", x.t(), y[:, ::2]),
               lambda r: [numbers(r, (5, 4)), numbers(r, (5, 6))])
    comes_near(lambda x, y: torch.einsum("ij,jk->ik", x, y),
               lambda r: [numbers(r, (0, 4)), numbers(r, (4, 6))], native=False)
    comes_near(lambda x, y: torch.einsum("ij,jk->ik", x, y),
               lambda r: [numbers(r, (5, 0)), numbers(r, (0, 6))], native=False)


PRODUCTS: dict[str, tuple[Callable, list[tuple[int, ...]]]] = {
    "mv": (torch.mv, [(5, 6), (6,)]), "matmul vector": (torch.matmul, [(5, 6), (6,)]),
    "vector matmul": (torch.matmul, [(5,), (5, 6)]), "dot": (torch.dot, [(6,), (6,)]),
    "vdot": (torch.vdot, [(6,), (6,)]), "outer": (torch.outer, [(5,), (6,)]),
    "inner": (torch.inner, [(5, 6), (4, 6)]), "addmv": (torch.addmv, [(5,), (5, 6), (6,)]),
    "addr": (torch.addr, [(5, 6), (5,), (6,)]),
    "baddbmm": (torch.baddbmm, [(2, 4, 5), (2, 4, 3), (2, 3, 5)]),
    "addbmm": (torch.addbmm, [(4, 5), (2, 4, 3), (2, 3, 5)]),
    "bilinear": (F.bilinear, [(4, 5), (4, 6), (3, 5, 6), (3,)]),
    "kron": (torch.kron, [(2, 3), (4, 2)]), "tensordot": (torch.tensordot, [(3, 4, 5), (4, 5, 2)])}


@pytest.mark.parametrize("held", [np.float32, np.float64])
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_native(name: str, held: Any) -> None:
    call, shapes = PRODUCTS[name]

    def make(rng: Any) -> list:
        return [numbers(rng, shape, held) for shape in shapes]

    comes_near(call, make)
    comes_near(with_grads(call), make, native=False)


@pytest.mark.parametrize("beta, alpha", [(0, 1), (2, -1), (1, 0.5)])
def test_scaled_sums_of_products(beta: Any, alpha: Any) -> None:
    for name in ("baddbmm", "addbmm"):
        call, shapes = PRODUCTS[name]
        comes_near(lambda *x, call=call: call(*x, beta=beta, alpha=alpha),
                   lambda r, shapes=shapes: [numbers(r, shape) for shape in shapes])


@pytest.mark.parametrize("held", [np.float32, np.float64, np.int64, np.int32])
@pytest.mark.parametrize("shape", [(7,), (6, 5), (3, 4, 9), (2, 70)])
def test_medians_are_native(shape: tuple[int, ...], held: Any) -> None:
    def make(rng: Any) -> list:
        x = numbers(rng, shape, held)
        if x.is_floating_point() and rng.random() < 0.5:
            x[torch.from_numpy(rng.random(shape) < 0.2)] = float("nan")
        return [x]

    for dim in range(len(shape)):
        for keepdim in (False, True):
            agrees(lambda x, d=dim, k=keepdim: tuple(x.median(d, keepdim=k)), make)
    agrees(lambda x: x.median(), make)


def test_medians_go_back() -> None:
    agrees(with_grads(lambda x: x.median(0)[0]), lambda r: [numbers(r, (5, 6))], native=False)
    agrees(with_grads(lambda x: x.median()), lambda r: [numbers(r, (5, 6))], native=False)


def test_medians_of_what_lies_otherwise() -> None:
    agrees(lambda x: tuple(x.median(0)), lambda r: [numbers(r, (6, 5)).t()])
    agrees(lambda x: tuple(x.median(1)), lambda r: [numbers(r, (6, 5)).t()])
    agrees(lambda x: tuple(x.median()[None]), lambda r: [numbers(r, ())], native=False)


@pytest.mark.parametrize("source", [np.float32, np.float64])
@pytest.mark.parametrize("to", [torch.int32, torch.int64])
def test_whole_parts(source: Any, to: Any) -> None:
    agrees(lambda x: x.to(to), lambda r: [(numbers(r, (5, 6)) * 1e3).to(
        torch.float64 if source == np.float64 else torch.float32)])


WINDOWS: dict[str, Callable] = {
    "max_pool1d": lambda x: F.max_pool1d(x[0], 2), "max_pool2d": lambda x: F.max_pool2d(x, 2),
    "avg_pool1d": lambda x: F.avg_pool1d(x[0], 2), "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "bilinear": lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    "reflect": lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"),
    "replicate": lambda x: F.pad(x, (1, 1, 1, 1), mode="replicate"),
    "shuffle": lambda x: F.pixel_shuffle(x, 2), "unshuffle": lambda x: F.pixel_unshuffle(x, 2)}


@pytest.mark.parametrize("held", [np.float32, np.float64])
@pytest.mark.parametrize("name", WINDOWS)
def test_small_windows_are_native(name: str, held: Any) -> None:
    agrees(WINDOWS[name], lambda r: [numbers(r, (2, 4, 6, 6), held)])
    agrees(with_grads(WINDOWS[name]), lambda r: [numbers(r, (2, 4, 6, 6), held)], native=False)
