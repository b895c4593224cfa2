"""Products of compiled steps: by BLAS or by generated kernels, whichever was measured faster."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.backends import large, product_choice
from flambeau.backends.llvm import measured

pytestmark = pytest.mark.skipif(not large.available(), reason="needs llvmlite")


def network(width: int = 130) -> tuple:
    """A step whose products lie in all ways, and its parameters."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(90, width), torch.nn.GELU(),
                              torch.nn.Linear(width, 70))
    x, y = torch.randn(4, 65, 90), torch.randn(4, 65, 70)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        out = net(x)
        scores = out @ out.transpose(1, 2)
        loss = (out - y).square().mean() + scores.square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return step, list(net.parameters())


@pytest.mark.parametrize("way", ["blas", "generated"])
def test_steps_are_as_in_eager_mode_either_way(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "known", lambda question: way)
    (plain, wants), (step, founds) = network(), network()
    compiled = torch.compile(step)
    for _ in range(4):
        torch.testing.assert_close(compiled(), plain(), rtol=1e-5, atol=1e-6)
    for found, want in zip(founds, wants):
        torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5)


def test_more_threads_than_when_it_was_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "known", lambda question: "generated")
    before = torch.get_num_threads()
    (plain, _), (step, _) = network(), network()
    compiled = torch.compile(step)
    try:
        torch.set_num_threads(1)
        torch.testing.assert_close(compiled(), plain(), rtol=1e-5, atol=1e-6)
        for count in (4, 9):
            torch.set_num_threads(count)
            torch.testing.assert_close(compiled(), plain(), rtol=1e-5, atol=1e-6)
    finally:
        torch.set_num_threads(before)


def test_products_are_measured_after_some_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(measured, "known", lambda question: None)
    monkeypatch.setattr(product_choice, "measure", lambda question, layout: asked.append(question))
    compiled = torch.compile(network()[0])
    for _ in range(product_choice.PATIENCE):
        compiled()
    assert not asked
    for _ in range(3):
        compiled()
    assert asked and len(set(asked)) == len(asked)
