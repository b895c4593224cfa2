"""Values that operators refuse: traced and compiled steps raise what eager ones raise."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

import flambeau as torch

F = torch.nn.functional
TABLE = torch.arange(15.0).reshape(5, 3)
X = torch.arange(20.0).reshape(4, 5)
CASES: dict[str, tuple] = {
    "embedding": (lambda i: F.embedding(i, TABLE), [1, 2], [[-1, 2], [7, 2]]),
    "gather": (lambda i: X.gather(1, i), [[1], [2]], [[[-1], [2]], [[9], [2]]]),
    "index_select": (lambda i: X.index_select(0, i), [1, 2], [[-1, 2], [9, 2]]),
    "index": (lambda i: X[i], [1, 2], [[9, 2], [-5, 0]]),
    "take": (lambda i: X.take(i), [1, 2], [[99, 2]]),
    "scatter": (lambda i: X.scatter(1, i, 1.0), [[1], [2]], [[[-1], [2]], [[9], [2]]]),
    "index_add": (lambda i: X.index_add(0, i, torch.ones(2, 5)), [1, 2], [[-1, 2], [4, 0]]),
    "index_copy": (lambda i: X.index_copy(0, i, torch.ones(2, 5)), [1, 2], [[9, 2]]),
    "index_fill": (lambda i: X.index_fill(0, i, 2.0), [1, 2], [[9, 2]]),
    "put": (lambda i: X.put(i, torch.ones(2)), [1, 2], [[99, 2]]),
    "one_hot": (lambda i: F.one_hot(i, 4), [1, 2], [[-1, 2], [9, 2]]),
    "nll_loss": (lambda i: F.nll_loss(X, i), [1, 2, 0, 4], [[1, 2, 0, 5], [-3, 2, 0, 4]]),
    "binary_cross_entropy": (lambda p: F.binary_cross_entropy(p, torch.ones(2)), [0.1, 0.2],
                             [[1.5, 0.2], [-0.5, 0.2]]),
    "quantile": (lambda q: torch.quantile(X, q), [0.1, 0.2], [[1.5, 0.2]]),
    "multinomial": (lambda p: torch.multinomial(p, 1), [0.1, 0.2], [[-1.5, 0.2]]),
    "cholesky": (torch.linalg.cholesky, [[1.0, 0.0], [0.0, 1.0]], [[[-1.0, 0.0], [0.0, 1.0]]]),
    "inv": (torch.linalg.inv, [[1.0, 0.0], [0.0, 1.0]], [[[0.0, 0.0], [0.0, 0.0]]]),
    "floor_divide": (lambda a: torch.tensor([4, 2]) // a, [1, 2], [[0, 2]]),
    "multi_margin_loss": (lambda i: F.multi_margin_loss(X, i), [1, 2, 0, 4], [[1, 2, 0, 9]])}


def outcome(function: Any, value: Any) -> Any:
    torch.manual_seed(0)
    try:
        return function(torch.tensor(value))
    except Exception as error:
        return type(error), str(error).splitlines()[0]


def assert_same(got: Any, want: Any) -> None:
    if isinstance(want, torch.Tensor):
        assert isinstance(got, torch.Tensor) and torch.allclose(got, want), (got, want)
    else:
        assert got == want


@pytest.mark.parametrize("name", CASES)
def test_refused_values(name: str) -> None:
    function, good, refused = CASES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for bad in refused:
            want = outcome(function, bad)
            assert isinstance(want, tuple), f"eager mode takes {bad}"
            assert_same(outcome(torch.compile(lambda v: function(v)), bad), want)
            compiled = torch.compile(lambda v: function(v))
            for _ in range(4):
                assert_same(outcome(compiled, good), outcome(function, good))
            assert_same(outcome(compiled, bad), want)
            assert_same(outcome(compiled, good), outcome(function, good))


def test_negative_indices_that_are_fine() -> None:
    compiled = torch.compile(lambda i: X[i] + torch.take(X, i)[:, None])
    for value in ([1, 2], [-1, 2], [-4, 3], [0, 0]):
        i = torch.tensor(value)
        assert torch.equal(compiled(i), X[i] + torch.take(X, i)[:, None])


def test_a_singular_matrix_has_a_gradient() -> None:
    def step(a: Any) -> Any:
        a = a.detach().requires_grad_()
        torch.linalg.det(a).backward()
        return a.grad

    compiled = torch.compile(step)
    regular, singular = torch.eye(3) * 2, torch.diag(torch.tensor([1.0, 2.0, 0.0]))
    for a in (regular, regular, regular, singular, regular, singular):
        assert torch.allclose(compiled(a), step(a))
