"""Values computed again instead of being kept: the same numbers in less memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import large
from flambeau.compiler import plan, recompute
from flambeau.compiler.plan import Plan
from tests.compiler import test_random_training

WIDTH = 256


class Squares(torch.nn.Module):
    """What its backward needs can all be made from one product."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(64, WIDTH)
        self.second = torch.nn.Linear(WIDTH, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.first(x)
        q = z * z
        w = q * (z > 0).float() + 0.5 * q
        return x + self.second(w * z * 0.1)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """The plans that are made meanwhile."""
    if not large.available():
        pytest.skip("no kernels")
    made: list[Plan] = []
    whole = Plan.__init__

    def init(self: Plan, *args: object) -> None:
        whole(self, *args)
        made.append(self)

    monkeypatch.setattr(Plan, "__init__", init)
    return made


def trained(make: Callable[[], torch.nn.Module]) -> list[np.ndarray]:
    torch.manual_seed(0)
    net = torch.nn.Sequential(*[make() for _ in range(3)])
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9)
    x = torch.randn(WIDTH, 64)

    @torch.compile
    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step().item() for _ in range(5)]
    return [np.array(losses), *[p.detach().numpy() for p in net.parameters()]]


def test_less_memory_for_the_same_numbers(
        plans: list[Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    found = trained(Squares)
    most = plans[-1].arena_size
    monkeypatch.setattr(plan, "recompute", lambda *args: False)
    want = trained(Squares)
    for a, b in zip(found, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert most < 0.8 * plans[-1].arena_size


def test_what_is_changed_meanwhile_is_not_read_again(
        plans: list[Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recompute, "MUCH", 0)
    monkeypatch.setattr(recompute, "SMALL", 0)
    w = torch.ones(300, requires_grad=True)

    def step(x: torch.Tensor) -> torch.Tensor:
        doubled = w * 2
        loss = (doubled * x).cumsum(0).sum()
        loss.backward()
        with torch.no_grad():
            w.sub_(w.grad * 0.1)
            w.grad = None
        return loss + doubled.detach().cumsum(0).sum()

    compiled = torch.compile(step)
    xs = [torch.randn(300) for _ in range(5)]
    found = [compiled(x).item() for x in xs]
    last = w.detach().clone()
    with torch.no_grad():
        w.fill_(1)
    want = [step(x).item() for x in xs]
    np.testing.assert_allclose(found, want, rtol=1e-5)
    np.testing.assert_allclose(last.numpy(), w.detach().numpy(), rtol=1e-5)


def test_random_programs_whatever_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recompute, "MUCH", 0)
    monkeypatch.setattr(recompute, "SMALL", 0)
    assert sum([test_random_training.check(seed) for seed in range(300, 306)])
