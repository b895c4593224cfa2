"""Sparse tensors by row and column, in blocks, with dense dimensions; torch.sparse."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.ops.sparse.start import START
from tests.outcome import assert_same_outcome

CALLS = [
    't.sparse_csr_tensor([0,1,2],[1,0],[3.,4.])',
    't.sparse_csr_tensor(t.tensor([0,1,2]),t.tensor([1,0]),t.tensor([3.,4.]),(2,2))',
    't.sparse_csr_tensor(t.tensor([0,1,2],dtype=t.int32),t.tensor([1,0],dtype=t.int32),t.te'
    'nsor([3.,4.]),(2,2))',
    't.sparse_csr_tensor(t.tensor([0,1,2],dtype=t.int32),t.tensor([1,0],dtype=t.int32),t.te'
    'nsor([3.,4.]),(2,2)).crow_indices()',
    't.sparse_csr_tensor(t.tensor([0,1,2]),t.tensor([1,0]),t.tensor([3.,4.]),(2,2),check_in'
    'variants=True)',
    't.sparse_csr_tensor(t.tensor([0,1,5]),t.tensor([1,0]),t.tensor([3.,4.]),(2,2),check_in'
    'variants=True)',
    't.sparse_csr_tensor(t.tensor([0,1,2]),t.tensor([1,7]),t.tensor([3.,4.]),(2,2),check_in'
    'variants=True)',
    't.sparse_csr_tensor(t.tensor([0,2,2]),t.tensor([1,0]),t.tensor([3.,4.]),(2,2),check_in'
    'variants=True)',
    't.sparse_csr_tensor(t.tensor([[0,1,2],[0,1,2]]),t.tensor([[1,0],[0,1]]),t.ones(2,2),(2'
    ',2,2))',
    't.sparse_csr_tensor(t.tensor([0,1,2]),t.tensor([1,0]),t.ones(2,3),(2,2,3))',
    't.sparse_csc_tensor(t.tensor([0,1,2]),t.tensor([1,0]),t.tensor([3.,4.]),(2,2))',
    't.sparse_bsr_tensor(t.tensor([0,1,2]),t.tensor([1,0]),t.ones(2,1,2),(2,4)), t.sparse_b'
    'sr_tensor(t.tensor([0,1,2]),t.tensor([1,0]),t.ones(2,1,2),(2,4)).to_dense()',
    't.sparse_compressed_tensor(t.tensor([0,1,2]),t.tensor([1,0]),t.tensor([3.,4.]),(2,2),l'
    'ayout=t.sparse_csr)',
    't.sparse_compressed_tensor(t.tensor([0,1,2]),t.tensor([1,0]),t.tensor([3.,4.]),(2,2))',
    't.sparse_csr_tensor(t.tensor([0,1,2]),t.tensor([1,0]),t.tensor([3.,4.]),(2,2),layout=t'
    '.sparse_csc)',
    'csr.crow_indices(), csr.col_indices(), csr.values(), csr._nnz(), csr.layout, csr.is_sp'
    'arse, csr.is_sparse_csr, csr.dense_dim(), csr.sparse_dim()',
    'csr.ccol_indices()',
    'csr.indices()',
    'csr.to_dense(), csr.to_sparse_coo(), csr.to_sparse(), csr.to_sparse_csc(), csr.to_spar'
    'se().is_coalesced(), csr.to_sparse_csc().to_sparse().is_coalesced()',
    'csr.t(), csr.transpose(0,1).layout',
    'csr @ t.ones(3,1), csr @ t.ones(3), csr.matmul(D.t())',
    '(csr @ D.t().to_sparse_csr()).to_dense()',
    'csr + csr, csr + D, D + csr, csr * 2, csr * csr, csr * D',
    'csr.sum(), csr.neg(), csr.sin(), csr.abs()',
    'csr[0], csr[0,1]',
    'csr.clone(), csr.detach(), csr.double()',
    "t.sparse.mm(csr, D.t()), t.sparse.mm(csr, D.t(), 'sum'), t.sparse.mm(csr, D.t(), 'amax"
    "'), t.sparse.mm(csr, D.t(), 'mean')",
    't.sparse.sampled_addmm(csr, t.ones(2,2), t.ones(2,3)), t.sparse.sampled_addmm(csr, t.o'
    'nes(2,2), t.ones(2,3), beta=2, alpha=.5)',
    't.sparse.sampled_addmm(s, t.ones(2,2), t.ones(2,3))',
    't.addmm(t.ones(2,2), csr, D.t()), t.mv(csr, t.ones(3))',
    't.eye(4).to_sparse_bsr(3)',
    't.eye(4).to_sparse_bsr(2).to_dense()',
    't.eye(4).to_sparse_csr().to_sparse_bsr((2,2))',
    't.ones(2,2,2).to_sparse_csr()',
    't.ones(3).to_sparse_csr()',
    's.to_sparse_csr(), s.to_sparse_csc()',
    'c.index_select(0,t.tensor([1,0])).is_coalesced(), c.index_select(0,t.tensor([1,0]))',
    'c.index_select(0,t.tensor([0,0])).is_coalesced(), c.index_select(1,t.tensor([0,2]))',
    'h.index_select(1,t.tensor([2,0]))',
    'h.transpose(1,2)',
    'h.transpose(0,1)',
    'h.permute(0,2,1)',
    'h.permute(1,0,2)',
    'h[0], h[1,1], h[:,1]',
    't.sparse.sum(h,0), t.sparse.sum(h,1), t.sparse.sum(h,(0,2)), h.sum(0), h.sum(1)',
    't.cat([h,h],1), t.cat([h,h],0)',
    'h.unsqueeze(2).shape, h.unsqueeze(0)',
    't.sparse.softmax(h,0), t.sparse.softmax(h,2), t.sparse.log_softmax(h,1)',
    'h*t.ones(4,3,2)*2',
    'h.coalesce().to_sparse_csr()',
    'h.norm(), h.sum(), h.to_dense()',
    't.cat([c,D])',
    't.cat([c, c.double()])',
    't.cat([c,t.sparse_coo_tensor((2,2))],1)',
    'c.t_(), c.transpose_(0,1)',
    'c.sparse_resize_((4,5),2,0)',
    'c.sparse_resize_((1,1),2,0)',
    'c.sparse_resize_((2,3,2),2,1)',
    'c.sparse_resize_((2,3),1,1)',
    'c.sparse_resize_and_clear_((4,5),1,1)',
    'c.resize_as_sparse_(t.sparse_coo_tensor((5,5))), t.resize_as_sparse_(t.sparse_coo_tens'
    'or((2,2)), s)',
    't.crow_indices_copy(csr), t.col_indices_copy(csr)',
    't.ccol_indices_copy(csr)',
    "__import__('pickle').loads(__import__('pickle').dumps(c)).is_coalesced()",
    "__import__('pickle').loads(__import__('pickle').dumps(s))",
    "__import__('copy').deepcopy(s.requires_grad_())",
    "__import__('copy').deepcopy(sp*2)",
    't.sparse.check_sparse_tensor_invariants.is_enabled()',
    't.sparse.check_sparse_tensor_invariants.enable() or t.sparse.check_sparse_tensor_invar'
    'iants.is_enabled()',
    't.sparse_coo_tensor([[0,5]],[1.,2.],(2,))',
    't.sparse.check_sparse_tensor_invariants.disable() or t.sparse.check_sparse_tensor_inva'
    'riants.is_enabled()',
    'x=t.sparse.check_sparse_tensor_invariants(True);;x.__enter__();;(t.sparse.check_sparse'
    '_tensor_invariants.is_enabled(), x.__exit__(None,None,None), t.sparse.check_sparse_ten'
    'sor_invariants.is_enabled())',
    't.sparse.spdiags(t.ones(2,3), t.tensor([0,1]), (3,3))',
    't.sparse.spdiags(t.arange(6.).reshape(2,3), t.tensor([-1,2]), (3,4), layout=t.sparse_c'
    'sr)',
    't.sparse.spdiags(t.arange(9).reshape(3, 3), t.tensor([0, -1, -2]), (3, 3)), t.sparse.s'
    'pdiags(t.tensor([[1, 2], [3, 4]]), t.tensor([0,-1]), (5, 5)).to_dense()',
    't.sparse.spdiags(t.ones(2,3), t.tensor([0,0]), (3,3))',
    't.sparse.spdiags(t.ones(2,3), t.tensor([0]), (3,3))',
    't.sparse.mm(D, D.t()), t.sparse.mm(D, c.t())',
    "t.sparse.mm(c, D.t(), 'sum')",
    "t.sparse.mm(csr, D.t(), 'foo')",
    't.sparse.sampled_addmm(csr, t.ones(3,2), t.ones(2,3))',
    't.sparse.sampled_addmm(csr, t.ones(2,2), t.ones(3,3))',
    't.sparse.sampled_addmm(D, t.ones(2,2), t.ones(2,3))',
    'c.is_complex(), c.is_floating_point(), c.element_size(), c.get_device(), c.is_leaf, c.'
    'grad_fn, c._version',
    'c.nbytes',
    't.is_tensor(c), t.is_nonzero(t.sparse_coo_tensor([[0]],[1.],(1,)))',
    'c.type()',
    'c.data',
    'c.new_empty((2,3)).layout, t.empty(2,3,layout=t.sparse_coo,dtype=t.int64), c.new_tenso'
    'r([1.])',
    'str(s)',
    't.sparse_coo_tensor(i,v.bfloat16(),(2,3)).coalesce(), t.sparse_coo_tensor(i,v.half(),('
    '2,3)).to_dense(), t.sparse_coo_tensor(i,v.bool(),(2,3)).coalesce(), t.sparse_coo_tenso'
    'r(i,v.int(),(2,3)).to_dense()',
    't.sparse.mm(t.sparse_coo_tensor(i,v.double(),(2,3)),D.double().t())',
    't.sparse.mm(t.sparse_coo_tensor((2,3)),D.t()), t.sparse_coo_tensor((2,3)).coalesce(), '
    't.sparse_coo_tensor((0,3))@t.ones(3,2), t.sparse_coo_tensor((2,3)).sum(), t.sparse_coo'
    '_tensor((2,3)).sum(0)',
    't.sparse_coo_tensor((2,3))+c, c+t.sparse_coo_tensor((2,3)), c*t.sparse_coo_tensor((2,3'
    '))',
]


@pytest.mark.parametrize("code", CALLS)
def test_as_pytorch(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(START + code, torch_oracle)
