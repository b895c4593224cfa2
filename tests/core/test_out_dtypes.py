"""``out=`` of another dtype than the result's: cast, or refused in PyTorch's words."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

import flambeau

CALLS = [
    "t.mm(a, a, out=t.empty(3, 3, dtype=t.{}))",
    "t.gather(a, 1, i, out=t.empty(3, 3, dtype=t.{}))",
    "t.aminmax(a, dim=0, out=(t.empty(3), t.empty(3, dtype=t.{})))",
    "t.sort(a, out=(t.empty(3, 3, dtype=t.{}), i.clone()))",
    "t.argmax(a, out=t.empty((), dtype=t.{}))",
    "t.abs(a, out=t.empty(3, 3, dtype=t.{}))",
    "t.zeros(3, out=t.empty(3, dtype=t.{}))",
    "t.cummax(a, 0, out=(t.empty(3, 3, dtype=t.{}), i.clone()))",
    "t.dot(a[0], a[0], out=t.empty((), dtype=t.{}))",
    "t.index_select(a, 0, i[0], out=t.empty(3, 3, dtype=t.{}))",
    "t.amax(a, 0, out=t.empty(3, dtype=t.{}))",
    "t.take(a, i, out=t.empty(3, 3, dtype=t.{}))",
    "t.bucketize(a, a[0], out=t.empty(3, 3, dtype=t.{}))",
    "t.nonzero(a, out=t.empty(9, 2, dtype=t.{}))",
    "t.signbit(a, out=t.empty(3, 3, dtype=t.{}))",
    "t.add(a, a, out=t.empty(3, 3, dtype=t.{}))",
    "t.sum(a, 0, out=t.empty(3, dtype=t.{}))",
]


def outcome(t: Any, code: str) -> str:
    a = t.arange(9.0).reshape(3, 3)
    i = t.zeros(3, 3, dtype=t.int64)
    try:
        return str(eval(code, {"t": t, "a": a, "i": i})).replace("flambeau", "torch")
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"


@pytest.mark.parametrize("kind", ["float64", "int32", "float16", "complex64"])
@pytest.mark.parametrize("code", CALLS)
def test_as_pytorch(code: str, kind: str, torch_oracle: ModuleType) -> None:
    call = code.format(kind)
    assert outcome(flambeau, call) == outcome(torch_oracle, call)


def test_a_refused_out_is_unchanged() -> None:
    out = flambeau.full((3, 3), 7.0, dtype=flambeau.float64)
    with pytest.raises(RuntimeError, match="Expected out tensor to have dtype float"):
        flambeau.mm(flambeau.ones(3, 3), flambeau.ones(3, 3), out=out)
    assert (out == 7).all()
