"""Making sparse tensors, converting them, reading their parts."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.ops.sparse.start import START
from tests.outcome import assert_same_outcome

CALLS = [
    't.sparse_coo_tensor([[0, 1], [1, 0]], [3, 4])',
    't.sparse_coo_tensor(t.tensor([[0, 1, 1], [1, 0, 0]]), t.tensor([3.0, 4.0, 5.]), (2, 2)'
    ').coalesce()',
    't.sparse_coo_tensor(t.tensor([[0, 1], [1, 0]]), t.tensor([3.0, 4.0]), (2, 2), dtype=t.'
    'float64, requires_grad=True)',
    't.sparse_coo_tensor(t.tensor([[0, 1]]), t.ones(2,3), (4, 3))',
    't.sparse_coo_tensor((2,3))',
    't.sparse_coo_tensor(2,3)',
    't.sparse_coo_tensor(size=(2,3))',
    't.sparse_coo_tensor(t.tensor([[0, 1], [1, 0]]), t.tensor([3.0, 4.0], requires_grad=Tru'
    'e), (2, 2))',
    't.sparse_coo_tensor(t.tensor([[0, 5], [1, 0]]), t.tensor([3.0, 4.0]), (2, 2))',
    't.sparse_coo_tensor(t.tensor([[0, -5], [1, 0]]), t.tensor([3.0, 4.0]), (2, 2))',
    't.sparse_coo_tensor(t.tensor([[0, 5], [1, 0]]), t.tensor([3.0, 4.0, 5.0]), (2, 2))',
    't.sparse_coo_tensor(t.tensor([[0, 5], [1, 0]]), t.tensor([3.0, 4.0]), (2,))',
    't.sparse_coo_tensor(t.tensor([[0., 1]]), t.tensor([3.0, 4.0]), (2,))',
    't.sparse_coo_tensor(t.tensor([[0, 1]]), t.tensor(3.0), (2,))',
    't.sparse_coo_tensor(t.tensor([[0, 1]]), t.ones(2,3), (4, 4))',
    't.sparse_coo_tensor(t.tensor([[0, 1]],dtype=t.int32), t.ones(2), (4,))._indices()',
    't.sparse_coo_tensor(t.zeros(2,0), t.zeros(0), (3,4))',
    't.sparse_coo_tensor(t.zeros(0,1,dtype=t.long), t.ones(1), ())',
    't.sparse_coo_tensor(t.zeros(0,1,dtype=t.long), t.ones(1,2), (2,))',
    't.sparse_coo_tensor(3)',
    't.sparse_coo_tensor(t.arange(2000)[None], t.arange(2000.)).coalesce()',
    't.sparse_coo_tensor(i, v, (2,3), is_coalesced=True)',
    't.sparse_coo_tensor(i, v, (2,3), is_coalesced=True, check_invariants=True)',
    't.sparse_coo_tensor(t.tensor([[0,5],[0,0]]), t.ones(2), (2,3), check_invariants=True)',
    't.sparse_coo_tensor(t.tensor([[0,-5],[0,0]]), t.ones(2), (2,3), check_invariants=True)',
    't.sparse_coo_tensor(t.tensor([[0,-5],[0,0]]), t.ones(2))',
    't.sparse_coo_tensor(i, v, (2,3), dtype=t.int32)',
    't.sparse_coo_tensor(i, 3)',
    't.sparse_coo_tensor([[1]], t.ones(1,2,2))',
    't.sparse_coo_tensor(i)',
    't.sparse_coo_tensor(t.ones(2,2,2,dtype=t.long), v)',
    't.sparse_coo_tensor(i, s)',
    'x=v.clone();;q=t.sparse_coo_tensor(i,x,(2,3));;x[0]=100;;q',
    'x=v.clone();;q=t.sparse_coo_tensor(i,x,(2,3));;q._values()[0]=100;;x',
    'q=c.clone();;q.values()[0]=7;;q',
    't.sparse_coo_tensor(i, v.clone().requires_grad_(), (2,3), requires_grad=True)',
    't.eye(3).to_sparse()',
    't.eye(3).to_sparse_csr(), t.eye(3).to_sparse_csc()',
    't.eye(4).to_sparse_bsr((2,2)), t.eye(4).to_sparse_bsc((2,2))',
    't.eye(3).bool().to_sparse(), t.eye(3).cfloat().to_sparse()',
    't.eye(3).requires_grad_().to_sparse()',
    't.eye(3).requires_grad_().to_sparse_csr()',
    't.zeros(2,2).to_sparse(), t.zeros(0,2).to_sparse(), t.tensor(2.).to_sparse(), t.tensor'
    '(0.).to_sparse()',
    't.rand(2,2,2).round().to_sparse(2), t.rand(2,2,2).round().to_sparse(1)',
    't.rand(2,2).to_sparse(0)',
    't.rand(2,2).to_sparse(3)',
]


@pytest.mark.parametrize("code", CALLS)
def test_as_pytorch(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(START + code, torch_oracle)
