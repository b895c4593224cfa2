"""Generators, tensors of random numbers and fills in place: PyTorch's streams and its errors."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau as fl

DRAWS: dict[str, Callable[[Any], Any]] = {
    "rand": lambda t: t.rand(3, 5),
    "rand float64": lambda t: t.rand(7, dtype=t.float64),
    "rand bfloat16": lambda t: t.rand(40, dtype=t.bfloat16).float(),
    "rand complex": lambda t: t.view_as_real(t.rand(5, dtype=t.complex64)),
    "randn small": lambda t: t.randn(5),
    "randn groups": lambda t: t.randn(37),
    "randint": lambda t: t.randint(-3, 90, (11,)),
    "randint wide": lambda t: t.randint(0, 2**40, (11,)),
    "randint by name": lambda t: t.randint(high=7, size=(4, 2)),
    "randperm": lambda t: t.randperm(50),
    "rand_like": lambda t: t.rand_like(t.zeros(4, 3).t()),
    "rand_like of an expanded tensor": lambda t: t.rand_like(t.zeros(1, 3).expand(2, 3)),
    "out": lambda t: t.randn(20, out=t.zeros(40)[::2]),
    "uniform_": lambda t: t.zeros(9).uniform_(-2, 5),
    "normal_ of a slice": lambda t: t.zeros(6, 8)[:, ::2].normal_(2, 3),
    "random_": lambda t: t.zeros(9, dtype=t.int64).random_(),
    "bernoulli_": lambda t: t.zeros(4, 5).bernoulli_(t.linspace(0, 1, 5)),
    "exponential_": lambda t: t.zeros(9).exponential_(2.0),
    "geometric_": lambda t: t.zeros(9, dtype=t.int64).geometric_(0.3),
    "log_normal_": lambda t: t.zeros(9).log_normal_(),
    "cauchy_": lambda t: t.zeros(9).cauchy_(),
    "bernoulli": lambda t: t.bernoulli(t.linspace(0, 1, 20)),
    "normal": lambda t: t.normal(t.arange(6.0), t.linspace(0.1, 2, 6)),
    "multinomial": lambda t: t.multinomial(t.arange(1.0, 9.0), 5),
    "poisson": lambda t: t.poisson(t.linspace(0.1, 30, 20)),
    "binomial": lambda t: t.binomial(t.full((20,), 20.0), t.linspace(0.05, 0.95, 20)),
    "dropout": lambda t: t.nn.functional.dropout(t.ones(4, 6), 0.3),
    "dropout2d": lambda t: t.nn.functional.dropout2d(t.ones(3, 4, 2, 2), 0.3),
    "alpha_dropout": lambda t: t.nn.functional.alpha_dropout(t.ones(30), 0.3, True),
    "rrelu": lambda t: t.nn.functional.rrelu(t.linspace(-3, 3, 40), training=True),
}


@pytest.mark.parametrize("name", DRAWS)
def test_stream(name: str, torch_oracle: ModuleType) -> None:
    results = []
    for t in (torch_oracle, fl):
        t.manual_seed(3)
        drawn = DRAWS[name](t)
        results.append([drawn.numpy(), t.rand(3).numpy()])
    for want, got in zip(*results):
        assert want.dtype == got.dtype
        np.testing.assert_array_equal(got, want)


REFUSED: dict[str, Callable[[Any], Any]] = {
    "negative size": lambda t: t.rand(2, -1),
    "no size": lambda t: t.rand(),
    "integer dtype": lambda t: t.rand(2, dtype=t.int64),
    "integer normals": lambda t: t.randn(2, dtype=t.int64),
    "no integers": lambda t: t.randint(5, 3, (2,)),
    "beyond the dtype": lambda t: t.randint(0, 300, (2,), dtype=t.uint8),
    "below the dtype": lambda t: t.randint(-1, 3, (2,), dtype=t.uint8),
    "float bound": lambda t: t.randint(3.5, (2,)),
    "integers that require grad": lambda t: t.randint(3, (2,), requires_grad=True),
    "permutation of -1": lambda t: t.randperm(-1),
    "permutation too long": lambda t: t.randperm(300, dtype=t.uint8),
    "bounds in the wrong order": lambda t: t.zeros(3).uniform_(2, 1),
    "infinite bound": lambda t: t.zeros(3).uniform_(0, float("inf")),
    "negative std": lambda t: t.zeros(3).normal_(0, -1.5),
    "empty range": lambda t: t.zeros(3).random_(0),
    "no probability": lambda t: t.zeros(3).bernoulli_(1.5),
    "no probabilities": lambda t: t.bernoulli(t.tensor([0.1, 2.0])),
    "rate": lambda t: t.zeros(3).exponential_(0),
    "exponential integers": lambda t: t.zeros(3, dtype=t.int64).exponential_(),
    "geometric p": lambda t: t.zeros(3).geometric_(1),
    "expanded": lambda t: t.zeros(1).expand(3).normal_(),
    "leaf": lambda t: t.zeros(3, requires_grad=True).normal_(),
    "seed of text": lambda t: t.manual_seed("a"),
    "seed too large": lambda t: t.manual_seed(2**64),
    "generator's seed": lambda t: t.Generator().manual_seed(1.5),
    "state of floats": lambda t: t.Generator().set_state(t.zeros(5)),
    "short state": lambda t: t.set_rng_state(t.zeros(5, dtype=t.uint8)),
    "no weights": lambda t: t.multinomial(t.zeros(3), 1),
    "too many": lambda t: t.multinomial(t.ones(3), 4),
    "negative rate": lambda t: t.poisson(t.zeros(3) - 1),
    "negative stds": lambda t: t.normal(t.zeros(3), -t.ones(3)),
    "dropout probability": lambda t: t.nn.functional.dropout(t.ones(3), 1.5),
    "dropout of integers": lambda t: t.nn.functional.dropout(t.ones(3, dtype=t.int64)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, torch_oracle: ModuleType) -> None:
    lines = []
    for t in (torch_oracle, fl):
        with pytest.raises(Exception) as caught:
            REFUSED[name](t)
        lines.append((caught.type, str(caught.value).split("\n")[0].replace("flambeau", "torch")))
    assert lines[1] == lines[0]


def test_a_refused_fill_leaves_the_tensor_and_the_stream() -> None:
    t = fl.ones(3)
    state = fl.get_rng_state()
    with pytest.raises(RuntimeError):
        t.normal_(0, -1)
    assert t.tolist() == [1, 1, 1]
    assert t._version == 0
    assert fl.get_rng_state().tolist() == state.tolist()


def test_a_fill_cuts_the_history() -> None:
    x = fl.ones(3, requires_grad=True)
    y = x * 2
    y.uniform_()
    assert y.grad_fn.name() == "UniformBackward0"
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 0]


def test_a_fill_of_a_part_keeps_the_rest_of_the_history() -> None:
    x = fl.ones(4, requires_grad=True)
    y = x * 2
    y[:2].normal_()
    y.sum().backward()
    assert x.grad.tolist() == [0, 0, 2, 2]


def test_dropout_has_the_gradient_of_its_mask() -> None:
    x = fl.ones(50, requires_grad=True)
    y = fl.nn.functional.dropout(x, 0.4)
    y.sum().backward()
    assert x.grad.tolist() == y.tolist()


def test_generators_are_independent_and_go_on_from_a_state() -> None:
    g = fl.Generator().manual_seed(5)
    before = fl.get_rng_state().tolist()
    fl.randn(3, generator=g)
    for other in (g.clone_state(), pickle.loads(pickle.dumps(g))):
        assert other.initial_seed() == 5
        here = g.get_state()
        assert fl.randn(9, generator=other).tolist() == fl.randn(9, generator=g).tolist()
        g.set_state(here)
    assert fl.get_rng_state().tolist() == before


def test_fork_rng_gives_the_stream_back() -> None:
    fl.manual_seed(1)
    with fl.random.fork_rng():
        inside = fl.rand(4)
    assert fl.rand(4).tolist() == inside.tolist()


def test_small_draws_across_a_block_are_one_stream() -> None:
    fl.manual_seed(2)
    parts = [fl.rand(n) for n in (600, 20, 7, 700, 1)]
    fl.manual_seed(2)
    assert fl.cat(parts).tolist() == fl.rand(1328).tolist()


def test_gamma_moves_with_its_shape(torch_oracle: ModuleType) -> None:
    shapes = [0.3, 2.0, 40.0]
    gradients = []
    for t in (torch_oracle, fl):
        t.manual_seed(0)
        x = t.tensor(shapes, dtype=t.float64, requires_grad=True)
        t._standard_gamma(x).sum().backward()
        gradients.append(x.grad.numpy())
    # PyTorch interpolates this derivative: it holds three digits.
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=1e-3)
