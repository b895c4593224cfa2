"""Orders of large arrays, and the first few items of their rows, beside NumPy."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import large, sort_kernels

SHAPES = [((300, 201), 1), ((300, 201), 0), ((20, 70, 128), 1), ((40_000,), 0), ((3, 70, 500), -1)]


def items(shape, dtype, kind):
    """Numbers far apart, many equal ones, or all that is special of a dtype."""
    rng = np.random.default_rng(0)
    a = (rng.standard_normal(shape) * (1e5 if kind == "apart" else 3)).astype(dtype)
    if kind == "special" and a.dtype.kind == "i":
        info = np.iinfo(a.dtype)
        return rng.integers(info.min, info.max, shape, a.dtype, endpoint=True)
    if kind == "special":
        flat = a.reshape(-1)
        for x in (np.nan, -np.nan, -0.0, 0.0, np.inf, -np.inf, 1e-42):
            flat[rng.integers(0, flat.size, 300)] = x
    return a


def stable_order(a, dim, descending):
    if not descending:
        return np.argsort(a, axis=dim, kind="stable")
    back = np.argsort(np.flip(a, dim), axis=dim, kind="stable")
    return a.shape[dim] - 1 - np.flip(back, dim)


@pytest.mark.skipif(not large.available(), reason="no generated kernels here")
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("kind", ["apart", "equal", "special"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize(("shape", "dim"), SHAPES)
def test_orders_and_their_beginnings(shape, dim, dtype, kind, descending):
    a = items(shape, dtype, kind)
    want = stable_order(a, dim, descending)
    found = sort_kernels.order(a, dim, descending)
    if a.shape[dim] < sort_kernels.LEAST:
        assert found is None
        return
    values, places = found
    np.testing.assert_array_equal(places, want)
    bits = np.int32 if a.itemsize == 4 else np.int64
    np.testing.assert_array_equal(values.view(bits), np.take_along_axis(a, want, dim).view(bits))
    for k in (1, 5, 64):
        found = sort_kernels.first(a, dim, k, descending)
        assert (found is None) == (k * sort_kernels.LONGER > a.shape[dim])
        if found is not None:
            np.testing.assert_array_equal(found[1], np.take(want, range(k), dim))
            np.testing.assert_array_equal(found[0], np.take_along_axis(a, found[1], dim))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.int64])
def test_sorting_tensors(dtype):
    t = torch.tensor(np.random.default_rng(1).standard_normal((200, 300)) * 9).to(dtype)
    a = t.double().numpy()
    for dim in (0, 1):
        values, places = t.sort(dim)
        assert values.dtype is dtype and values.is_contiguous() and places.is_contiguous()
        np.testing.assert_array_equal(places.numpy(), stable_order(a, dim, False))
        np.testing.assert_array_equal(values.double().numpy(), np.sort(a, dim))
        for k in (3, 150):
            top = t.topk(k, dim)
            np.testing.assert_array_equal(top[0].double().numpy(), np.flip(
                np.sort(a, dim), dim).take(range(k), dim))
            assert torch.equal(t.gather(dim, top[1]), top[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("count", [1, 2, 7, 40_001])
def test_medians_of_all(dtype, count):
    t = torch.tensor(np.random.default_rng(2).standard_normal(count) * 100).to(dtype)
    want = np.sort(t.double().numpy())[(count - 1) // 2]
    assert t.median().item() == t.nanmedian().item() == want and t.median().dtype is dtype
    if dtype.is_floating_point:
        t[count // 2] = float("nan")
        assert np.isnan(t.median().item())
        kept = np.sort(t.double().numpy())[:count - 1]
        found = t.nanmedian().item()
        assert np.isnan(found) if count == 1 else found == kept[(count - 2) // 2]


@pytest.mark.skipif(not large.available(), reason="no generated kernels here")
@pytest.mark.parametrize("right", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 1000, 1023])
def test_searches_are_numpy_s(count, dtype, right):
    rng = np.random.default_rng(count)
    edges = np.sort((rng.random(count) * 200 - 50).astype(dtype))
    values = (rng.random(40_003) * 300 - 100).astype(dtype)
    values[: min(count, 20)] = edges[:20]
    if np.dtype(dtype).kind == "f":
        values[-4:] = [np.nan, np.inf, -np.inf, -0.0]
    found = sort_kernels.search(edges, values, right)
    np.testing.assert_array_equal(
        found, np.searchsorted(edges, values, "right" if right else "left"))


@pytest.mark.skipif(not large.available(), reason="no generated kernels here")
def test_searches_in_a_row_of_edges_for_each_row_of_values():
    rng = np.random.default_rng(0)
    edges, values = np.sort(rng.random((5, 4, 33)), -1), rng.random((5, 4, 2001))
    for e, v in ((edges, values), (edges.transpose(1, 0, 2), values.transpose(1, 0, 2))):
        found = sort_kernels.search(e, v, False)
        for row in np.ndindex(v.shape[:2]):
            np.testing.assert_array_equal(found[row], np.searchsorted(e[row], v[row]))


def test_searches_that_are_not_covered():
    values = np.zeros(40_000, np.float32)
    for edges in (np.zeros(3), np.zeros(0, np.float32), np.zeros(3, ">f4")):
        assert sort_kernels.search(edges, values, False) is None
