"""Rules of the elementwise operators that samples do not show: errors, zeros, flat slopes."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends.numpy import special


@pytest.mark.parametrize("divide", [
    lambda x: x // 0, lambda x: x % 0, lambda x: torch.fmod(x, 0),
    lambda x: torch.div(x, 0, rounding_mode="trunc")])
def test_integers_divided_by_zero_raise(divide) -> None:
    with pytest.raises(RuntimeError, match="^ZeroDivisionError"):
        divide(torch.tensor([1, 2]))


def test_a_number_as_negative_exponent_of_integers_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Integers to negative integer powers are not allowed."):
        torch.tensor([1, 2]) ** -1


def test_integers_to_a_tensor_of_negative_powers() -> None:
    base, exponent = torch.tensor([2, 1, -1, -1]), torch.tensor([-1, -3, -3, -2])
    assert (base ** exponent).tolist() == [0, 1, -1, 1]


@pytest.mark.parametrize("subtract", [lambda b: b - b, lambda b: b - 1, lambda b: 1 - b])
def test_bools_are_not_subtracted(subtract) -> None:
    with pytest.raises(RuntimeError, match="^Subtraction, the `-` operator"):
        subtract(torch.tensor([True, False]))


def test_a_negative_zero_is_not_taken_for_zero() -> None:
    x = torch.tensor([1.0])
    assert (x / 0.0).item() == math.inf
    assert (x / -0.0).item() == -math.inf
    assert (x / 0).item() == math.inf


def test_numbers_stand_only_where_pytorch_takes_them() -> None:
    x = torch.tensor([1.0])
    with pytest.raises(TypeError, match=r"maximum\(\): argument 'other' \(position 2\)"):
        torch.maximum(x, 2.0)
    with pytest.raises(TypeError, match=r"eq\(\) received an invalid combination"):
        torch.eq(2.0, x)
    assert torch.add(3, 4).item() == 7


def test_operators_leave_strangers_to_python() -> None:
    x = torch.tensor([1.0])
    assert (x == "a") is False
    assert (x != None) is True  # noqa: E711
    with pytest.raises(TypeError, match="unsupported operand type"):
        x + "a"


def test_the_slope_of_a_flat_function_is_zero_under_an_infinite_gradient() -> None:
    x = torch.tensor([0.3], requires_grad=True)
    x.floor().backward(torch.tensor([math.inf]))
    assert x.grad.item() == 0


def test_ties_share_the_gradient_of_a_maximum() -> None:
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    b = torch.tensor([1.0, 1.0], requires_grad=True)
    torch.maximum(a, b).sum().backward()
    assert a.grad.tolist() == [0.5, 1.0]
    assert b.grad.tolist() == [0.5, 0.0]


def test_in_place_without_history_writes_into_the_same_memory() -> None:
    x = torch.tensor([1.0, 2.0])
    view = x.view(2)
    x += 1
    x.mul_(2.0)
    x.sub_(1.0, alpha=2)
    assert view.tolist() == [2.0, 4.0]
    assert x._version == view._version == 3


def test_in_place_of_a_saved_tensor_is_noticed() -> None:
    x = torch.tensor([1.0], requires_grad=True)
    y = torch.tensor([2.0])
    z = x * y
    y.add_(1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.backward()


def test_masked_fill_keeps_the_dtype() -> None:
    x = torch.tensor([1, 2])
    assert x.masked_fill(torch.tensor([True, False]), 1.5).tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="masked_fill_ only supports boolean masks"):
        x.masked_fill(x, 0)


@pytest.mark.parametrize("name", sorted(special._OWN))
def test_own_special_functions_agree_with_scipy(name: str) -> None:
    scipy_special = pytest.importorskip("scipy.special")
    x = np.linspace(-0.99, 0.99, 41) if name == "erfinv" else np.linspace(-4.95, 30, 60)
    np.testing.assert_allclose(special._OWN[name](x), getattr(scipy_special, name)(x),
                               rtol=1e-13, atol=1e-14)


def test_own_inverse_error_function_at_its_ends() -> None:
    found = special._OWN["erfinv"](np.array([1.0, -1.0, 1.5, 1 - 1e-12]))
    assert found[0] == math.inf and found[1] == -math.inf and math.isnan(found[2])
    assert math.isclose(math.erfc(found[3]), 1e-12, rel_tol=1e-4)
