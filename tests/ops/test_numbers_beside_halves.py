"""Python numbers beside tensors of a half type: where PyTorch rounds them first."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau

CASES = {"add": lambda x: x + 0.1, "sub": lambda x: x - 0.1, "rsub": lambda x: 0.1 - x,
         "remainder": lambda x: x % 0.3, "fmod": lambda x: x.fmod(0.3), "mul": lambda x: x * 0.1,
         "div": lambda x: x / 0.3, "add_": lambda x: x.clone().add_(0.1)}


def _values(package: Any, dtype: str, size: int) -> Any:
    values = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    return package.from_numpy(values).to(getattr(package, dtype))


@pytest.mark.parametrize("size", [7, 1000, 70_000])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("case", CASES)
def test_as_pytorch_to_the_last_bit(case: str, dtype: str, size: int,
                                    torch_oracle: ModuleType) -> None:
    ours, theirs = [CASES[case](_values(package, dtype, size)).float().numpy()
                    for package in (flambeau, torch_oracle)]
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("case", CASES)
def test_compiled_as_run(case: str, dtype: str) -> None:
    x = _values(flambeau, dtype, 70_000)
    step = flambeau.compile(CASES[case])
    for _ in range(3):
        assert flambeau.equal(step(x), CASES[case](x))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "complex64"])
@pytest.mark.parametrize("name", ["sum", "mean"])
def test_whole_sums_and_means_name_their_node(name: str, dtype: str,
                                              torch_oracle: ModuleType) -> None:
    found = []
    for package in (flambeau, torch_oracle):
        x = package.ones(700, 100, dtype=getattr(package, dtype), requires_grad=True)
        reduced = [getattr(x, name)(), getattr(x, name)(0)]
        reduced[0].abs().backward()
        wide = getattr(x, name)(dtype=getattr(package, "complex128" if "c" in dtype else "float64"))
        found.append([[type(y.grad_fn).__name__ for y in (*reduced, wide)], x.grad[0, :2].tolist()])
    assert found[0] == found[1]
