"""Choices by measurement: the first way unless another is clearly faster; kept for later."""

import time

import numpy as np
import pytest

from flambeau.backends import products
from flambeau.backends.llvm import gemm, measured


@pytest.fixture(autouse=True)
def no_memory(monkeypatch, tmp_path):
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(measured, "_known", {})


def ways(first, second):
    return {"first": lambda: time.sleep(first), "second": lambda: time.sleep(second)}


def test_the_clearly_faster_way_is_taken():
    assert measured.fastest("a", ways(0.02, 0.002)) == "second"
    assert measured.fastest("b", ways(0.002, 0.02)) == "first"
    same = {"first": lambda: None, "second": lambda: time.sleep(0.001)}
    assert measured.fastest("c", same) == "first"


def test_an_answer_is_kept_by_the_process_and_on_disk(monkeypatch):
    assert measured.fastest("a", ways(0.02, 0.001)) == "second"
    assert measured.fastest("a", ways(0.001, 0.02)) == "second"
    monkeypatch.setattr(measured, "_known", {})
    assert measured.fastest("a", ways(0.001, 0.02)) == "second"
    monkeypatch.setattr(measured, "_known", {})
    assert measured.fastest("a", {"third": lambda: None}) == "third"


@pytest.mark.parametrize("way", ["blas", "generated"])
@pytest.mark.parametrize("turned", [False, True])
def test_products_are_right_either_way(way, turned, monkeypatch):
    taken = []
    monkeypatch.setattr(measured, "fastest", lambda question, ways: taken.append(way) or way)
    rng = np.random.default_rng(0)
    for shapes in (((130, 120), (120, 140)), ((6, 70, 65), (6, 65, 90)),
                   ((2, 3, 70, 65), (2, 3, 65, 90))):
        a, b = (rng.normal(size=shape).astype("f4") for shape in shapes)
        if turned:
            b = np.ascontiguousarray(b.swapaxes(-1, -2)).swapaxes(-1, -2)
        found = products.matmul(a, b)
        np.testing.assert_allclose(found, a.astype("f8") @ b, rtol=1e-4, atol=1e-4)
    assert taken in ([], [way] * 3)


def test_large_products_are_not_measured(monkeypatch):
    monkeypatch.setattr(gemm, "multiply", None)
    a = np.ones((512, 512), "f4")
    assert (products.matmul(a, a) == 512).all()
