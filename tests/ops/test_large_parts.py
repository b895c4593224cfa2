"""Parts of large tensors written, joined, padded and put back, beside NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import conversions

PARTS = {
    "columns": np.s_[:, :150], "rows": np.s_[20:], "inner": np.s_[1:-1, 3:-5],
    "every second row": np.s_[::2], "every second column": np.s_[:, ::2],
    "backward": np.s_[::-1, 5:], "backward columns": np.s_[:, ::-1],
}


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "?", "f2", "u1", "c8"])
@pytest.mark.parametrize("name", PARTS)
def test_writes_into_parts(name, dtype):
    rng = np.random.default_rng(0)
    whole = (rng.normal(size=(300, 400)) * 9).astype(dtype)
    want = whole.copy()
    part = whole[PARTS[name]]
    for values in ((rng.normal(size=part.shape) * 9).astype(dtype),
                   (rng.normal(size=part.shape[1:]) * 9).astype(dtype),
                   (rng.normal(size=(part.shape[0], 1)) * 9).astype(dtype), 1):
        if not conversions.write(part, values):
            part[...] = values
        want[PARTS[name]] = values
        np.testing.assert_array_equal(whole, want)


def test_writes_into_three_dimensions_and_itself():
    base = np.random.default_rng(1).normal(size=(40, 50, 60)).astype("f4")
    whole, want = base.copy(), base.copy()
    values = np.random.default_rng(2).normal(size=(36, 50, 56)).astype("f4")
    if not conversions.write(whole[3:-1, :, 2:-2], values):
        whole[3:-1, :, 2:-2] = values
    want[3:-1, :, 2:-2] = values
    np.testing.assert_array_equal(whole, want)
    t = torch.tensor(base)
    t[1:] = t[:-1]
    np.testing.assert_array_equal(t.numpy()[1:], base[:-1])


@pytest.mark.parametrize("dim", [0, 1, 2])
def test_joined(dim):
    rng = np.random.default_rng(3)
    arrays = [rng.normal(size=[70 + n * (axis == dim) for axis in range(3)]).astype("f4")
              for n in (0, 3, 11)]
    arrays[1] = np.swapaxes(np.ascontiguousarray(np.swapaxes(arrays[1], 0, 2)), 0, 2)
    found = torch.cat([torch.tensor(a) if a.flags.c_contiguous else torch.from_numpy(a)
                       for a in arrays], dim)
    np.testing.assert_array_equal(found.numpy(), np.concatenate(arrays, dim))
    assert found.is_contiguous()
    with pytest.raises(RuntimeError):
        torch.cat([torch.zeros(200, 200), torch.zeros(201, 201)], 0)


@pytest.mark.parametrize("value", [0.0, 2.5])
def test_padded(value):
    a = np.random.default_rng(4).normal(size=(200, 301)).astype("f4")
    found = torch.nn.functional.pad(torch.tensor(a), (1, 2, 3, -4), value=value)
    want = np.pad(a[:-4], ((3, 0), (1, 2)), constant_values=value)
    np.testing.assert_array_equal(found.numpy(), want)


def test_gradients_of_parts():
    a = torch.randn(300, 400, requires_grad=True)
    weights = torch.randn(300, 400)
    (a[:, 1:] * weights[:, 1:] - a[:, :-1] * 2).sum().backward()
    want = np.zeros((300, 400), "f4")
    want[:, 1:] = weights.numpy()[:, 1:]
    want[:, :-1] += -2
    np.testing.assert_allclose(a.grad.numpy(), want, rtol=1e-6)
    b = torch.randn(300, 400, requires_grad=True)
    (b.t().contiguous() * 2).sum().backward()
    assert b.grad.is_contiguous() and (b.grad == 2).all()
