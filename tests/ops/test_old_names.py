"""Functions of the first years, as PyTorch has them."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.outcome import assert_same_outcome

CALLS = [
    't.vander(t.tensor([1,2,3],dtype=t.int8))',
    't.vander(t.tensor([1.,2,3],dtype=t.float16)), t.vander(t.tensor([True,False])), t.vander'
    '(t.tensor([1,2,3]), 0), t.vander(t.tensor([1,2,3]), 1), t.vander(t.tensor([1,2,3]), 2,in'
    'creasing=True)',
    't.vander(t.ones(2,2))',
    't.vander(t.tensor([1,2,3]), -1)',
    't.vander(t.tensor([1.,2,3]).requires_grad_(), 3)',
    't.view_as_real_copy(t.ones(2,dtype=t.complex64)), t.view_as_complex_copy(t.ones(2,2))',
    't.frobenius_norm(t.ones(2,2),1), t.frobenius_norm(t.ones(2,2),(0,1),True)',
    't.frobenius_norm(t.ones(2,2,2),(0,1,2))',
    't.nuclear_norm(t.ones(2,2)), t.nuclear_norm(t.ones(2,2),True), t.nuclear_norm(t.ones(2,2'
    ',2),(0,1))',
    't.set_default_tensor_type(t.DoubleTensor);;t.ones(1)',
    't.set_default_tensor_type(t.DoubleTensor) or t.ones(1).dtype',
    "t.set_default_tensor_type('torch.FloatTensor') or t.ones(1).dtype",
    "t.set_default_tensor_type('x')",
    't.set_default_tensor_type(t.IntTensor)',
    't.set_default_tensor_type(t.float64)',
]


@pytest.mark.parametrize("code", CALLS)
def test_calls(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(code, torch_oracle)
