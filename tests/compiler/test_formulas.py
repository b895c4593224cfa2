"""Instructions derived from the forwards of pointwise operators give what the forwards give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch
import flambeau.nn.functional  # noqa: F401 (declares the activations)
from flambeau.backends import large
from flambeau.core.op import OPS

if not large.available():
    pytest.skip("generated kernels are off", allow_module_level=True)

from flambeau.backends.llvm import calls
from flambeau.backends.llvm.expressions import Builder
from flambeau.core.formulas import KINDS, instructions_of

PARAMS: dict[str, dict[str, Any]] = {
    "leaky_relu": {"negative_slope": 0.1}, "elu": {"alpha": 1.5, "scale": 1.1, "input_scale": 0.9},
    "celu": {"alpha": 1.5, "scale": 1.0, "input_scale": 1 / 1.5},
    "threshold_backward": {"threshold": 0.25}, "softplus": {"beta": 2.0, "threshold": 20.0},
    "hardtanh": {"min_val": -0.5, "max_val": 0.75}, "threshold": {"threshold": 0.2, "value": 3.0},
    "addcmul": {"value": 0.5}, "addcdiv": {"value": 0.5}, "fill": {"value": 2.5},
    "softshrink": {"lambd": 0.5}, "hardshrink": {"lambd": 0.5}, "rrelu_eval": {"slope": 0.2}}
FLOATS = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -3.5, 10.0, -20.0, 88.0, -104.0, 1e-30,
                   -1e-30, 3e30, -3e30, np.inf, -np.inf, np.nan, 0.7310586, -0.2, 30.0, 1e-3])
POINTWISE = sorted(name for name, op in OPS.items() if op.kind == "pointwise")
MUST = frozenset("add sub mul div neg where relu gelu_ tanh exp log sqrt sigmoid silu clamp "
                 "addcmul addcdiv maximum elu softplus threshold_backward masked_fill".split())


def operands(count: int, dtype: str) -> list[np.ndarray]:
    if dtype == "bool":
        base = np.array([True, False, True, False])
    else:
        base = FLOATS.astype(dtype) if dtype[0] == "f" else np.arange(-6, 7).astype(dtype)
    grids = np.meshgrid(*[base] * min(count, 2), indexing="ij")
    found = [g.ravel() for g in grids]
    return [*found, *[np.roll(found[0], 3 * k) for k in range(1, count - 1)]][:count]


@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "bool"])
@pytest.mark.parametrize("name", POINTWISE)
def test_instructions_agree_with_the_forward(name: str, dtype: str) -> None:
    op = OPS[name]
    params = PARAMS.get(name, {})
    if set(op.params) - set(params):
        pytest.skip("its parameters are tensors, or unusual")
    arrays = operands(len(op.inputs), dtype)
    if name in ("where", "masked_fill"):
        arrays[name == "masked_fill"] = arrays[0] > 0
    b = Builder()
    symbols = [b.input(KINDS[a.dtype]) for a in arrays]
    held = np.dtype(dtype)
    try:
        with np.errstate(all="ignore"):
            expected = np.asarray(op.forward(*arrays, **params))
    except (TypeError, ValueError, NotImplementedError, RuntimeError, KeyError, OverflowError):
        pytest.skip("not defined for this dtype")
    if expected.dtype not in KINDS:
        pytest.skip("its result is of another dtype")
    found = instructions_of(op, symbols, held, expected.dtype, params, b)
    if found is None:
        assert name not in MUST or dtype not in ("f4", "f8")
        return
    try:
        program = b.pointwise(found)
    except ValueError:
        assert name not in MUST or dtype == "bool"
        return
    out = np.empty(arrays[0].shape, expected.dtype)
    calls.pointwise_kernel(program).run((out,), arrays)
    if expected.dtype.kind == "f":
        tight = 3e-6 if held == np.float32 else 1e-12
        np.testing.assert_allclose(out, expected, rtol=tight, atol=tight * 1e-3, err_msg=name)
    else:
        np.testing.assert_array_equal(out, expected)


def test_numbers_among_operands() -> None:
    x = torch.linspace(-2, 2, 7)
    from flambeau.compiler import compile

    def step(x: Any) -> Any:
        return torch.lerp(x, x * 2, 0.75), x.clamp(-1, 0.5), 1 - x, 2**x.abs(), x / 3

    compiled = compile(step)
    compiled(x)
    for a, b in zip(step(x), compiled(x)):
        assert torch.allclose(a, b) and a.dtype == b.dtype
