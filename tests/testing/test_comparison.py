"""assert_close judges and words its findings as PyTorch's; make_tensor draws its numbers."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import flambeau
from flambeau.base import naming
from flambeau.testing import assert_close, make_tensor

COMPARED = """
t.tensor([1.,2.]),t.tensor([1.,2.1])
t.tensor([[1.,2.],[3,4]]),t.tensor([[1.,2.1],[5,4]])
t.tensor(1.),t.tensor(2.)
1.,2.
1,2
1,1.0
True,False
None,1
'a','a'
t.ones(2),t.ones(3)
t.ones(2),t.ones(2).double()
t.ones(2),t.ones(2).double(),dict(check_dtype=False)
[1.,t.ones(1)],[1.,t.zeros(1)]
{'a':1.},{'a':2.}
{'a':1.},{'b':2.}
[1],[1,2]
t.ones(2),np.ones(2)
t.ones(2),[1.,1.]
np.ones(2),np.zeros(2)
t.ones(2), 1.0
t.tensor([float('nan')]),t.tensor([float('nan')])
t.tensor([float('nan')]),t.tensor([float('nan')]),dict(equal_nan=True)
t.tensor([1,2]),t.tensor([1,3])
t.tensor([True,False]),t.tensor([True,True])
t.tensor([1+1j]),t.tensor([1+2j])
t.ones(2),t.ones(2),dict(rtol=1e-3)
t.ones(2),t.ones(2)*1.1,dict(rtol=0,atol=0.05)
t.ones(2),t.ones(2)*1.1,dict(msg='hello')
t.ones(2),t.ones(2)*1.1,dict(msg=lambda m: 'X '+m)
t.ones(2,2),t.ones(2,2).t(),dict(check_stride=True)
t.ones(0),t.ones(0)
t.ones(2).half(),t.ones(2).half()*1.1
t.ones(2).to_sparse(),t.ones(2).to_sparse()*2
t.ones(2).to_sparse(),t.ones(2)
t.ones(2).to_sparse(),t.ones(2),dict(check_layout=False)
t.ones(2).to_sparse(),t.tensor([1.,0]).to_sparse()
t.eye(2).to_sparse_csr(),t.ones(2,2).to_sparse_csr()
(1,2),[1,2]
{1},{1}
1.0,1.0+1e-9
t.nn.Parameter(t.ones(2)),t.ones(2)
t.ones(2),t.ones(2)*float('inf')
t.tensor(0.),t.tensor(1e-9)
t.ones(2,2)*3, t.zeros(2,2)
1+1j,1+2j
t.tensor([2**62]),t.tensor([2**62+1])
[[1.,2.]],[[1.,3.]]
t.ones(2).bfloat16(),t.ones(2).bfloat16()*1.1
t.tensor(3),t.tensor(5)
float('inf'),float('inf')
float('nan'),float('nan')
t.tensor([1,2],dtype=t.uint8),t.tensor([1,5],dtype=t.uint8)
t.ones(2,requires_grad=True),t.zeros(2)
""".strip().splitlines()

MADE = """
dtype=t.float32
dtype=t.int64
dtype=t.bool
dtype=t.complex64
dtype=t.bfloat16
dtype=t.uint8, low=2, high=5
dtype=t.float64, noncontiguous=True
dtype=t.float16, low=0, high=1, exclude_zero=True
dtype=t.int8, exclude_zero=True
dtype=t.float32, requires_grad=True
dtype=t.float32, low=-3e38, high=3e38
dtype=t.float32, low=3, high=1
dtype=t.float32, low=float('nan')
dtype=t.uint8, low=300, high=400
dtype=t.int64, requires_grad=True
""".strip().splitlines()


def finding(package: Any, code: str) -> str:
    """What assert_close says of the pair: "None", or the whole error."""
    actual, expected, *options = eval(f"({code})", {"t": package, "np": np})
    prefix = naming.prefix()
    naming.set_prefix("torch")
    try:
        return str(package.testing.assert_close(actual, expected, **dict(*options)))
    except (AssertionError, TypeError, ValueError) as error:
        return f"{type(error).__name__}: {error}".replace("flambeau", "torch")
    finally:
        naming.set_prefix(prefix)


def made(package: Any, code: str) -> tuple[Any, ...]:
    """The tensor's numbers, strides and flags, and the random number that follows it."""
    package.manual_seed(0)
    try:
        x = eval(f"t.testing.make_tensor(3, 4, device='cpu', {code})", {"t": package})
    except (TypeError, ValueError) as error:
        return type(error).__name__, str(error).replace("flambeau", "torch")
    dtype = str(x.dtype).rpartition(".")[2]
    return x.tolist(), x.stride(), x.requires_grad, dtype, package.rand(1).item()


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("code", COMPARED)
def test_findings_are_pytorchs(torch_oracle: ModuleType, code: str) -> None:
    assert finding(flambeau, code) == finding(torch_oracle, code)


@pytest.mark.parity
@pytest.mark.parametrize("code", MADE)
def test_made_tensors_are_pytorchs(torch_oracle: ModuleType, code: str) -> None:
    assert made(flambeau, code) == made(torch_oracle, code)


@pytest.mark.parametrize(
    ("actual", "expected", "says"),
    [
        (flambeau.ones(2), flambeau.ones(3), "The values for attribute 'shape' do not match"),
        (flambeau.ones(2), flambeau.ones(2).double(), "attribute 'dtype' do not match"),
        (flambeau.ones(2), flambeau.zeros(2), "Mismatched elements: 2 / 2 (100.0%)"),
        ({"a": [1.0]}, {"a": [2.0]}, "The failure occurred for item ['a'][0]"),
        ([1], [1, 2], "The length of the sequences mismatch: 1 != 2"),
    ],
)
def test_differences_are_named(actual: Any, expected: Any, says: str) -> None:
    with pytest.raises(AssertionError, match=re.escape(says)):
        assert_close(actual, expected)


def test_tolerances_come_from_the_dtype() -> None:
    x = flambeau.ones(3)
    assert_close(x, x * (1 + 1e-6))
    with pytest.raises(AssertionError):
        assert_close(x.double(), x.double() * (1 + 1e-6))
    assert_close(x.half(), x.half() * 1.0005)


def test_values_keep_to_their_range_and_skip_zero() -> None:
    x = make_tensor(1000, dtype=flambeau.int8, device="cpu", low=-1, high=2, exclude_zero=True)
    assert set(x.tolist()) == {-1, 1}
    y = make_tensor(4, 5, dtype=flambeau.float32, device="cpu", noncontiguous=True)
    assert not y.is_contiguous()
