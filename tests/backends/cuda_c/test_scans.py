import re

import pytest

from flambeau.backends.cuda_c import scans
from flambeau.backends.llvm.array_program import Scan

SUM, LARGEST = Scan("f32", "sum", "f64"), Scan("f32", "max", "f32")


@pytest.mark.parametrize("scan", [
    SUM, LARGEST, Scan("f64", "logsum", "f64"), Scan("i64", "min", "i64"),
    Scan("bf16", "sum", "f32"), Scan("bool", "sum", "i64"), Scan("f32", "prod", "f32"),
], ids=str)
def test_scans_and_totals_compile_along_rows_and_down_columns(scan, ptx):
    rows = ptx(scans.print_rows(scan)), ptx(scans.print_row_totals(scan, 64))
    columns = ptx(scans.print_columns(scan)), ptx(scans.print_column_totals(scan))
    assert "bar.sync" in rows[0] and ".maxntid 256" in rows[0] and ".maxntid 64" in rows[1]
    for text in columns:
        assert "bar.sync" not in text and ".shared" not in text
    for text in (*rows, *columns):
        assert "atom" not in text and "red.global" not in text


@pytest.mark.parametrize("scan", [SUM, LARGEST], ids=str)
def test_totals_are_scanned_with_their_own_places(scan, ptx):
    rest = scans.finishing(scan)
    assert rest.kind == rest.accumulate == scan.accumulate
    for text in (scans.print_rows(rest, 32, True), scans.print_columns(rest, True)):
        assert ptx(text)
        starts = re.findall(r"State\{in(\d)\[start\]", text)
        assert starts == (["2"] if scan.has_places else ["1"])
        assert ("in1[base" in text or "in1[i]" in text) == scan.has_places


def test_the_grid_chooses_no_sum():
    assert scans.print_rows(SUM).count("gridDim") == 1
    assert "unit += gridDim.x" in scans.print_rows(SUM)
    assert scans.print_columns(SUM).count("gridDim") == 1


def test_blocks_fit_their_rows():
    assert [scans.threads_for(columns) for columns in (1, 128, 129, 1000, 10**6)] \
        == [32, 32, 64, 256, 256]


@pytest.mark.parametrize("kinds", [
    ("f32", "sum", "bool"), ("f32", "sum", "f16"), ("i64", "logsum", "i64"), ("f32", "mean", "f32"),
    ("f80", "sum", "f64"),
])
def test_scans_that_cannot_be_are_refused(kinds):
    with pytest.raises(ValueError):
        Scan(*kinds)
