"""Transforms inside transforms: derivatives of values that stand in for arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as fl

RNG = np.random.default_rng(8)
X, W = fl.from_numpy(RNG.normal(size=(2, 4))), fl.from_numpy(RNG.normal(size=(4, 4)))
B = fl.from_numpy(RNG.normal(size=4))
F, FUNC = fl.nn.functional, fl.func

# Operators of every kind: without and with formulas, and made of others.
FUNCTIONS: dict[str, Callable] = {
    "sum": lambda x: (x ** 3).sum(), "prod": lambda x: x.prod(), "amax": lambda x: x.amax() ** 2,
    "linear": lambda x: (F.linear(x ** 3, W, B) ** 2).sum(),
    "stack": lambda x: (fl.stack([x ** 2, x ** 3]) ** 2).sum(),
    "chunk": lambda x: (x.chunk(2, 1)[0] ** 3 * x.chunk(2, 1)[1]).sum(),
    "softmax": lambda x: (x.softmax(1) * x).sum(),
    "logsumexp": lambda x: x.logsumexp(1).sum(), "cumsum": lambda x: (x.cumsum(0) ** 3).sum(),
    "layer_norm": lambda x: (F.layer_norm(x, (4,)) ** 3).sum(),
    "gelu": lambda x: F.gelu(x).sum(), "cross_entropy": lambda x: F.cross_entropy(x, W[:2]),
    "norm": lambda x: x.norm(),
}


def measured(f: Callable, x: Any) -> np.ndarray:
    """The Hessian by differences of gradients."""
    rows = np.zeros((*x.shape, *x.shape))
    for at in np.ndindex(*x.shape):
        step = np.zeros(x.shape)
        step[at] = 1e-6
        up, down = (FUNC.grad(f)(x + sign * fl.from_numpy(step)) for sign in (1, -1))
        rows[at] = ((up - down) / 2e-6).numpy()
    return rows


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives(name: str) -> None:
    """Forward and reverse mode, over one another and over themselves."""
    f = FUNCTIONS[name]
    want = measured(f, X)
    for outer in (FUNC.jacfwd, FUNC.jacrev):
        for inner in (FUNC.jacfwd, FUNC.jacrev, FUNC.grad):
            found = outer(inner(f))(X)
            assert not found.requires_grad
            np.testing.assert_allclose(found.numpy(), want, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_derivatives_in_batches(name: str) -> None:
    """jvp and grad inside vmap are those of each element."""
    f = FUNCTIONS[name]
    xs = fl.stack([X, X * 0.5, X - 0.3])
    slopes = fl.vmap(lambda x: FUNC.jvp(f, (x,), (W[:2],))[1])(xs)
    gradients = fl.vmap(FUNC.grad(f))(xs)
    for x, slope, gradient in zip(xs, slopes, gradients):
        leaf = x.clone().requires_grad_()
        f(leaf).backward()
        np.testing.assert_allclose(gradient.numpy(), leaf.grad.numpy(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(slope.numpy(), (leaf.grad * W[:2]).sum().numpy(), rtol=1e-9)
