"""The sweep's checks must catch wrong rules: operators with a planted fault, and right ones."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from flambeau.core.dispatch import apply
from flambeau.core.kinds import linear, opaque, pointwise, reduction
from flambeau.core.op import OPS
from flambeau.core.tensor import Tensor, wrap
from tests.ops import checks
from tests.ops.sample import Sample

POINT = np.array([[0.5, 1.5, 2.5], [3.0, 0.7, 1.1]])
COMPLEX_POINT = POINT + 1j * POINT[::-1]
SAMPLE = Sample((POINT,))
COMPLEX = Sample((COMPLEX_POINT,))
CHECKS = [checks.check_layouts, checks.check_gradient, checks.check_second,
          checks.check_forward_mode, checks.check_batch, checks.check_out]


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Operators declared by a test leave the registry with it."""
    before = set(OPS)
    yield
    for name in set(OPS) - before:
        del OPS[name]


def square(*formulas: Any, forward: Callable = lambda x: x * x, **rules: Any) -> Callable:
    """A pointwise operator, the square where its rules are right."""
    return pointwise("planted", forward, formulas, places=None, **rules)


def slope(g: Any, input: Any) -> Any:
    """The right formula of the square."""
    return g * (2 * (input.conj() if input.is_complex() else input))


def caught(check: Callable, function: Callable, sample: Sample = SAMPLE) -> None:
    """``check`` must fail on ``function``."""
    with pytest.raises(AssertionError):
        check(function, sample)


@pytest.mark.parametrize("sample", [SAMPLE, COMPLEX])
@pytest.mark.parametrize("check", CHECKS)
def test_right_rules_pass(check: Callable, sample: Sample) -> None:
    check(square(slope), sample)


def test_a_wrong_factor() -> None:
    caught(checks.check_gradient, square(lambda g, input: g * input))


def test_a_wrong_sign_in_forward_mode_as_well() -> None:
    caught(checks.check_forward_mode, square(lambda g, input: g * (-2 * input)))


def test_a_missing_gradient() -> None:
    caught(checks.check_gradient, square(None))


def test_a_missing_conjugate() -> None:
    wrong = square(lambda g, input: g * (2 * input))
    checks.check_gradient(wrong, SAMPLE)
    caught(checks.check_gradient, wrong, COMPLEX)


def test_a_formula_that_cannot_be_differentiated() -> None:
    wrong = square(lambda g, input: g * (2 * input.detach()))
    checks.check_gradient(wrong, SAMPLE)
    caught(checks.check_second, wrong)


def test_a_wrong_jvp() -> None:
    op = opaque("planted", lambda a: a * a, grads=(slope,),
                jvp=lambda tangents, out, input: tangents[0] * input)
    caught(checks.check_forward_mode, lambda t: apply(op, (t,), {}))


def _flip(batch: Callable | None) -> Callable:
    op = linear("planted", lambda a, dim: np.flip(a, dim),
                lambda g, dim: apply(op, (g,), {"dim": dim}), params=("dim",), batch=batch)
    return lambda t: apply(op, (t,), {"dim": 0})


def test_a_batch_rule_that_forgets_to_shift() -> None:
    def wrong(op: Any, inputs: Any, dims: Any, dim: int) -> tuple:
        return apply(op, (inputs[0].movedim(dims[0], 0),), {"dim": dim}), 0

    checks.check_batch(_flip(None), SAMPLE)
    del OPS["planted"]
    caught(checks.check_batch, _flip(wrong))


def test_a_batch_rule_that_names_the_wrong_dimension() -> None:
    def wrong(op: Any, inputs: Any, dims: Any, dim: int) -> tuple:
        return apply(op, (inputs[0].movedim(dims[0], 0),), {"dim": dim + 1}), 1

    caught(checks.check_batch, _flip(wrong))


def _total(wrong: Callable) -> Callable:
    op = reduction("planted", lambda a, dims, keepdim: a.sum(axis=dims, keepdims=keepdim), wrong)
    return lambda t: apply(op, (t,), {"dims": (1,), "keepdim": False})


def test_a_gradient_of_the_wrong_shape() -> None:
    with pytest.raises((AssertionError, RuntimeError)):
        checks.check_gradient(_total(lambda g: g), SAMPLE)


def test_a_gradient_spread_over_the_wrong_dimension() -> None:
    square_point = Sample((np.arange(9.0).reshape(3, 3),))
    caught(checks.check_gradient, _total(lambda g: g.expand(3, 3)), square_point)


def test_a_transpose_that_is_not_one() -> None:
    op = linear("planted", lambda a: np.cumsum(a, 0), lambda g: apply(op, (g,), {}))
    caught(checks.check_gradient, lambda t: apply(op, (t,), {}))


def test_values_that_depend_on_the_layout() -> None:
    wrong = square(slope, forward=lambda x: x.ravel(order="K").reshape(x.shape) ** 2)
    caught(checks.check_layouts, wrong)


def test_a_result_of_the_wrong_shape() -> None:
    sample = Sample((POINT,), reference=lambda a: a.sum(1, keepdims=True))
    with pytest.raises(AssertionError):
        checks.check_values(lambda t: t.sum(1), sample, None, "sum")


def test_wrong_values_and_dtypes(torch_oracle: ModuleType) -> None:
    right, slightly = square(slope), lambda t: t * t * (1 + 1e-5)
    checks.check_values(right, SAMPLE, torch_oracle, "square")
    with pytest.raises(AssertionError):
        checks.check_values(slightly, SAMPLE, torch_oracle, "square")
    checks.check_dtypes(right, SAMPLE, torch_oracle, "square")
    with pytest.raises(AssertionError, match="float32"):
        checks.check_dtypes(lambda t: (t * t).double(), SAMPLE, torch_oracle, "square")


def _check_method(method: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "planted_", method, raising=False)
    checks.check_in_place("planted", lambda t: t * 2, SAMPLE)


def test_in_place_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    _check_method(lambda t: t.mul_(2), monkeypatch)

    def silent(t: Tensor) -> Tensor:
        t._a *= 2
        return t

    for wrong in (lambda t: t * 2, lambda t: t.mul_(3), silent):
        with pytest.raises(AssertionError):
            _check_method(wrong, monkeypatch)


def test_an_out_that_is_ignored() -> None:
    @functools.wraps(lambda t: t * 2)
    def ignores(t: Tensor, out: Any = None) -> Tensor:
        return t * 2

    @functools.wraps(lambda t: t * 2)
    def returns_it_unwritten(t: Tensor, out: Any = None) -> Tensor:
        return t * 2 if out is None else out

    for wrong in (ignores, returns_it_unwritten):
        caught(checks.check_out, wrong)


def test_a_gradient_that_is_lost() -> None:
    op = opaque("planted", lambda a: a[0].copy(),
                grads=(lambda g, input_shape: wrap(np.zeros(input_shape)),))
    caught(checks.check_gradient, lambda t: apply(op, (t,), {}))
