"""Products of bfloat16 by kernels: the results of widened operands, and who computes which."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import half_products, large
from flambeau.backends.llvm import pairs

pytestmark = pytest.mark.skipif(not large.available(), reason="needs llvmlite")
BF16 = np.dtype(ml_dtypes.bfloat16)


@pytest.fixture
def by_kernels(monkeypatch: pytest.MonkeyPatch) -> list:
    """All products that may be are the kernels'; returns those that were planned."""
    planned = []

    def known(layout: object) -> str:
        planned.append(layout)
        return str(pairs.ways()[-1])

    monkeypatch.setattr(half_products, "known_way", known)
    monkeypatch.setattr(half_products, "_plans", {})
    return planned


def values(*shape: int) -> torch.Tensor:
    return torch.randn(*shape).to(torch.bfloat16)


CALLS = {
    "mm": lambda: (torch.mm, values(230, 190), values(190, 220)),
    "by a transpose": lambda: (lambda a, b: a @ b.t(), values(230, 190), values(220, 190)),
    "of a transpose": lambda: (lambda a, b: a.t() @ b, values(190, 230), values(190, 220)),
    "bmm": lambda: (torch.bmm, values(6, 70, 90), values(6, 90, 80)),
    "a stack and a matrix": lambda: (torch.matmul, values(3, 60, 190), values(190, 220)),
    "linear": lambda: (torch.nn.functional.linear, values(3, 60, 190), values(220, 190)),
    "linear with bias": lambda: (torch.nn.functional.linear, values(230, 190), values(220, 190),
                                 values(220)),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])
def test_values_and_gradients(name: str, compile: bool, by_kernels: list) -> None:
    torch.manual_seed(0)
    function, *inputs = CALLS[name]()

    def step(*inputs: torch.Tensor) -> tuple:
        leaves = [x.detach().requires_grad_() for x in inputs]
        out = function(*leaves)
        return out.detach(), *torch.autograd.grad(out.square().sum(), leaves)

    found = (torch.compile(step) if compile else step)(*inputs)
    assert by_kernels
    want = step(*[x.double() for x in inputs])
    for f, w in zip(found, want, strict=True):
        assert f.dtype is torch.bfloat16
        # the gradient of a rounded result, which was squared, is rounded three times
        torch.testing.assert_close(f.double(), w, rtol=2e-2, atol=2e-2 * w.abs().max().item())


@pytest.mark.parametrize("shapes", [((4, 3000), (3000, 300)), ((20, 10), (10, 20)),
                                    ((2, 300, 200), (200, 200)), ((2, 3, 4), (3,))])
def test_products_that_are_not_theirs(shapes: tuple, by_kernels: list) -> None:
    a, b = (np.ones(shape, BF16) for shape in shapes)
    small = a.ndim < 2 or b.ndim < 2 or a[..., 0].size < 8 or a.size * b.shape[-1] < 1 << 20
    assert (half_products.matmul(a, b) is None) is small
    assert half_products.matmul(a.astype("f4"), b.astype("f4")) is None
    assert half_products.matmul(a, b.astype("f4")) is None


def test_ways_are_chosen_after_some_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list = []

    def choose(question: str, layout: object, ways: dict, first: str) -> str:
        asked.append((question, tuple(ways), first))
        return str(pairs.ways()[-1])

    monkeypatch.setattr(half_products, "known_way", lambda layout: None)
    monkeypatch.setattr(half_products.product_choice, "try_out", choose)
    monkeypatch.setattr(half_products, "_plans", {})
    monkeypatch.setattr(half_products, "_asked", {})
    a, b = np.ones((130, 90), BF16), np.ones((90, 120), BF16)
    calls = [half_products.matmul(a, b) for _ in range(half_products.PATIENCE + 2)]
    assert [found is None for found in calls] == [True] * 7 + [False] * 3
    assert len(asked) == 1 and asked[0][1] == ("widened", *pairs.ways())
    assert (calls[-1] == 90).all()
