"""What graphs become, to the same values."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import large

pytestmark = pytest.mark.skipif(not large.available(), reason="needs llvmlite")

EXTREMES = [float("inf"), float("nan"), 0.0, -0.0, 50.0, -50.0, 3e38, -3e38, 1e-40]


def gelu(x):
    return 0.5 * x * (1 + torch.tanh(0.7978845608 * (x + 0.044715 * x * x * x)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_half_of_one_and_tanh(dtype):
    torch.manual_seed(0)
    x = torch.randn(200, 100, dtype=dtype)
    x[0, : len(EXTREMES)] = torch.tensor(EXTREMES, dtype=dtype)
    found, want = torch.compile(gelu)(x).numpy(), gelu(x).numpy()
    unit = np.finfo(want.dtype).eps
    np.testing.assert_allclose(found, want, rtol=0, atol=8 * unit)
    known = ~np.isnan(want[0, : len(EXTREMES)])
    np.testing.assert_array_equal(np.signbit(found[0, : len(EXTREMES)])[known],
                                  np.signbit(want[0, : len(EXTREMES)])[known])


@pytest.mark.parametrize("rise", [
    lambda x: x * -0.8, lambda x: 1.7e38 * x, lambda x: x * 3, lambda x: x + x, torch.sin])
def test_the_number_before_a_tanh_is_doubled(rise):
    def function(x):
        return 0.5 * x * (1 + torch.tanh(rise(x)))

    torch.manual_seed(0)
    x = torch.randn(200, 100)
    x[0, : len(EXTREMES)] = torch.tensor(EXTREMES)
    found, want = torch.compile(function)(x), function(x)
    torch.testing.assert_close(found, want, rtol=0, atol=1e-6, equal_nan=True)


def test_tanh_that_backward_needs_stays():
    torch.manual_seed(0)
    x = torch.randn(300, 50, requires_grad=True)

    @torch.compile
    def step():
        gelu(x).sum().backward()
        found, x.grad = x.grad, None
        return found

    found = step()
    gelu(x).sum().backward()
    torch.testing.assert_close(found, x.grad)


@pytest.mark.parametrize("change", [
    lambda x: 0.25 * x * (1 + torch.tanh(x)), lambda x: 0.5 * x * (2 + torch.tanh(x)),
    lambda x: (0.5 * x) * (h := 1 + torch.tanh(x)) + h, lambda x: 0.5 * x * torch.add(
        torch.tanh(x), 1, alpha=2)])
def test_what_only_looks_like_it(change):
    torch.manual_seed(0)
    x = torch.randn(200, 100)
    torch.testing.assert_close(torch.compile(change)(x), change(x), rtol=1e-5, atol=1e-6)
