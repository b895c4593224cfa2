"""Pointwise kernels over arrays of any strides."""

import numpy as np
import pytest

from flambeau.backends import fused, large
from flambeau.backends.llvm import calls, strided
from flambeau.backends.llvm.expressions import Builder

RNG = np.random.default_rng(0)
BASE = RNG.normal(size=(60, 70, 80)).astype("f4")
VIEWS = {
    "transposed": BASE.transpose(2, 1, 0),
    "swapped": BASE.transpose(1, 0, 2),
    "last swapped": BASE.transpose(0, 2, 1),
    "every second": BASE[:, :, ::2],
    "every third": BASE[:, :, 2::3],
    "every fourth, cut": BASE[1:, :, 3::4],
    "every fifth": BASE[:, :, ::5],
    "every second row": BASE[::2, ::2],
    "cut": BASE[3:, 2:, 5:77],
    "backwards": BASE[:, :, ::-1],
    "flipped": BASE[::-1, :, ::-1],
    "diagonal": BASE.reshape(-1)[: 64 * 64 * 80].reshape(64, 64, 80).diagonal(),
    "repeated": np.broadcast_to(BASE[:, :1], BASE.shape),
    "repeated last": np.broadcast_to(BASE[..., :1], BASE.shape),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views(name, monkeypatch):
    monkeypatch.setattr(large, "MIN_ITEMS", 1)
    view = VIEWS[name]
    found = large.pointwise("square", view)
    np.testing.assert_array_equal(found, np.square(view))
    found = large.pointwise("sub", view, np.ascontiguousarray(view)[::-1])
    np.testing.assert_array_equal(found, view - view[::-1])
    assert found.strides == (view - view[::-1]).strides or 0 in view.strides


@pytest.mark.parametrize(
    "shapes",
    [
        [(60, 70, 80), (70, 1)],
        [(60, 70, 80), (60, 1, 80)],
        [(60, 70, 80), (60, 1, 1)],
        [(1, 70, 80), (60, 1, 80)],
        [(7, 6, 5, 4, 3, 64), (6, 1, 4, 1, 64)],
        [(300, 200), (1,)],
        [(4, 1, 5000), (3, 1)],
    ],
)
def test_operands_that_broadcast(shapes, monkeypatch):
    monkeypatch.setattr(large, "MIN_ITEMS", 1)
    arrays = [RNG.normal(size=shape) for shape in shapes]
    for pair in (arrays, arrays[::-1]):
        found = large.pointwise("sub", *pair)
        np.testing.assert_array_equal(found, pair[0] - pair[1])
        found = large.pointwise("lt", *pair)
        assert found.dtype == bool
        np.testing.assert_array_equal(found, pair[0] < pair[1])


@pytest.mark.parametrize("dtype", ["f8", "i4", "i8"])
def test_other_dtypes(dtype):
    x = np.arange(300 * 400).astype(dtype).reshape(300, 400)
    np.testing.assert_array_equal(large.pointwise("sub", x.T, 3), x.T - 3)


def test_results_keep_the_order_of_the_first_operand_s_axes():
    x = np.ones((8, 60, 9, 70), "f4").transpose(0, 3, 1, 2)
    assert large.pointwise("add", x, x).strides == (x + x).strides == x.strides
    plain = np.ones(x.shape, "f4")
    assert large.pointwise("add", x, plain).strides == x.strides
    assert large.pointwise("add", plain, x).flags.c_contiguous


def test_formulas_of_views():
    x = RNG.normal(size=(300, 200)).astype("f4").T
    column = np.ones((200, 1), "f4") * 3
    found = fused.pointwise(lambda on, x, c, k: x * on.abs(c) + k, (x, column, 0.5))
    np.testing.assert_allclose(found, x * 3 + np.float32(0.5), rtol=1e-6)


def test_rows_too_short_and_strides_of_parts_of_items_are_refused():
    x = np.ones((30000, 2), "f4")
    assert large.pointwise("add", x, x[:, :1]) is None
    fields = np.zeros(50000, [("a", "u1"), ("b", "f4")])["b"]
    assert large.pointwise("neg", fields) is None


def test_dimensions_that_go_together_are_merged():
    assert strided.collapse((2, 3, 4), [(12, 4, 1)]) == ((24,), [(1,)])
    assert strided.collapse((2, 1, 4), [(4, 77, 1), (0, 5, 1)]) == ((2, 4), [(4, 1), (0, 1)])
    assert strided.collapse((5, 1), [(3, 9)]) == ((5,), [(3,)])
    assert strided.collapse((1,), [(0,)]) == ((1,), [(0,)])
    assert strided.collapse((3, 4), [(0, 0)]) == ((12,), [(0,)])


def test_several_outputs_and_kinds():
    b = Builder()
    x, flag = b.input("f32"), b.input("bool")
    program = b.pointwise(b.on.where(flag, x, 0.0), (x > 0), x.cast("f64"))
    x, flag = BASE.transpose(2, 1, 0), BASE.transpose(2, 1, 0)[:, ::-1] > 0
    outs = [np.empty(x.shape, d) for d in ("f4", "?", "f8")]
    assert strided.run(program, outs, (x, flag))
    np.testing.assert_array_equal(outs[0], np.where(flag, x, 0))
    np.testing.assert_array_equal(outs[1], x > 0)
    np.testing.assert_array_equal(outs[2], x)


def test_half_kinds_are_gathered_too():
    b = Builder()
    program = b.pointwise((b.input("f16").cast("f32") * 2.0).cast("f16"))
    x = RNG.normal(size=(100, 120)).astype("f2").T
    out = np.empty(x.shape, "f2")
    assert strided.run(program, (out,), (x,))
    np.testing.assert_array_equal(out, x * 2)


def test_empty_arrays():
    b = Builder()
    program = b.pointwise(-b.input("f32"))
    assert strided.run(program, (np.empty((0, 3), "f4"),), (np.empty((0, 3), "f4"),))


def test_kernels_compile_when_first_run():
    b = Builder()
    kernel = calls.PointwiseKernel(b.pointwise(b.input("f32") + 123.0))
    assert "address" not in vars(kernel)
    kernel.run((np.empty(3, "f4"),), (np.ones(3, "f4"),))
    assert "address" in vars(kernel)


def test_operands_of_no_or_one_item(monkeypatch):
    monkeypatch.setattr(large, "MIN_ITEMS", 0)
    for shapes in ([(0, 3), (1, 3)], [(1, 0, 3), (3,)], [(1, 1), (1,)]):
        arrays = [np.ones(shape, "f4") for shape in shapes]
        found = large.pointwise("add", *arrays)
        assert found is None or found.shape == (arrays[0] + arrays[1]).shape
