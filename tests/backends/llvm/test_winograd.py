"""Winograd's convolution against the definition: any sizes, padding, channels; what it refuses."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.backends import conv_kernels, large, threads
from flambeau.backends.numpy import conv as plain

if large.load() is None:
    pytest.skip("there are no kernels", allow_module_level=True)

from flambeau.backends.llvm import conv, conv_ways, jit, measured, winograd

MAPS = ("forward", "input_gradient", "weight_gradient")


def geometry(size, before, after):
    out = [n + b + a - 2 for n, b, a in zip(size, before, after)]
    return conv.Geometry((1, *size), (1, 3, 3), (1, *out), (1, 1, 1), (1, 1, 1), (0, *before), 1)


def operands(images, channels, rows, geo, dtype="f4", seed=0):
    """For each map the arguments."""
    rng = np.random.default_rng(seed)
    x, w, g = (rng.normal(size=shape).astype(dtype) for shape in (
        (images, channels, *geo.size), (rows, channels, 1, 3, 3), (images, rows, *geo.out)))
    return {"forward": (x, w, geo), "input_gradient": (g, w, geo), "weight_gradient": (g, x, geo)}


def in_double(arguments):
    return [a.astype("f8") if isinstance(a, np.ndarray) else a for a in arguments]


CASES = [
    (2, 16, 24, (9, 11), (1, 1), (1, 1)),
    (1, 8, 16, (26, 26), (0, 0), (0, 0)),
    (3, 33, 17, (7, 5), (1, 1), (1, 1)),
    (2, 3, 5, (4, 4), (1, 1), (1, 1)),
    (1, 40, 50, (13, 24), (2, 1), (1, 2)),
    (2, 16, 8, (5, 4), (0, 0), (0, 0)),
    (1, 20, 9, (1, 1), (1, 1), (1, 1)),
    (2, 32, 40, (30, 9), (0, 2), (2, 0)),
    (9, 64, 64, (8, 8), (1, 1), (1, 1)),
    (1, 4, 4, (1, 70), (2, 0), (1, 0)),
    (11, 70, 130, (7, 7), (1, 1), (1, 1)),
    (1, 24, 80, (14, 14), (1, 1), (1, 1)),
]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_against_the_definition(case, dtype):
    images, channels, rows, *sizes = case
    for name, arguments in operands(images, channels, rows, geometry(*sizes), dtype).items():
        found = getattr(winograd, name)(*arguments)
        want = getattr(conv, name)(*in_double(arguments))
        assert found is not None and found.dtype == dtype and found.shape == want.shape
        scale = np.abs(want).max()
        assert np.abs(found - want).max() <= (2e-6 if dtype == "f4" else 1e-14) * scale


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_sizes(data):
    draw = data.draw
    size = draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    pads = st.tuples(st.integers(0, 2), st.integers(0, 2))
    before, after = draw(pads), draw(pads)
    geo = geometry(size, before, after)
    if min(geo.out) < 1:
        return
    images, channels, rows = (draw(st.integers(1, most)) for most in (3, 40, 40))
    name = draw(st.sampled_from(MAPS))
    arguments = operands(images, channels, rows, geo, seed=draw(st.integers(0, 99)))[name]
    found = getattr(winograd, name)(*arguments)
    want = getattr(conv, name)(*in_double(arguments))
    # a block of very few items may well have one that is much larger than the others' mean
    if found is not None:
        np.testing.assert_allclose(found, want, atol=3e-6 * np.abs(want).max(), rtol=1e-5)


def test_sums_are_as_good_as_the_definitions():
    for name, arguments in operands(2, 64, 64, geometry((32, 32), (1, 1), (1, 1))).items():
        want = getattr(conv, name)(*in_double(arguments))
        errors = [np.abs(getattr(way, name)(*arguments) - want).max() for way in (winograd, conv)]
        assert errors[0] <= 1.5 * errors[1]


@pytest.mark.parametrize("vector_bytes", [16, 64])
def test_vectors_of_other_hosts(vector_bytes, monkeypatch):
    host = jit.host()._replace(vector_bytes=vector_bytes)
    monkeypatch.setattr(jit, "host", lambda: host)
    monkeypatch.setattr(conv, "registers", lambda: 32)
    for name, arguments in operands(3, 33, 50, geometry((13, 10), (1, 1), (1, 1))).items():
        want = getattr(conv, name)(*in_double(arguments))
        found = getattr(winograd, name)(*arguments)
        assert np.abs(found - want).max() <= 2e-6 * np.abs(want).max()


def test_bias():
    x, w, geo = operands(2, 16, 20, geometry((6, 7), (1, 1), (1, 1)))["forward"]
    bias = np.arange(20, dtype="f4")
    found = winograd.forward(x, w, geo, bias)
    want = winograd.forward(x, w, geo) + bias[:, None, None, None]
    np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("item", [np.nan, np.inf, -np.inf, 3e38])
def test_what_is_not_finite_is_felt_in_its_windows_only(name, item):
    first, second, geo = operands(3, 16, 16, geometry((12, 9), (1, 1), (1, 1)))[name]
    first[1, 3, 0, 5, 5] = item
    assert getattr(winograd, name)(first, second, geo) is None
    found = getattr(conv_ways, name)(first, second, geo)
    want = getattr(conv, name)(first, second, geo)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(want))
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MAPS[:2])
@pytest.mark.parametrize("place", [(0, 0), (11, 8), (5, 5)])
def test_what_is_far_larger_than_the_rest_is_felt_in_its_windows_only(name, place):
    first, second, geo = operands(3, 16, 16, geometry((12, 9), (1, 1), (1, 1)))[name]
    first[1, 3, 0, *place] = 1e9
    found = getattr(conv_ways, name)(first, second, geo)
    want = getattr(conv, name)(first, second, geo)
    np.testing.assert_array_equal(np.isfinite(found), np.isfinite(want))
    np.testing.assert_allclose(found, want, rtol=1e-4, atol=1e-4)


def test_nothing_but_zeros():
    x, w, geo = operands(2, 16, 16, geometry((12, 9), (1, 1), (1, 1)))["forward"]
    assert not winograd.forward(np.zeros_like(x), w, geo).any()


def test_results_do_not_depend_on_the_number_of_threads():
    before = threads.get_num_threads()
    every = operands(5, 20, 24, geometry((17, 13), (1, 1), (1, 1)))
    founds = []
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            founds.append([getattr(winograd, name)(*every[name]) for name in MAPS])
    finally:
        threads.set_num_threads(before)
    for found in founds[1:]:
        for array, first in zip(found, founds[0]):
            np.testing.assert_array_equal(array, first)


@pytest.mark.parametrize("change", [
    {"kernel": (1, 5, 5)}, {"kernel": (3, 3, 3)}, {"stride": (1, 2, 1)}, {"dilation": (1, 1, 2)},
    {"groups": 2}, {"before": (0, 3, 1)}, {"out": (1, 4, 7)}, {"size": (2, 6, 7)},
])
def test_what_is_no_3x3_window_side_by_side_is_left_to_the_definition(change):
    geo = geometry((6, 7), (1, 1), (1, 1))
    assert winograd.fits(geo, 8, 32, 32)
    assert not winograd.fits(geo._replace(**change), 8, 32, 32)


def test_few_channels_or_tiles_are_left_to_the_definition():
    geo = geometry((6, 7), (1, 1), (1, 1))
    assert winograd.fits(geo, 1, 64, 64)
    assert not winograd.fits(geo, 8, 3, 64) and not winograd.fits(geo, 8, 64, 1)
    assert not winograd.fits(geometry((4, 4), (1, 1), (1, 1)), 1, 64, 64)


def test_the_way_is_measured_after_a_few_uses(monkeypatch):
    geo = geometry((10, 10), (1, 1), (1, 1))
    arguments = operands(3, 16, 16, geo)["forward"]
    asked, runs = [], []

    def fastest(question, ways):
        asked.append((question, sorted(ways)))
        for way in ways.values():
            way()
        return "planes"

    monkeypatch.setattr(measured, "fastest", fastest)
    monkeypatch.setattr(measured, "known", lambda question: "planes" if asked else None)
    monkeypatch.setattr(conv_ways, "_uses", type(conv_ways._uses)())
    original = conv.forward
    monkeypatch.setattr(conv, "forward", lambda *a: runs.append(1) or original(*a))
    for _ in range(conv_ways.PATIENCE):
        conv_ways.forward(*arguments)
    assert not asked and not runs
    for _ in range(2):
        np.testing.assert_array_equal(conv_ways.forward(*arguments), original(*arguments))
    assert len(asked) == 1 and len(runs) == 3
    assert asked[0][1] == ["channels", "planes", "winograd"]


def test_convolutions_of_tensors_take_it(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 16, 20, 20)).astype("f4")
    w = rng.normal(size=(24, 16, 3, 3)).astype("f4")
    called = []
    original = winograd.forward
    monkeypatch.setattr(winograd, "forward", lambda *a: called.append(1) or original(*a))
    monkeypatch.setattr(measured, "known", lambda question: "winograd")
    monkeypatch.setattr(conv_kernels, "MIN_WORK", 0)
    bias = rng.normal(size=24).astype("f4")
    found = conv_kernels.conv_nd(x, w, padding=1, bias=bias)
    want = plain.conv_nd(x.astype("f8"), w.astype("f8"), padding=1) + bias[:, None, None]
    np.testing.assert_allclose(found, want, atol=1e-4)
    assert called
