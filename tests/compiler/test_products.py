"""Products of compiled steps: by BLAS or by generated kernels, whichever was measured faster."""

from __future__ import annotations

import pytest

import flambeau as torch
from flambeau.backends import large, product_choice, products
from flambeau.backends.llvm import measured
from flambeau.compiler.entry import unit_of
from flambeau.compiler.products import Product

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


def test_a_step_takes_the_faster_way_once_it_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, str] = {}

    def measure(question: str, layout: object) -> str:
        answers[question] = "generated"
        return "generated"

    monkeypatch.setattr(measured, "known", answers.get)
    monkeypatch.setattr(product_choice, "measure", measure)
    (plain, wants), (step, founds) = network(), network()
    compiled = torch.compile(step)
    unit = unit_of(compiled)
    for turn in range(product_choice.PATIENCE + 16):
        torch.testing.assert_close(compiled(), plain(), rtol=1e-4, atol=1e-5)
        if turn == 4:
            (program,) = unit.programs
            first, quick = program.executor, unit.fast
    assert program.executor is not first and unit.fast is not quick
    works = [s.work for s in program.executor.singles.values() if isinstance(s, Product)]
    assert works and all([w is not None for w in works])
    assert unit.runs == product_choice.PATIENCE + 16 - unit.traces
    for found, want in zip(founds, wants):
        torch.testing.assert_close(found, want, rtol=1e-3, atol=1e-4)


def test_tracing_measures_no_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product_choice, "measure", None)
    monkeypatch.setattr(measured, "known", lambda question: None)
    a, b = torch.ones(200, 200), torch.ones(200, 200)

    @torch.compile
    def many() -> torch.Tensor:
        c = a
        for _ in range(products.PATIENCE + 2):
            c = c @ b / 200
        return c

    torch.testing.assert_close(many(), a)
