"""Tensors without dimensions stay tensors over arrays, whatever is done to them."""

import numpy as np
import pytest

import flambeau as torch

FUNCTIONS = {
    "sigmoid": torch.sigmoid,
    "sum with a factor": lambda x: torch.add(x, x, alpha=2.5),
    "difference with a factor": lambda x: torch.sub(x, x, alpha=2.5),
    "from the right": lambda x: torch.rsub(x, 1, alpha=2.5),
    "in place": lambda x: x.detach().clone().add_(x.detach(), alpha=2.5),
    "number added": lambda x: torch.add(x, 0.5, alpha=2.5),
    "addcmul": lambda x: x.addcmul(x, x, value=2.5),
    "lerp": lambda x: x.lerp(x, 0.5),
    "softmax": lambda x: x.softmax(0),
    "clamp": lambda x: x.clamp(0, 1),
    "gelu": torch.nn.functional.gelu,
    "mse_loss": lambda x: torch.nn.functional.mse_loss(x, x.detach() * 2),
    "var": lambda x: x.var(correction=0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("grad", [False, True])
def test_results_are_arrays(name, dtype, grad):
    for _ in range(3):
        x = torch.tensor(0.75, dtype=dtype, requires_grad=grad)
        found = FUNCTIONS[name](x)
        assert type(found._a) is np.ndarray and found.shape == () and found.dtype == dtype
        assert repr(found).startswith("tensor(")
        if found.requires_grad:
            found.backward()
            assert type(x.grad._a) is np.ndarray
