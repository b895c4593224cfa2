"""Steps along sparse gradients beside PyTorch's."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

import flambeau as fl

from .cases import array, assert_same, plain

CASES: list[tuple[str, dict[str, Any]]] = [
    ("SparseAdam", {}), ("SparseAdam", {"maximize": True, "betas": (0.5, 0.6)}),
    ("SGD", {}), ("SGD", {"maximize": True}), ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True}), ("Adagrad", {}),
    ("Adagrad", {"lr_decay": 0.1, "maximize": True}),
]


def sparse(t: ModuleType, seed: int, hybrid: bool) -> Any:
    """Some elements of a (5, 3) gradient, one place twice."""
    if hybrid:
        return t.sparse_coo_tensor(t.tensor([[0, 3, 0]]), t.tensor(array((3, 3), seed)), (5, 3))
    places = t.tensor([[0, 3, 0], [1, 2, 1]])
    return t.sparse_coo_tensor(places, t.tensor(array((3,), seed)), (5, 3))


@pytest.mark.parity
@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_steps(name: str, options: dict, hybrid: bool, torch_oracle: ModuleType) -> None:
    results = []
    for t in (fl, torch_oracle):
        w = t.nn.Parameter(t.tensor(array((5, 3), 0)))
        optimizer = getattr(t.optim, name)([w], lr=0.1, **options)
        seen = []
        for step in range(4):
            w.grad = sparse(t, step + 1, hybrid)
            optimizer.step()
            seen.append(plain(w))
        results.append(seen)
    assert_same(*results)


@pytest.mark.parity
def test_an_embedding_learns(torch_oracle: ModuleType) -> None:
    results = []
    for t in (fl, torch_oracle):
        t.manual_seed(0)
        table = t.nn.Embedding(6, 2, sparse=True)
        optimizer = t.optim.SparseAdam(table.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (table(t.tensor([1, 4, 1])) ** 2).sum().backward()
            optimizer.step()
        results.append(plain(table.weight))
    assert_same(*results, rtol=1e-5)


@pytest.mark.parametrize(("name", "options", "text"), [
    ("Adam", {}, "Adam does not support sparse gradients, please consider SparseAdam instead"),
    ("RMSprop", {}, "RMSprop does not support sparse gradients"),
    ("SGD", {"fused": True}, "`_fused_sgd` does not support sparse gradients"),
    ("Adagrad", {"fused": True}, "`fused` does not support sparse grad or complex param"),
    ("Adagrad", {"weight_decay": 0.1}, "weight_decay option is not compatible"),
])
def test_what_is_refused_changes_nothing(name: str, options: dict, text: str) -> None:
    w = fl.nn.Parameter(fl.tensor(array((5, 3), 0)))
    before = w.tolist()
    optimizer = getattr(fl.optim, name)([w], lr=0.1, **options)
    w.grad = sparse(fl, 1, False)
    with pytest.raises(RuntimeError, match=text):
        optimizer.step()
    assert w.tolist() == before


def test_dense_gradients_are_refused_by_sparse_adam() -> None:
    w = fl.nn.Parameter(fl.ones(3))
    optimizer = fl.optim.SparseAdam([w])
    w.grad = fl.ones(3)
    with pytest.raises(RuntimeError, match="does not support dense gradients"):
        optimizer.step()
