"""What a traced call computes has eager mode's bits, though NumPy computes what is brief."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import large
from flambeau.backends.passing import PASSING

SIZE = 50_000
OPERATIONS: dict[str, Callable] = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b, "number": lambda a, b: a * 3 + 1, "neg": lambda a, b: -a,
    "sqrt": lambda a, b: a.sqrt(), "where": lambda a, b: torch.where(a > 0, a, b),
    "turned": lambda a, b: (a.reshape(200, -1).t().contiguous() + b.reshape(-1, 200)),
    "row": lambda a, b: a.reshape(-1, 500) + b[:500],
    "copy": lambda a, b: (a.clone(), b.reshape(200, -1).t().clone()),
}


def operands(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(SIZE) * 10.0 ** rng.integers(-40, 38, SIZE) for _ in range(2))
    with np.errstate(over="ignore"):
        a[:4] = 0.0, -0.0, np.inf, np.nan
        return torch.tensor(a, dtype=dtype), torch.tensor(b, dtype=dtype)


@pytest.mark.skipif(not large.available(), reason="needs llvmlite")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64])
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_traced_call_gives_the_bits_of_eager_mode(name: str, dtype: torch.dtype) -> None:
    step = OPERATIONS[name]
    a, b = operands(torch.float64)
    if dtype == torch.int64:
        a, b = (torch.tensor(np.arange(SIZE) % n - 3) for n in (7, 11))
    a, b = a.to(dtype), b.to(dtype)
    found, want = torch.compile(step)(a, b), step(a, b)
    for x, y in zip(*[t if isinstance(t, tuple) else (t,) for t in (found, want)]):
        assert x.dtype == y.dtype and x.stride() == y.stride()
        left, right = x.numpy(), y.numpy()
        assert np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
        real = left == left
        assert np.array_equal(np.copysign(1, left[real]), np.copysign(1, right[real]))
    assert not PASSING.now


def test_an_error_ends_what_is_passing() -> None:
    @torch.compile
    def step(x: torch.Tensor) -> torch.Tensor:
        assert PASSING.now
        raise KeyError("no")

    with pytest.raises(KeyError):
        step(torch.ones(3))
    assert not PASSING.now
