"""What runs side by side in a compiled step: all parameters' updates, norms, products, copies."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import large
from flambeau.compiler.calls import Call
from tests.compiler.harness import check

nn, F = torch.nn, torch.nn.functional
OPTIMIZERS: dict[str, Callable] = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=0.01),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "AdamW": lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.9),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.01),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.01),
}
pytestmark = pytest.mark.skipif(not large.available(), reason="needs kernels")


def runs(function: Any) -> list[str]:
    """What the programs of a compiled function run, one after another."""
    told = str(torch.compiler.explain(function))
    return re.findall(r"^ +(.*): \d+ bytes", told, re.MULTILINE)


def weighed_step(wrap: Callable, optimizer: str, sizes: list[tuple]) -> tuple[Callable, Callable]:
    """A step whose gradients are exact: the sum of parameters times numbers."""
    params = [torch.randn(s).requires_grad_() for s in sizes]
    weights = [torch.randn(s) for s in sizes]
    made = OPTIMIZERS[optimizer](params)

    @wrap
    def step() -> Any:
        made.zero_grad()
        loss = sum([(p * w).sum() for p, w in zip(params, weights)])
        loss.backward()
        made.step()

    return lambda i: step(), lambda: [*params, *[list(s.values()) for s in made.state.values()]]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_run_updates_all_parameters_with_the_bits_of_eager(optimizer: str) -> None:
    counts = []
    for sizes in ([(40, 30), (7,)], [(40, 30), (7,), (70, 64), (200, 300), (2,), (3, 5, 2)]):
        # NAdam's product of all momenta is rounded to float32 elsewhere.
        wrap = check(lambda w, s=sizes: weighed_step(w, optimizer, s),
                     tolerance=2e-6 if optimizer == "NAdam" else 0)
        found = runs(wrap.made[0])
        assert not [r for r in found if "NumPy" in r]
        updates = [r for r in found if r.startswith(f"{len(sizes)} x [")]
        assert updates, found
        counts.append(len(updates))
    assert counts[0] == counts[1]


def test_all_gradients_are_clipped_in_one_run() -> None:
    def build(wrap: Callable) -> tuple[Callable, Callable]:
        net = nn.Sequential(nn.Linear(30, 200), nn.Tanh(), nn.Linear(200, 40), nn.Tanh(),
                            nn.Linear(40, 3))
        made = torch.optim.SGD(net.parameters(), lr=0.1)
        x, y = torch.randn(16, 30), torch.randn(16, 3)

        @wrap
        def step() -> Any:
            made.zero_grad()
            F.mse_loss(net(x), y).mul(50).backward()
            norm = nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            made.step()
            return norm

        return lambda i: step(), lambda: list(net.parameters())

    found = runs(check(build).made[0])
    assert [r for r in found if "norm" in r or "stack" in r] == ["6 x vector_norm", "stack",
                                                                 "vector_norm"]
    assert [r for r in found if r.startswith("6 x [")] and not [r for r in found if "NumPy" in r]


def test_zeroed_gradients_take_new_ones_in_one_run() -> None:
    def build(wrap: Callable) -> tuple[Callable, Callable]:
        params = [torch.randn(n, requires_grad=True) for n in (5, 70, 900)]
        made = torch.optim.SGD(params, lr=0.1)

        @wrap
        def step() -> Any:
            made.zero_grad(set_to_none=False)
            for p in params:
                (p * p).sum().backward()
            made.step()

        return lambda i: step(), lambda: params

    assert [r for r in runs(check(build).made[0]) if r.startswith("3 x [")]


class Attention(nn.Module):
    """Queries, keys and values as three layers over one input."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
        self.heads = heads

    def forward(self, x: Any) -> Any:
        b, t, c = x.shape
        q, k, v = (f(x).view(b, t, self.heads, c // self.heads).transpose(1, 2)
                   for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(b, t, c))


@pytest.mark.parametrize("width", [24, 160])
def test_products_that_share_an_operand_run_together(width: int) -> None:
    def build(wrap: Callable) -> tuple[Callable, Callable]:
        net = nn.Sequential(Attention(width, 4), nn.ReLU(), Attention(width, 4))
        made = torch.optim.SGD(net.parameters(), lr=0.1)
        x, y = (torch.randn(4, 16, width) for _ in range(2))

        @wrap
        def step() -> Any:
            made.zero_grad()
            loss = F.mse_loss(net(x), y)
            loss.backward()
            made.step()
            return loss

        return lambda i: step(), lambda: list(net.parameters())

    found = runs(check(build).made[0])
    assert found.count("3 x matmul") == 2
    # Where gradients of weights and of the input need the same gradient.
    assert len([r for r in found if re.search(r"\bmm\b", r) and "mm_tn" in r]) >= 3


def test_what_runs_side_by_side_reads_nothing_that_it_writes() -> None:
    def build(wrap: Callable) -> tuple[Callable, Callable]:
        a, b = torch.randn(50, 40), torch.randn(50, 40)

        @wrap
        def step() -> None:
            first, second = a * 0.5 + b, b * 0.5 + a
            a.copy_(first)
            b.copy_(second)

        return lambda i: step(), lambda: [a, b]

    check(build, tolerance=0)


@pytest.mark.parametrize("dim", [0, 1, 2, -1])
def test_arrays_are_joined_without_numpy(dim: int) -> None:
    def build(wrap: Callable) -> tuple[Callable, Callable]:
        shapes = [(3, 4, 5)] * 2 + [(3, 4, 5)[:dim % 3] + (7,) + (3, 4, 5)[dim % 3 + 1:]]
        parts = [torch.randn(s) for s in shapes]

        @wrap
        def step() -> Any:
            made = [p + 1 for p in parts]
            return torch.cat(made, dim), torch.stack(made[:2], dim) * 2

        return lambda i: step(), lambda: parts

    assert not [r for r in runs(check(build, tolerance=0).made[0]) if "NumPy" in r]


def test_arrays_that_lie_otherwise_are_joined_all_the_same() -> None:
    def build(wrap: Callable) -> tuple[Callable, Callable]:
        a, b = torch.randn(6, 4), torch.randn(5, 6)

        @wrap
        def step() -> Any:
            return torch.cat([a.t(), b, a.t()[:0]]), torch.cat([a[:, :2], a[:, 1:]], 1)

        return lambda i: step(), lambda: [a, b]

    check(build, tolerance=0)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 15, 16, 4096, 5000, 70_001])
