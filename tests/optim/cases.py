"""What the tests of optimizers share: configurations, parameters and gradients for both sides."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

SHAPES = [(6, 5), (7,), (), (2, 3, 4), (0, 2)]
CASES: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "fused": True}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.1, "betas": (0.3, 0.5), "amsgrad": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "maximize": True, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "fused": True}),
    ("AdamW", {"lr": 0.1, "amsgrad": True}),
    ("Adamax", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.1, "betas": (0.9, 0.99), "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.1, "maximize": True, "fused": True}),
    ("Adadelta", {"lr": 0.5, "rho": 0.8, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.1}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.3, "momentum": 0.9, "centered": True,
                 "weight_decay": 0.1}),
    ("Rprop", {"lr": 0.1, "etas": (0.4, 1.3), "step_sizes": (0.05, 0.2)}),
    ("ASGD", {"lr": 0.1, "lambd": 0.01, "t0": 2, "weight_decay": 0.1}),
    ("ASGD", {"lr": 0.1, "lambd": 0.01, "foreach": True}),
]
NAMES = [f"{name}-{number}" for number, (name, _) in enumerate(CASES)]


def array(shape: tuple[int, ...], seed: int, dtype: str = "float64") -> np.ndarray:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        x = x + 1j * rng.standard_normal(shape)
    return np.asarray(x).astype(dtype)


def parameters(t: ModuleType, dtype: str = "float64", shapes: list = SHAPES) -> list[Any]:
    return [t.nn.Parameter(t.from_numpy(array(s, n, dtype))) for n, s in enumerate(shapes)]


def give_gradients(t: ModuleType, params: list[Any], seed: int) -> None:
    for n, p in enumerate(params):
        dtype = str(p.dtype).split(".")[-1]
        p.grad = t.from_numpy(array(tuple(p.shape), 100 * seed + n, dtype))


def train(t: ModuleType, optimizer: Any, params: list[Any], steps: int, first: int = 1) -> None:
    for step in range(first, first + steps):
        give_gradients(t, params, step)
        optimizer.step()


def plain(value: Any) -> Any:
    """Tensors of either side as nested lists with dtype and shape, containers as they are."""
    if hasattr(value, "detach"):
        return str(value.dtype).split(".")[-1], tuple(value.shape), value.detach().tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(v) for v in value)
    return value


def assert_same(found: Any, expected: Any, rtol: float = 1e-9) -> None:
    """Equal structures, keys in equal order, numbers close."""
    assert type(found) is type(expected), (found, expected)
    if isinstance(found, dict):
        assert list(found) == list(expected)
        for key in found:
            assert_same(found[key], expected[key], rtol)
    elif isinstance(found, (list, tuple)):
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            assert_same(a, b, rtol)
    elif isinstance(found, (float, complex)):
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol / 100)
    else:
        assert found == expected
