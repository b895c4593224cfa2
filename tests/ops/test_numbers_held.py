"""Numbers that a dtype does not hold: where they are refused, as PyTorch refuses them."""

from __future__ import annotations

from types import ModuleType

import pytest

import flambeau
from tests.outcome import assert_same_outcome

DTYPES = ["uint8", "int8", "int32", "int64", "bool", "float16", "bfloat16", "float32", "float64",
          "complex64"]
VALUES = ["1 << 40", "1 << 63", "1 << 64", "-(1 << 63) - 1", "300", "-1", "-300", "70000", "1.5",
          "-0.5", "1e10", "3.5e38", "1e300", "float('inf')", "float('nan')", "1 + 2j", "1 + 0j",
          "True", "t.tensor(1 << 40)", "t.tensor(float('inf'))", "t.tensor(-1)"]
WAYS = {
    "fill_": "x.fill_(v)", "full": "t.full((2,), v, dtype=x.dtype)",
    "full_like": "t.full_like(x, v)", "new_full": "x.new_full((2,), v)",
    "masked_fill": "x.masked_fill(m, v)", "masked_fill_": "x.masked_fill_(m, v)",
    "item": "x.__setitem__(0, v);; x", "slice": "x.__setitem__(slice(None), v);; x",
    "mask": "x.__setitem__(m, v);; x", "index": "x.index_fill_(0, t.tensor([0]), v)",
    "scatter": "x.scatter_(0, t.tensor([0]), v)", "scalar": "t.scalar_tensor(v, dtype=x.dtype)",
    "diagonal": "t.zeros(2, 2, dtype=x.dtype).fill_diagonal_(v)",
    "where": "t.where(m, x, v)", "data": "t.tensor(v, dtype=x.dtype)",
    "threshold": "t.nn.functional.threshold(x, 0.5, v)", "least": "x.clamp(min=v)",
    "pad": "t.nn.functional.pad(x, (1, 1), value=v)"}
# Where PyTorch's answers are of dtypes that flambeau has not, or that it refuses by other words.
_OTHERWISE = {("where", "float16", "1 + 2j"), ("where", "float16", "1 + 0j"),
              ("least", "bool", "True"), ("least", "bool", "1 << 63"), ("pad", "int64", "1 << 63"),
              ("where", "bool", "1 << 63"),
              *[("threshold", d, v) for d in ("bool", "complex64") for v in VALUES],
              *[("least", "complex64", v) for v in VALUES],
              *[("least", d, v) for d in DTYPES for v in ("1 + 0j", "1 + 2j")]}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", WAYS)
def test_numbers_are_held_or_refused(way: str, dtype: str, torch_oracle: ModuleType) -> None:
    for value in VALUES:
        if (way, dtype, value) not in _OTHERWISE:
            assert_same_outcome(f"x = t.zeros(2, dtype=t.{dtype});; m = t.tensor([True, False]);; "
                                f"v = {value};; {WAYS[way]}", torch_oracle)


@pytest.mark.parametrize("code", ["x.fill_(1 << 40)", "x.masked_fill_(x == 0, float('inf'))",
                                  "x.__setitem__(0, 3e9)", "x.index_fill_(0, x.long()[:1], 1e10)"])
def test_what_is_refused_changes_nothing(code: str) -> None:
    x = flambeau.zeros(3, dtype=flambeau.int32)
    with pytest.raises(RuntimeError, match="value cannot be converted to type int without overflo"):
        eval(code, {"x": x})
    assert x.tolist() == [0, 0, 0]


@pytest.mark.parametrize("code", [
    "t.tensor([0., -0., 4., -4., 5., -5.]) % 2", "t.tensor([0., -0., 4., -4., 5., -5.]) % -2",
    "t.tensor([-4., 4.]).remainder(t.tensor([2., -2.]))", "-4.0 % t.tensor([2., -2., 3.])",
    "t.tensor([-4.]).remainder_(2)", "t.remainder(t.tensor([-4.]), 2, out=t.empty(1))",
    "(t.tensor([-4., 4.]).repeat(20000) % -2)[:2]", "t.tensor([-4.]).bfloat16() % 2"])
def test_a_remainder_of_zero_has_the_sign_of_the_dividend(code: str,
                                                          torch_oracle: ModuleType) -> None:
    assert_same_outcome(code, torch_oracle)


@pytest.mark.parametrize("code", [
    "t.full((2,), 'a')", "t.full_like(t.ones(2), 'a')", "t.ones(2).new_full((2,), 'a')",
    "t.ones(2, 3).masked_fill(t.ones(2, 4, dtype=t.bool), 0)",
    "t.ones(2, 3).masked_fill_(t.ones(2, 4, dtype=t.bool), 0)",
    "t.ones(2, 3).masked_fill_(t.ones(2, 2, 3, dtype=t.bool), 0)"])
def test_what_fills_nothing(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(code, torch_oracle)
