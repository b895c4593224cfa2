"""Scans on a GPU, along rows and down columns, beside NumPy's."""

import math

import numpy as np
import pytest

from flambeau.backends.cuda_c import reduce, scans
from flambeau.backends.llvm.array_program import Scan

from .device import DTYPES


def scan_rows(device, scan, ins, shape, backward=0, of_totals=False):
    """Running totals along rows, and places of extremes; the same bits from two grids."""
    lines, columns = shape
    pieces = -(-columns // reduce.PIECE)
    outs = [(shape, DTYPES[scan.kind])] + [(shape, np.int64)] * scan.has_places
    threads = scans.threads_for(columns)
    starts = [np.zeros(1, DTYPES[scan.accumulate])] + [np.zeros(1, np.int64)] * scan.has_places
    if pieces > 1:
        left = [((lines, pieces), DTYPES[scan.accumulate])]
        left += [((lines, pieces), np.int64)] * scan.has_places
        text = scans.print_row_totals(scan, threads, of_totals)
        totals = device.run(text, (3,), threads, left, ins, *shape, backward)
        rest = scans.finishing(scan)
        starts = scan_rows(device, rest, totals, (lines, pieces), backward, True)
    text = scans.print_rows(scan, threads, of_totals)
    found = device.run(text, (2,), threads, outs, [*ins, *starts], *shape, backward)
    again = device.run(text, (50,), threads, outs, [*ins, *starts], *shape, backward)
    for one, other in zip(found, again, strict=True):
        assert one.tobytes() == other.tobytes()
    return found


def scan_columns(device, scan, ins, shape, backward=0, of_totals=False):
    """As `scan_rows`, along the middle axis of three."""
    batches, lines, columns = shape
    pieces = -(-lines // reduce.HEIGHT)
    outs = [(shape, DTYPES[scan.kind])] + [(shape, np.int64)] * scan.has_places
    starts = [np.zeros(1, DTYPES[scan.accumulate])] + [np.zeros(1, np.int64)] * scan.has_places
    if pieces > 1:
        left = [((batches, pieces, columns), DTYPES[scan.accumulate])]
        left += [((batches, pieces, columns), np.int64)] * scan.has_places
        text = scans.print_column_totals(scan, of_totals)
        totals = device.run(text, (3,), 128, left, ins, *shape, backward)
        starts = scan_columns(device, scans.finishing(scan), totals,
                              (batches, pieces, columns), backward, True)
    text = scans.print_columns(scan, of_totals)
    found = device.run(text, (2,), 64, outs, [*ins, *starts], *shape, backward)
    again = device.run(text, (9,), 256, outs, [*ins, *starts], *shape, backward)
    for one, other in zip(found, again, strict=True):
        assert one.tobytes() == other.tobytes()
    return found


def items(scan, shape):
    rng = np.random.default_rng(0)
    if scan.combine == "prod":
        return rng.choice([-1.0, 1.0, 1.0009765625, 0.9990234375], shape).astype(DTYPES[scan.kind])
    if scan.kind[0] == "i":
        return rng.integers(-100, 100, shape).astype(DTYPES[scan.kind])
    return rng.standard_normal(shape).astype(DTYPES[scan.kind])


def reference(scan, x, axis, backward):
    """Running totals in the most precise kind, and the last places of extremes."""
    if backward:
        x = np.flip(x, axis)
    function = {"sum": np.add, "prod": np.multiply, "logsum": np.logaddexp, "max": np.maximum,
                "min": np.minimum}[scan.combine]
    wide = x.astype(np.float64 if scan.accumulate in ("f32", "f64") else np.int64)
    total = function.accumulate(wide, axis)
    if not scan.has_places:
        return (np.flip(total, axis) if backward else total,)
    hits = (wide == total) | np.isnan(wide)
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    numbers = np.arange(x.shape[axis]).reshape(shape)
    places = np.maximum.accumulate(np.where(hits, numbers, 0), axis)
    if backward:
        return np.flip(total, axis), x.shape[axis] - 1 - np.flip(places, axis)
    return total, places


TOLERANCE = {"f32": 1e-4, "f64": 1e-10, "i32": 0, "i64": 0}
SCANS = [
    Scan("f32", "sum", "f64"), Scan("f32", "sum", "f32"), Scan("f64", "prod", "f64"),
    Scan("i64", "sum", "i64"), Scan("i32", "sum", "i32"), Scan("f32", "logsum", "f64"),
    Scan("f32", "max", "f32"), Scan("f64", "min", "f64"), Scan("i32", "min", "i32"),
    Scan("i64", "max", "i64"), Scan("bool", "sum", "i64"), Scan("f16", "sum", "f32"),
]
NAMES = ["-".join((scan.kind, scan.combine, scan.accumulate)) for scan in SCANS]
ROW_SHAPES = [(1, 1), (3, 7), (40, 32), (3, 129), (2, 2047), (1, 2049), (2, 5000), (2, 70_003)]
COLUMN_SHAPES = [(1, 1, 1), (2, 7, 40), (3, 256, 5), (2, 600, 33), (1, 3000, 2)]


def check(scan, found, x, axis, backward):
    if scan.kind in ("bool", "f16"):
        # what is stored is rounded, or true; the total is not
        x = x.astype(np.float32)
    wanted = reference(scan, x, axis, backward)
    tolerance = 2e-2 if scan.kind == "f16" else TOLERANCE[scan.accumulate]
    for got, want in zip(found, wanted, strict=True):
        if scan.kind == "bool":
            want = want != 0
        if scan.kind in ("f32", "f64", "f16"):
            rough = max(tolerance, 2e-7 if scan.kind == "f32" else 0)
            np.testing.assert_allclose(got.astype(np.float64), want, rough, rough * 10)
        else:
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("scan", SCANS, ids=NAMES)
@pytest.mark.parametrize("backward", [0, 1])
def test_scans_along_rows(scan, backward, device):
    for shape in ROW_SHAPES:
        x = items(scan, shape) > 0.5 if scan.kind == "bool" else items(scan, shape)
        check(scan, scan_rows(device, scan, [x], shape, backward), x, 1, backward)


@pytest.mark.parametrize("scan", SCANS, ids=NAMES)
@pytest.mark.parametrize("backward", [0, 1])
def test_scans_down_columns(scan, backward, device):
    for shape in COLUMN_SHAPES:
        x = items(scan, shape) > 0.5 if scan.kind == "bool" else items(scan, shape)
        check(scan, scan_columns(device, scan, [x], shape, backward), x, 1, backward)


@pytest.mark.parametrize("combine", ["max", "min"])
@pytest.mark.parametrize("down", [False, True])
def test_extremes_after_nan_are_nan_and_equal_ones_are_the_last(combine, down, device):
    scan = Scan("f32", combine, "f32")
    x = np.random.default_rng(1).integers(-3, 3, 70_000).astype(np.float32)
    x[0] = -math.inf if combine == "max" else math.inf
    x[40_000], x[50_000], x[60_000] = math.nan, math.nan, math.inf
    if down:
        shape = (1, x.size, 1)
        found = [part.reshape(-1) for part in scan_columns(device, scan, [x], shape)]
    else:
        found = [part.reshape(-1) for part in scan_rows(device, scan, [x], (1, x.size))]
    values, places = reference(scan, x, 0, 0)
    np.testing.assert_array_equal(found[0], values.astype(np.float32))
    np.testing.assert_array_equal(found[1], places)


def test_infinite_logarithms_stay(device):
    x = np.full((2, 300), -math.inf, np.float32)
    x[1, 5], x[1, 200] = math.inf, math.nan
    (got,) = scan_rows(device, Scan("f32", "logsum", "f64"), [x], x.shape)
    assert (got[0] == -math.inf).all() and (got[1, :5] == -math.inf).all()
    assert (got[1, 5:200] == math.inf).all() and np.isnan(got[1, 200:]).all()


@pytest.mark.parametrize("backward", [0, 1])
def test_places_of_items_that_the_combine_would_ignore(backward, device):
    x = np.full((1, 40_000), -math.inf, np.float32)
    values, places = scan_rows(device, Scan("f32", "max", "f32"), [x], x.shape, backward)
    assert (values == -math.inf).all()
    np.testing.assert_array_equal(places[0], np.arange(40_000))
