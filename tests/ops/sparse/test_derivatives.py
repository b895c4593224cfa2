"""Derivatives through sparse tensors agree with measured slopes; refusals change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.backends.numpy import sparse as kernels

PLACES = [[0, 1, 1, 0], [2, 0, 0, 1]]
D = flambeau.tensor([[1.0, 2.0, 0.5], [0.3, -1.0, 2.0]], dtype=flambeau.float64)
V = flambeau.tensor([3.0, 4.0, 5.0, -2.0], dtype=flambeau.float64)
COLUMNS = flambeau.tensor([2, 0, 1])


def coo(values: Any) -> Any:
    return flambeau.sparse_coo_tensor(PLACES, values, (2, 3))


def csr(values: Any) -> Any:
    return flambeau.sparse_csr_tensor([0, 2, 4], [1, 2, 0, 2], values, (2, 3))


OF_VALUES = {
    "to_dense": lambda v, d: coo(v).to_dense() * d,
    "coalesce": lambda v, d: coo(v).coalesce().values() ** 2,
    "add": lambda v, d: (coo(v) + coo(v * v)).to_dense() * d,
    "dense plus": lambda v, d: (d + coo(v)) ** 2,
    # PyTorch gives a dense factor a sparse gradient, which gradcheck does not take.
    "mul": lambda v, d: (coo(v) * D).to_dense() ** 2,
    "mul sparse": lambda v, d: (coo(v) * coo(v).coalesce()).to_dense() * d,
    "matmul": lambda v, d: (coo(v) @ d.t()) ** 2,
    "dense matmul": lambda v, d: (d @ coo(v).t()) ** 2,
    "sparse.mm": lambda v, d: flambeau.sparse.mm(coo(v), d.t()) ** 2,
    "sparse.mm of two": lambda v, d: flambeau.sparse.mm(coo(v), d.t().to_sparse()).to_dense() ** 2,
    "sparse.addmm": lambda v, d: flambeau.sparse.addmm(d[:, :2], coo(v), d.t(), beta=2, alpha=3),
    "sparse.sum": lambda v, d: flambeau.sparse.sum(coo(v), 0).to_dense() ** 2,
    "softmax": lambda v, d: flambeau.sparse.softmax(coo(v), 1).to_dense() * d,
    "log_softmax": lambda v, d: flambeau.sparse.log_softmax(coo(v), 0).to_dense() * d,
    "transpose": lambda v, d: coo(v).t().to_dense() * d.t(),
    "csr": lambda v, d: csr(v).to_dense() * d,
    "csr matmul": lambda v, d: (csr(v) @ d.t()) ** 2,
    "csr to coo": lambda v, d: csr(v).to_sparse_coo().to_dense() ** 2,
    "mean": lambda v, d: flambeau.sparse.mm(csr(v), d.t(), "mean") ** 2,
    "amax": lambda v, d: flambeau.sparse.mm(csr(v), d.t(), "amax") ** 2,
    "sampled_addmm": lambda v, d: flambeau.sparse.sampled_addmm(
        csr(v), d[:, :2], d, beta=2, alpha=3).to_dense() ** 2,
    "sparse_mask": lambda v, d: (d * v[0]).sparse_mask(coo(v).coalesce().detach()).to_dense(),
}


@pytest.mark.parametrize("name", OF_VALUES)
def test_first_and_second_derivatives(name: str) -> None:
    function = OF_VALUES[name]
    inputs = (V.clone().requires_grad_(), D.clone().requires_grad_())
    assert flambeau.autograd.gradcheck(function, inputs)
    if name not in ("sparse.mm of two",):
        assert flambeau.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("function", [
    lambda w: flambeau.nn.functional.embedding(COLUMNS, w, sparse=True),
    lambda w: flambeau.nn.functional.embedding_bag(COLUMNS[None], w, sparse=True, mode="mean"),
    lambda w: w.gather(0, flambeau.tensor([[2, 0], [1, 1]]), sparse_grad=True),
])
def test_sparse_gradients_equal_dense_ones(function: Callable) -> None:
    weight = flambeau.arange(6.0).reshape(3, 2).requires_grad_()
    out = function(weight)
    scale = flambeau.arange(float(out.numel())).reshape(out.shape) + 1
    (out * scale).sum().backward()
    assert weight.grad.is_sparse
    dense = flambeau.autograd.functional.vjp(
        lambda w: (function(w) * scale).sum().reshape(()), weight.detach())[1]
    assert np.allclose(weight.grad.to_dense().numpy(), dense.to_dense().numpy())


def test_a_sparse_gradient_is_added_to_a_dense_one() -> None:
    weight = flambeau.ones(3, 2, requires_grad=True)
    weight.sum().backward()
    flambeau.nn.functional.embedding(COLUMNS[:1], weight, sparse=True).sum().backward()
    assert weight.grad.tolist() == [[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]]


def test_descent_on_a_sparse_gradient() -> None:
    weight = flambeau.ones(3, 2, requires_grad=True)
    flambeau.nn.functional.embedding(flambeau.tensor([1, 1]), weight, sparse=True).sum().backward()
    with flambeau.no_grad():
        weight.add_(weight.grad, alpha=-0.5)
    assert weight.tolist() == [[1.0, 1.0], [0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize("change", [
    lambda s: s.add_(flambeau.ones(2, 3)), lambda s: s.copy_(flambeau.ones(2, 3)),
    lambda s: s.sparse_resize_((1, 1), 2, 0), lambda s: s.fill_(1),
])
def test_a_refused_change_leaves_the_tensor(change: Callable) -> None:
    s = coo(V).coalesce()
    before = repr(s)
    with pytest.raises((RuntimeError, NotImplementedError)):
        change(s)
    assert repr(s) == before


def test_an_index_outside_is_refused_when_it_is_used() -> None:
    s = flambeau.sparse_coo_tensor([[0, 9]], [1.0, 2.0], (3,))
    with pytest.raises(RuntimeError, match="size is inconsistent with indices"):
        s.to_dense()


def test_merging_takes_the_smaller_head() -> None:
    rng = np.random.default_rng(3)
    for sort in (True, False):
        a, b = rng.integers(0, 9, 12), rng.integers(0, 9, 7)
        a, b = (np.unique(a), np.unique(b)) if sort else (a, b)
        first, second = kernels.merge(a, b)
        assert sorted(first[first >= 0].tolist()) == list(range(a.size))
        assert sorted(second[second >= 0].tolist()) == list(range(b.size))
        both = (first >= 0) & (second >= 0)
        assert (a[first[both]] == b[second[both]]).all()


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (40, 3)])
def test_products_of_sparse_matrices(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    dense = rng.normal(size=shape) * (rng.random(shape) < 0.3)
    right = rng.normal(size=(shape[1], 4))
    rows, columns = np.nonzero(dense)
    order = rng.permutation(rows.size)
    rows, columns = rows[order], columns[order]
    got = kernels.sparse_dense(rows, columns, dense[rows, columns], shape[0], right)
    assert np.allclose(got, dense @ right)


def test_large_products_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "CHUNK", 8)
    test_products_of_sparse_matrices((40, 3))
