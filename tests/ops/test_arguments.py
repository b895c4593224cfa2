"""What is made of arguments, and how they are refused; ranges to the last bit."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import flambeau
from tests.outcome import assert_same_outcome

pytestmark = pytest.mark.parity

CALLS = """
t.cat([t.ones(2)], out=t.empty(2, dtype=t.int64))
t.stack([t.ones(2)], out=t.empty(2, dtype=t.int64))
t.cat([t.ones(2), t.ones(2)], out=t.empty(4, dtype=t.float64))
t.zeros(3).index_add(0, t.tensor([5]), t.ones(1))
t.zeros(3, 2).index_add_(0, t.tensor([5]), t.ones(1, 2))
t.meshgrid(indexing="ij")
t.meshgrid(1, 2, indexing="ij")
t.ones(6).unflatten(0, 6)
t.tensor([1], dtype=t.uint16) + t.tensor([1], dtype=t.uint16)
t.tensor([1], dtype=t.uint64) - 1
t.tensor([1], dtype=t.uint32) // 2
t.tensor([1], dtype=t.uint16) < 1
-t.tensor([1], dtype=t.uint32)
t.tensor([1], dtype=t.uint16).add_(1)
t.tensor([1], dtype=t.uint16) ** 2
t.tensor([1], dtype=t.uint32) << 1
t.tensor([1, 2], dtype=t.uint16) * 2
t.tensor([1, 2], dtype=t.uint16) == 1
t.tensor([1, 2], dtype=t.uint16) & 3
t.tensor([1, 2], dtype=t.uint16) + 1.0
t.linspace(0, 70000, 5, dtype=t.float16)
t.linspace(-60000, 60000, 7, dtype=t.float16)
~t.ones(3)
t.tensor([np.float32(1), 2])
t.tensor([np.float16(1), 1.5])
t.tensor([np.int64(3), 2.5])
t.tensor([(1, 2), (3, np.float64(4))])
t.tensor([np.int8(1), True])
t.where(1)
t.eye("a")
t.promote_types(1, t.int64)
t.ones(2).requires_grad_("a")
"""


@pytest.mark.parametrize("call", [line for line in CALLS.splitlines() if line])
def test_as_pytorch(call: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(call, torch_oracle)


def test_copies_of_tensors_warn() -> None:
    x = flambeau.ones(2)
    with pytest.warns(UserWarning, match=r"rather than \w+\.tensor\(sourceTensor\)"):
        flambeau.tensor(x)
    with pytest.warns(UserWarning, match=r"rather than tensor\.new_tensor\(sourceTensor\)"):
        x.new_tensor(x)


@pytest.mark.parametrize("name", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("bounds", [(0, 1, 0.01), (0, 1, 1e-4), (5, -3, -0.07), (0, 7, 1), (0, 0)])
def test_ranges_to_the_last_bit(name: str, bounds: tuple, torch_oracle: ModuleType) -> None:
    ours, theirs = [t.arange(*bounds, dtype=getattr(t, name)).double().numpy()
                    for t in (flambeau, torch_oracle)]
    np.testing.assert_array_equal(ours, theirs)
