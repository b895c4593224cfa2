"""LBFGS beside PyTorch's: losses, parameters, state, line search."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

import flambeau as fl

from .cases import array, assert_same, plain

pytestmark = pytest.mark.parity


def rosenbrock(t: ModuleType, w: Any) -> Any:
    return (100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2).sum()


def bowl(t: ModuleType, w: Any) -> Any:
    return (w * w * t.arange(1.0, w.numel() + 1, dtype=t.float64)).sum() + w.sum()


@pytest.mark.parametrize("loss_of", [rosenbrock, bowl])
@pytest.mark.parametrize("options", [
    {"lr": 0.01}, {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "history_size": 2, "max_iter": 8},
    {"lr": 0.01, "max_iter": 3, "max_eval": 2}, {"lr": 0.01, "tolerance_change": 0.5},
    {"tolerance_grad": 1e6}], ids=str)
def test_iterations(options: dict, loss_of: Any, torch_oracle: ModuleType) -> None:
    results = []
    for t in (fl, torch_oracle):
        w = t.nn.Parameter(t.tensor(array((5,), 3)))
        optimizer = t.optim.LBFGS([w], **options)
        calls = []

        def closure(t: Any = t, w: Any = w, optimizer: Any = optimizer, calls: list = calls) -> Any:
            optimizer.zero_grad()
            loss = loss_of(t, w)
            loss.backward()
            calls.append(loss.item())
            return loss

        losses = [optimizer.step(closure).item() for _ in range(3)]
        results.append([losses, len(calls), plain(w), plain(optimizer.state_dict())])
    assert_same(*results, rtol=1e-5)


def test_a_state_is_taken_over_and_complex_parameters(torch_oracle: ModuleType) -> None:
    results = []
    for t in (fl, torch_oracle):
        w = t.nn.Parameter(t.tensor(array((2, 3), 0, "complex128")))
        v = t.nn.Parameter(t.tensor(array((4,), 1)))
        unused = t.nn.Parameter(t.zeros(2, dtype=t.float64))
        optimizer = t.optim.LBFGS([w, v, unused], line_search_fn="strong_wolfe", max_iter=4)

        def closure(w: Any = w, v: Any = v) -> Any:
            w.grad = v.grad = None
            loss = ((w - 1).abs() ** 4).sum() + (v**4).sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        other = t.optim.LBFGS([w, v, unused], line_search_fn="strong_wolfe", max_iter=4)
        other.load_state_dict(optimizer.state_dict())
        results.append([other.step(closure).item(), plain([w, v, unused])])
    assert_same(*results, rtol=1e-6)


def test_what_is_refused(torch_oracle: ModuleType) -> None:
    for t in (fl, torch_oracle):
        w = t.nn.Parameter(t.ones(1))
        with pytest.raises(ValueError, match="doesn't support per-parameter options"):
            t.optim.LBFGS([{"params": [w]}, {"params": [t.nn.Parameter(t.ones(1))]}])
        optimizer = t.optim.LBFGS([w], line_search_fn="armijo")

        def closure(w: Any = w) -> Any:
            w.grad = None
            loss = (w * w).sum()
            loss.backward()
            return loss

        with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
            optimizer.step(closure)
        with pytest.raises(TypeError):
            optimizer.step()
