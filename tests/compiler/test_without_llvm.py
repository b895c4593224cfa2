"""Where llvmlite cannot be imported, compiled functions run as NumPy computes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

TEXT = """
import sys
sys.modules["llvmlite"] = None
import flambeau as torch
x = torch.arange(12.0).view(3, 4).to(torch.{dtype}).requires_grad_()
w = torch.ones(4, 4, dtype=torch.{dtype})

def step(x):
    y = torch.nn.functional.linear(x, w).softmax(1) @ w
    return torch.autograd.grad(y.square().sum(), x)[0], y[0].argmax(), x.gather(1, x.long() % 4)

compiled = torch.compile(step)
for _ in range(3):
    for found, want in zip(compiled(x), step(x)):
        torch.testing.assert_close(found, want)
"""


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_compiled_function(dtype: str, python: Callable) -> None:
    done = python("-W", "ignore", "-c", TEXT.format(dtype=dtype))
    assert done.returncode == 0, done.stderr
