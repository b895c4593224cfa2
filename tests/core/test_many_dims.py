"""Tensors of more dimensions than NumPy's arrays can have."""

from __future__ import annotations

import pytest

import flambeau

MANY = (1,) * 65 + (2, 3)


def test_they_change_shape_and_back() -> None:
    x = flambeau.arange(6.0).requires_grad_()
    y = x.reshape(MANY)
    assert tuple(y.shape) == MANY and y.ndim == 67 and y.numel() == 6 and y.requires_grad
    z = y.squeeze() * 2
    assert z.tolist() == [[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]]
    z.sum().backward()
    assert x.grad.tolist() == [2.0] * 6
    assert y.detach().flatten().tolist() == x.tolist()
    assert flambeau.ones(1).reshape((1,) * 65).item() == 1.0


@pytest.mark.parametrize("call", ["amax", "aminmax", "sum", "exp", "argmin"])
def test_what_needs_an_array_is_refused(call: str) -> None:
    x = flambeau.ones(6).reshape(MANY)
    with pytest.raises(RuntimeError, match="only tensors with up to 64 dims are supported"):
        getattr(flambeau, call)(x)
    with pytest.raises(ValueError, match="number of dimensions"):
        x.numpy()
    assert "size=(1, 1," in repr(x)
