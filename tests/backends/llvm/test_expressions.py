"""Programs written down from Python formulas."""

import math
from pathlib import Path

import numpy as np
import pytest

from flambeau.backends.llvm import calls, printer
from flambeau.backends.llvm.expressions import Builder, widened
from flambeau.backends.llvm.program import Input, Pointwise, Step


def run(formula, *arrays):
    b = Builder()
    kinds = [calls.KINDS[a.dtype] for a in arrays]
    result = formula(b.on, *[b.input(kind) for kind in kinds])
    out = np.empty(arrays[0].shape, calls.DTYPES[result.kind])
    calls.pointwise_kernel(b.pointwise(result)).run((out,), arrays)
    return out


def test_operators_and_numbers_become_steps():
    b = Builder()
    x = b.input("f32")
    made = b.pointwise(1 - x / 2.0)
    steps = (
        Step("const", (), 2.0, "f32"),
        Step("div", (0, 1)),
        Step("const", (), 1.0, "f32"),
        Step("sub", (3, 2)),
    )
    assert made == Pointwise((Input("f32"),), steps, (4,))


def test_equal_steps_are_one_value_but_zeros_of_both_signs_are_two():
    b = Builder()
    x = b.input("f32")
    y = (x + 1.0) * (x + 1.0)
    assert len(b.pointwise(y).steps) == 3
    b = Builder()
    x = b.input("f32")
    zeros = b.lift(0.0, "f32"), b.lift(-0.0, "f32")
    assert zeros[0].number != zeros[1].number


X = np.linspace(-4, 4, 37, dtype="f4")


@pytest.mark.parametrize(
    ("formula", "want"),
    [
        (lambda on, x: on.where(x > 1, x, -x), np.where(X > 1, X, -X)),
        (lambda on, x: on.where((x < 0) | ~(x <= 2), 5.0, x), np.where((X < 0) | (X > 2), 5, X)),
        (lambda on, x: on.where((x != 0) & (x == x), x, 1.0), np.where(X != 0, X, 1)),
        (lambda on, x: on.clip(x, -1, 2.5), np.clip(X, -1, 2.5)),
        (lambda on, x: on.clip(x, None, 1.0), np.minimum(X, 1)),
        (lambda on, x: on.sign(x), np.sign(X)),
        (lambda on, x: x**2 + 3, X**2 + 3),
        (lambda on, x: 2 / (x + 5), 2 / (X + 5)),
        (lambda on, x: on.softplus(x), np.logaddexp(X, 0)),
        (lambda on, x: on.normal_cdf(x), [0.5 * math.erfc(-v / 2**0.5) for v in X.tolist()]),
        (lambda on, x: on.normal_density(x), np.exp(-X * X / 2) / np.sqrt(2 * np.pi)),
        (lambda on, x: (x >= 0).cast("f32") * 2.0, (X >= 0) * 2.0),
    ],
)
def test_what_formulas_may_say(formula, want):
    np.testing.assert_allclose(run(formula, X), np.float32(want), rtol=2e-6, atol=1e-7)


def test_the_normal_distribution_keeps_its_digits_in_the_tails():
    x = np.linspace(-12, 8, 10001, dtype="f4")
    want = np.array([0.5 * math.erfc(-v / 2**0.5) for v in x.astype("f8").tolist()])
    got = run(lambda on, x: on.normal_cdf(x), x)
    np.testing.assert_allclose(got, want, rtol=2e-5)
    np.testing.assert_allclose(got[x > -2], want[x > -2], rtol=5e-7)


def test_formulas_cannot_branch_on_values():
    with pytest.raises(TypeError, match="on.where"):
        run(lambda on, x: x if x > 0 else -x, X)


def test_what_is_only_stored_is_widened():
    b = Builder()
    assert widened(b.input("bf16")).kind == "f32" and widened(b.input("f64")).kind == "f64"


TEXTS = Path(__file__).parent / "texts"


def test_the_text_of_a_fused_program():
    b = Builder()
    x, y = b.input("f32"), b.input("f32")
    text = printer.print_pointwise(b.pointwise(b.on.fma(x, y, 1.0) * x), 32)
    assert text == (TEXTS / "fused.ll").read_text()


def test_one_and_a_power_are_one_step_unless_the_power_is_needed():
    def steps_of(formula):
        b = Builder()
        results = formula(b, b.input("f32"))
        program = b.pointwise(*results)
        return [program.steps[number - 1].name for number in program.outputs]

    assert steps_of(lambda b, x: [1 + b.on.exp(x)]) == ["one_plus_exp"]
    assert steps_of(lambda b, x: [b.on.exp(x) + 1.0]) == ["one_plus_exp"]
    assert steps_of(lambda b, x: [1 + b.on.exp(x), b.on.exp(x)]) == ["add", "exp"]
    assert steps_of(lambda b, x: [b.on.exp(x) * x, b.on.exp(x) + 1]) == ["mul", "add"]
    assert steps_of(lambda b, x: [2 + b.on.exp(x)]) == ["add"]
    assert steps_of(lambda b, x: [1 - b.on.exp(x)]) == ["sub"]
