"""Convolution with channels in the lanes against the planes' way: any sizes, strides, dilation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.backends import large, threads

if large.load() is None:
    pytest.skip("there are no kernels", allow_module_level=True)

from flambeau.backends.llvm import channel_conv, conv, jit

MAPS = ("forward", "input_gradient")


def geometry(size, kernel, stride, dilation, before, after):
    axes = zip(size, kernel, stride, dilation, before, after)
    out = [(n + b + a - (k - 1) * d - 1) // s + 1 for n, k, s, d, b, a in axes]
    return conv.Geometry((1, *size), (1, *kernel), (1, *out), (1, *stride), (1, *dilation),
                         (0, *before), 1)


def check(images, channels, rows, geo, dtype="f4", seed=0):
    rng = np.random.default_rng(seed)
    x, w, g = (rng.normal(size=shape).astype(dtype) for shape in (
        (images, channels, *geo.size), (rows, channels, *geo.kernel), (images, rows, *geo.out)))
    for name, arrays in zip(MAPS, ((x, w), (g, w))):
        found = getattr(channel_conv, name)(*arrays, geo)
        want = getattr(conv, name)(*[a.astype("f8") for a in arrays], geo)
        assert found.dtype == dtype and found.shape == want.shape
        limit = (3e-6 if dtype == "f4" else 1e-14) * max(1.0, np.abs(want).max())
        assert np.abs(found - want).max() <= limit


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("case", [
    (2, 16, 24, (9, 11), (3, 3), (2, 2), (1, 1), (1, 1), (1, 1)),
    (3, 33, 17, (1, 50), (1, 3), (1, 1), (1, 4), (0, 4), (0, 4)),
    (8, 28, 13, (17, 1), (3, 1), (1, 3), (2, 1), (2, 2), (2, 2)),
    (1, 300, 20, (7, 6), (2, 3), (1, 2), (1, 1), (0, 1), (0, 2)),
    (9, 20, 40, (4, 4), (4, 4), (1, 1), (1, 1), (0, 0), (0, 0)),
    (2, 8, 70, (40, 40), (5, 5), (3, 2), (2, 1), (3, 0), (1, 4)),
    (1, 9, 16, (30, 200), (3, 3), (2, 2), (1, 1), (1, 1), (1, 1)),
    (2, 8, 8, (6, 6), (1, 1), (3, 3), (1, 1), (0, 0), (0, 0)),
], ids=str)
def test_against_planes(case, dtype):
    images, channels, rows, *sizes = case
    check(images, channels, rows, geometry(*sizes), dtype)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_sizes(data):
    draw = data.draw

    def two(least, most):
        return draw(st.tuples(*[st.integers(least, most)] * 2))

    sizes = two(1, 20), two(1, 5), two(1, 3), two(1, 2), two(0, 3), two(0, 3)
    geo = geometry(*sizes)
    if min(geo.out) > 0:
        check(*[draw(st.integers(1, most)) for most in (6, 30, 30)], geo)


@pytest.mark.parametrize("vector_bytes", [16, 64])
def test_vectors_of_other_hosts(vector_bytes, monkeypatch):
    host = jit.host()._replace(vector_bytes=vector_bytes)
    monkeypatch.setattr(jit, "host", lambda: host)
    monkeypatch.setattr(conv, "registers", lambda: 32)
    check(3, 33, 50, geometry((13, 10), (3, 5), (2, 2), (1, 1), (1, 2), (1, 2)))


def test_bias_is_where_sums_begin():
    rng = np.random.default_rng(0)
    geo = geometry((9, 9), (3, 3), (2, 2), (1, 1), (1, 1), (1, 1))
    x, w, bias = (rng.normal(size=shape).astype("f4")
                  for shape in ((2, 16, 1, 9, 9), (20, 16, 1, 3, 3), (20,)))
    found = channel_conv.forward(x, w, geo, bias)
    want = channel_conv.forward(x, w, geo) + bias[:, None, None, None]
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)


def test_results_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(0)
    geo = geometry((17, 13), (3, 3), (2, 2), (1, 1), (1, 1), (1, 1))
    x, w = (rng.normal(size=shape).astype("f4")
            for shape in ((5, 20, *geo.size), (40, 20, *geo.kernel)))
    before, founds = threads.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            founds.append(channel_conv.forward(x, w, geo))
    finally:
        threads.set_num_threads(before)
    for found in founds[1:]:
        np.testing.assert_array_equal(found, founds[0])


def test_what_it_does_not_cover():
    geo = geometry((9, 9), (3, 3), (2, 2), (1, 1), (1, 1), (1, 1))
    assert channel_conv.fits(geo, 16, 16)
    assert not channel_conv.fits(geo, 3, 16) and not channel_conv.fits(geo, 16, 3)
    assert not channel_conv.fits(geo._replace(groups=2), 16, 16)
    assert not channel_conv.fits(geo._replace(kernel=(2, 3, 3)), 16, 16)