def test_norms_of_any_size(kind: str, size: int) -> None:
    x = torch.randn(size, dtype=getattr(torch, kind)) * 3
    f = torch.compile(lambda: torch.linalg.vector_norm(x))
    first = f()
    assert f().dtype == x.dtype and runs(f) == ["vector_norm"]
    exact = np.sqrt(np.sum(np.square(x.numpy().astype(np.longdouble))))
    np.testing.assert_allclose(f().item(), float(exact), rtol=1e-15 if kind == "float64" else 6e-8)
    np.testing.assert_allclose(first.item(), f().item(), rtol=2e-7)


def test_pieces_of_several_calls_cover_each_of_them_once() -> None:
    from flambeau.compiler.tables import _shared_out

    calls = [Call(1, 3, 1, [], 1 << 20), Call(2, 100_000, 1 << 15, [], 400_000, 1 << 10),
             Call(3, 10, 16, [], 40, 1 << 10), Call(4, 1, 1, [], 0)]
    units = _shared_out(calls, 1 << 16)
    for at, call in enumerate(calls):
        pieces = sorted([(b, e) for unit in units for a, b, e in unit if a == at])
        assert pieces[0][0] == 0 and pieces[-1][1] == call.items
        assert [e for _, e in pieces[:-1]] == [b for b, _ in pieces[1:]]
        assert all([(e - b) % call.grain == 0 for b, e in pieces[:-1]])
    assert len(units) > 8
