"""Steps on half types are native code that computes in float32 and rounds as eager mode does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau as torch
from flambeau.backends import large
from flambeau.compiler.entry import unit_of
from flambeau.compiler.groups import Group

pytestmark = pytest.mark.skipif(not large.available(), reason="needs llvmlite")
F = torch.nn.functional
HALVES = [torch.float16, torch.bfloat16]
# What gives the same bits; then what is summed up in another order, and may round otherwise.
EXACT: dict[str, Callable] = {
    "sum of products": lambda x, w: (x + w) * w - x, "division": lambda x, w: x / (w.abs() + 1),
    "with numbers": lambda x, w: 3 * x - 0.1, "relu": lambda x, w: F.relu(x) + w,
    "compared": lambda x, w: (x > w) & (x < 1), "where": lambda x, w: torch.where(x > 0, x, w),
    "to float32": lambda x, w: x.float() * w, "to int64": lambda x, w: (x * 4).long() + 1,
    "to the other": lambda x, w: x.to(torch.bfloat16) + w.to(torch.bfloat16),
    "rounded twice": lambda x, w: x.double().to(x.dtype) * w, "clamp": lambda x, w:
    x.clamp(-1, 1) + w, "transposed": lambda x, w: x.t() * 2, "part": lambda x, w: x[1:, ::2] + 1,
    "joined": lambda x, w: torch.cat((x, w[None])), "largest": lambda x, w: x.amax(1),
    "views": lambda x, w: (x.view(-1, 12) * 2).reshape(x.shape), "float64": lambda x, w:
    x * w.double(), "square": lambda x, w: x.square(), "sqrt": lambda x, w: x.abs().sqrt(),
}
ROUNDED: dict[str, Callable] = {
    "gelu": lambda x, w: F.gelu(x), "softmax": lambda x, w: x.softmax(1), "sum": lambda x, w:
    x.sum(0), "mean": lambda x, w: x.mean(), "layer_norm": lambda x, w: F.layer_norm(x, (36,), w),
    "tanh": lambda x, w: (x.tanh() * w).sigmoid(), "product": lambda x, w: x @ x.t(),
    "linear": lambda x, w: F.linear(x, x[:5], w[:5]), "vector": lambda x, w: x @ w,
    "convolution": lambda x, w: F.conv1d(x[None], x[:4, :30].reshape(4, 10, 3)),
    "log_softmax": lambda x, w: x.log_softmax(1), "variance": lambda x, w: x.var(1),
    "norm": lambda x, w: x.norm(), "exp": lambda x, w: (x * 0.5).exp() * w,
}


def operands(dtype: Any) -> tuple:
    torch.manual_seed(0)
    return torch.randn(10, 36).to(dtype), torch.randn(36).to(dtype)


def with_gradients(function: Callable) -> Callable:
    def step(x: Any, w: Any) -> tuple:
        x, w = (t.detach().requires_grad_() for t in (x, w))
        out = function(x, w)
        if not out.requires_grad:
            return (out,)
        found = torch.autograd.grad(out.float().sum(), (x, w), allow_unused=True)
        return out.detach(), *[g for g in found if g is not None]

    return step


@pytest.mark.parametrize("dtype", HALVES, ids=str)
@pytest.mark.parametrize("name", [*EXACT, *ROUNDED])
def test_functions(name: str, dtype: Any) -> None:
    step = with_gradients(EXACT.get(name) or ROUNDED[name])
    compiled = torch.compile(step)
    near = 0 if name in EXACT else 2 * torch.finfo(dtype).eps
    for scale in (1, 2, 0.5):
        x, w = operands(dtype)
        for found, want in zip(compiled(x * scale, w), step(x * scale, w), strict=True):
            assert found.dtype is want.dtype
            size = want.abs().max().item() if near else 0
            torch.testing.assert_close(found, want, rtol=near, atol=near * size, equal_nan=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.0, 65520.0, 1e-8, 3.0e38])
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_special_values(value: float, dtype: Any) -> None:
    def step(x: Any) -> tuple:
        return x * 1, x + x, x.to(dtype) * 2, x.to(dtype).float() - 1

    x = torch.full((40,), value)
    for found, want in zip(torch.compile(step)(x), step(x), strict=True):
        assert torch.equal(found.isnan(), want.isnan())
        assert found.nan_to_num().tolist() == want.nan_to_num().tolist()
        assert torch.equal(found.signbit(), want.signbit())


def training(dtype: Any, compile: Callable) -> tuple:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.GELU(), torch.nn.LayerNorm(128),
                              torch.nn.Dropout(0.1), torch.nn.Linear(128, 10)).to(dtype)
    x, y = torch.randn(32, 64).to(dtype), torch.randint(0, 10, (32,))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step() -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return compile(step), net


@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_training(dtype: Any) -> None:
    plain, _ = training(dtype, lambda f: f)
    want = [float(plain()) for _ in range(20)]
    compiled, net = training(dtype, torch.compile)
    found = [float(compiled()) for _ in range(20)]
    assert found == pytest.approx(want, rel=0.05, abs=0.01)
    assert all([p.dtype is dtype for p in net.parameters()])
    (program,) = unit_of(compiled).programs
    plan = program.executor
    alone = [node.name for unit in plan.units for node in unit.nodes
             if not isinstance(unit, Group) and unit.number not in plan.singles]
    assert set(alone) <= {"check", "draw"}
