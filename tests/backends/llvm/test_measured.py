"""Choices by measurement: the first way unless another is clearly faster; kept for later."""

import time

import numpy as np
import pytest

from flambeau.backends import product_choice, products
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


def products_of(turned):
    rng = np.random.default_rng(0)
    for shapes in (((130, 120), (120, 140)), ((6, 70, 65), (6, 65, 90)),
                   ((2, 3, 70, 65), (2, 3, 65, 90))):
        a, b = (rng.normal(size=shape).astype("f4") for shape in shapes)
        if turned:
            b = np.ascontiguousarray(b.swapaxes(-1, -2)).swapaxes(-1, -2)
        yield a, b


@pytest.mark.parametrize("way", ["blas", "generated"])
@pytest.mark.parametrize("turned", [False, True])
def test_products_are_right_either_way(way, turned, monkeypatch):
    monkeypatch.setattr(products, "_plans", {})
    monkeypatch.setattr(measured, "known", lambda question: way)
    for a, b in products_of(turned):
        found = products.matmul(a, b)
        np.testing.assert_allclose(found, a.astype("f8") @ b, rtol=1e-4, atol=1e-4)


def test_products_are_measured_when_they_were_asked_for_a_few_times(monkeypatch):
    monkeypatch.setattr(products, "_plans", {})
    monkeypatch.setattr(products, "_asked", {})
    asked = []
    monkeypatch.setattr(measured, "fastest", lambda question, ways: asked.append(question))
    a, b = next(products_of(False))
    for _ in range(products.PATIENCE - 1):
        products.matmul(a, b)
    assert not asked
    products.matmul(a, b)
    assert len(asked) == 1


def test_trials_run_both_ways_and_keep_the_answer():
    layout = gemm.layout_of(np.ones((3, 40, 30), "f4"), np.ones((3, 20, 30), "f4").swapaxes(1, 2))
    question = product_choice.question(layout)
    answer = product_choice.measure(question, layout)
    assert answer in ("blas", "generated") and measured.known(question) == answer
    assert product_choice.is_generated(layout) == (answer == "generated")


def test_large_products_are_not_measured(monkeypatch):
    monkeypatch.setattr(product_choice, "MOST", 1 << 20)
    monkeypatch.setattr(product_choice, "measure", None)
    a = np.ones((512, 512), "f4")
    for _ in range(products.PATIENCE + 1):
        assert (products.matmul(a, a) == 512).all()
