import numpy as np
import pytest

from flambeau.backends.llvm import calls, printer, scalars
from flambeau.backends.llvm.program import INSTRUCTIONS, Input, Pointwise, Reduction, Step

GELU = Pointwise(
    (Input("f32"),),
    (
        Step("const", (), 0.5**0.5, "f32"),
        Step("mul", (0, 1)),
        Step("erf", (2,)),
        Step("const", (), 1.0, "f32"),
        Step("add", (3, 4)),
        Step("mul", (0, 5)),
        Step("const", (), 0.5, "f32"),
        Step("mul", (6, 7)),
    ),
    (8,),
)


def test_the_table_has_every_instruction_and_no_other():
    assert set(scalars.TABLE) == set(INSTRUCTIONS)


def test_a_program_of_several_steps_runs_as_one_kernel():
    x = np.linspace(-5, 5, 1003, dtype=np.float32)
    out = np.empty_like(x)
    calls.pointwise_kernel(GELU).run((out,), (x,))
    from math import erf

    want = [0.5 * v * (1 + erf(v / 2**0.5)) for v in x.tolist()]
    np.testing.assert_allclose(out, want, rtol=1e-5, atol=1e-7)


def test_a_program_may_store_several_outputs_of_several_kinds():
    steps = (Step("gt", (0, 1)), Step("select", (2, 0, 1)), Step("cast", (0,), None, "f64"))
    program = Pointwise((Input("f32"), Input("f32", "scalar")), steps, (2, 3, 4))
    x = np.arange(37, dtype=np.float32)
    outs = (np.empty(37, bool), np.empty(37, np.float32), np.empty(37, np.float64))
    calls.pointwise_kernel(program).run(outs, (x, np.array(20, np.float32)))
    np.testing.assert_array_equal(outs[0], x > 20)
    np.testing.assert_array_equal(outs[1], np.maximum(x, 20))
    np.testing.assert_array_equal(outs[2], x)


@pytest.mark.parametrize(
    "steps",
    [
        (Step("nothing", (0,)),),
        (Step("add", (0,)),),
        (Step("add", (0, 5)),),
        (Step("add", (0, 1)),),
        (Step("exp", (1,)),),
        (Step("select", (0, 0, 0)),),
        (Step("const", (), 1.0, "f16"),),
    ],
)
def test_steps_that_do_not_fit_are_refused(steps):
    with pytest.raises(ValueError):
        Pointwise((Input("f32"), Input("i64")), steps, (2,))


def test_reductions_that_do_not_fit_are_refused():
    array = Pointwise((Input("f32"),), (), (0,))
    with pytest.raises(ValueError):
        Reduction(array, "median", "f32")
    with pytest.raises(ValueError):
        Reduction(Pointwise((Input("f32", "scalar"),), (), (0,)), "sum", "f32")


def test_equal_programs_share_one_kernel():
    def made():
        return Pointwise((Input("f64"),), (Step("square", (0,)),), (1,))

    assert made() == made() and made() is not made()
    assert calls.pointwise_kernel(made()) is calls.pointwise_kernel(made())


@pytest.mark.parametrize("kind", ["f32", "f64"])
def test_zeros_of_both_signs_and_nan_are_constants_of_their_own(kind):
    def made(number):
        steps = (Step("const", (), number, kind), Step("mul", (0, 1)))
        return Pointwise((Input(kind),), steps, (2,))

    x, out = np.ones(8, calls.DTYPES[kind]), np.empty(8, calls.DTYPES[kind])
    for number in (0.0, -0.0, 0.0, float("nan"), 1.0, True, 1):
        calls.pointwise_kernel(made(number)).run((out,), (x,))
        np.testing.assert_array_equal(out, x * number)
        assert np.signbit(out).all() == np.signbit(x * number).all()
    assert made(0.0) != made(-0.0)
    assert made(float("nan")) == made(float("nan"))


def test_the_text_of_a_small_program():
    program = Pointwise((Input("f32"), Input("f32", "scalar")), (Step("mul", (0, 1)),), (2,))
    text = printer.print_pointwise(program, 16)
    assert "fmul <8 x float>" in text
    assert "load <8 x float>, ptr" in text and "align 4" in text
    assert text.count("fmul") == 2


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
def test_every_width_computes_the_same(vector_bytes, monkeypatch):
    host = calls.jit.host()._replace(vector_bytes=vector_bytes)
    monkeypatch.setattr(calls.jit, "host", lambda: host)
    x = np.linspace(-5, 5, 77, dtype=np.float32)
    out, want = np.empty_like(x), np.empty_like(x)
    calls.PointwiseKernel(GELU).run((out,), (x,))
    calls.pointwise_kernel(GELU).run((want,), (x,))
    np.testing.assert_array_equal(out, want)


def test_launch_takes_only_contiguous_arrays_and_ints():
    kernel = calls.pointwise_kernel(GELU)
    x = np.ones(64, np.float32)
    for bad in (x[::2], "text", 1.5, None, [1, 2], x.tobytes()):
        with pytest.raises(TypeError):
            calls.launch(kernel.address, 8, 8, x, bad)
    with pytest.raises(TypeError):
        calls.launch(kernel.address, 8, 8, *[x] * 100)
    with pytest.raises(OverflowError):
        calls.launch(kernel.address, 8, 8, x, 1 << 70)


def test_kernels_refuse_other_dtypes_and_sizes():
    kernel = calls.pointwise_kernel(GELU)
    x = np.ones(64, np.float32)
    for out, given in (
        (np.empty(64, np.float64), x),
        (np.empty(63, np.float32), x),
        (x, np.ones(64, np.float64)),
        (x, np.ones(64, ">f4")),
        (x, np.ones(65, np.float32)),
    ):
        with pytest.raises(ValueError):
            kernel.run((out,), (given,))
    with pytest.raises(ValueError):
        kernel.run((x,), (x, x))


def test_the_way_without_the_direct_entry(monkeypatch):
    monkeypatch.setattr(calls, "launcher", lambda: calls._launch_by_ctypes)
    x = np.arange(100, dtype=np.float32)
    out = np.empty_like(x)
    relu = Pointwise((Input("f32"),), (Step("neg", (0,)),), (1,))
    calls.pointwise_kernel(relu).run((out,), (x,))
    np.testing.assert_array_equal(out, -x)
    with pytest.raises(TypeError):
        calls.launch(calls.pointwise_kernel(relu).address, 50, 50, out, x[::2])
