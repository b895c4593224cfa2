"""Operators on sparse tensors by coordinates."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.ops.sparse.start import START
from tests.outcome import assert_same_outcome

CALLS = [
    't.eye(2).to_sparse(layout=t.sparse_csr), t.eye(2).to_sparse(layout=t.strided)',
    's.indices()',
    's.values()',
    's._indices(), s._values(), s._nnz(), s.is_coalesced(), s.sparse_dim(), s.dense_dim(), '
    's.layout, s.is_sparse, s.is_sparse_csr, s._dimI(), s._dimV()',
    'c.indices(), c.values(), c.is_coalesced(), c.coalesce() is c, s.coalesce() is s',
    's.shape, s.size(), s.size(0), s.dim(), s.numel(), s.dtype, s.device, s.requires_grad, '
    'len(s)',
    's.stride(), s.is_contiguous()',
    's.storage()',
    's.untyped_storage()',
    's.data_ptr()',
    's.numpy()',
    's.tolist()',
    's.item()',
    't.sparse_coo_tensor([[0]],[2.],(1,)).item(), bool(t.sparse_coo_tensor([[0]],[2.],(1,))'
    ')',
    's.to_dense()',
    's.to_dense(dtype=t.float64)',
    's.T, s.t(), s.transpose(0,1), s.permute(1,0), c.t().is_coalesced()',
    's + s',
    '(s+s)._nnz(), (c+c)._nnz(), (c+c).is_coalesced()',
    's + D',
    'D + s',
    's + 1',
    's - s',
    's - D',
    'D - s',
    's * 2, 2 * s, s * s, s * D, D * s, s / 2',
    's / D',
    'D / s',
    's ** 2, -s, abs(s), t.relu(s)',
    't.exp(s)',
    's.sum(), s.sum(0), t.sum(s,1)',
    't.sparse.sum(s), t.sparse.sum(s,0), t.sparse.sum(s,(0,1)), t.sparse.sum(s, dim=1, dtyp'
    'e=t.float64)',
    's.norm()',
    's @ D.t(), s @ t.ones(3), s @ D.t().to_sparse(), D @ s.t()',
    't.sparse.mm(s, D.t()), t.sparse.mm(s, D.t().to_sparse()), t.sparse.mm(D, s.t()), t.mm('
    's, D.t()), t.mv(s, t.ones(3)), t.addmm(t.ones(2,2), s, D.t()), t.sparse.addmm(t.ones(2'
    ',2), s, D.t(), beta=2, alpha=3)',
    't.bmm(s.unsqueeze(0), D.t().unsqueeze(0)), s.unsqueeze(0)',
    's[0], s[0,2], s[:,1], s.select(0,1), s.index_select(1,t.tensor([0,2]))',
    's[0:1]',
    't.cat([s,s]), t.cat([s,s],1), t.stack([s,s])',
    's.clone().is_coalesced(), s.detach().requires_grad, s.float() is s, s.double(), s.to(t'
    '.float64).dtype, s.cpu() is s',
    's.zero_(), s.clone().mul_(2), s.clone().add_(s), D.clone().add_(s)',
    'c.sparse_mask(c), s.sparse_mask(c), D.sparse_mask(c), D.sparse_mask(s)',
    's.any()',
    's.reshape(3,2)',
    's.flatten()',
    's.expand(2,2,3)',
    't.zeros_like(s), t.empty_like(s), t.zeros(2,3,layout=t.sparse_coo), s.new_zeros(2,3)',
    't.ones(2,3,layout=t.sparse_coo)',
    's.isnan()',
    't.nn.functional.linear(t.ones(1,3), s)',
    '[x for x in s]',
    't.sparse.mm(s, D.t().to_sparse()).is_coalesced()',
    '(s*s).is_coalesced(), (c*s).is_coalesced(), (c*c).is_coalesced(), (s*c).is_coalesced()'
    ', (c*D).is_coalesced(), (s*D).is_coalesced()',
    'c*s, s*c, (c+s).is_coalesced(), c+s, s+c',
    '(c*2).is_coalesced(), (-c).is_coalesced(), c.double().is_coalesced(), c.sin().is_coale'
    'sced(), (c/2).is_coalesced(), c[0].is_coalesced(), t.cat([c,c]).is_coalesced(), c.inde'
    'x_select(0,t.tensor([0])).is_coalesced(),c.sum(0).is_coalesced(), t.sparse.sum(c,0).is'
    '_coalesced()',
    'D.to_sparse().is_coalesced(), t.sparse_coo_tensor(i,v).is_coalesced(), t.sparse_coo_te'
    'nsor(t.zeros(2,0),t.zeros(0),(2,2)).is_coalesced(), t.sparse_coo_tensor([[0],[1]],[2.]'
    ').is_coalesced(), t.zeros(2,2,layout=t.sparse_coo).is_coalesced(), c.clone().is_coales'
    'ced(), c.detach().is_coalesced(), D.sparse_mask(c).is_coalesced(),c.unsqueeze(0).is_co'
    'alesced(), t.zeros_like(c).is_coalesced()',
    'c*t.tensor(2.), c*t.tensor([1.,2.,3.]), c*t.tensor([[1.],[2.]]), D*c',
    'c+t.sparse_coo_tensor([[0]],[1.],(3,))',
    'c*t.sparse_coo_tensor([[0]],[1.],(3,))',
    'c.add(c, alpha=3), c+c.double(), c.int()/2, c.int()+c, c.int()*2.5, c*t.tensor(2,dtype'
    "=t.float64), c.div(2, rounding_mode='floor'), c//2",
    'c.pow(0)',
    'c.pow(-1)',
    'c.mul_(D), c.clone().div_(2)',
    'c.clone().add_(D)',
    'c.clone().sub_(c), c.clone().neg_(), c.clone().sin_(), c.clone().copy_(s)',
    'c.clone().copy_(D)',
    'D.clone().copy_(c)',
    'c.round(), c.floor(), c.trunc(), c.sign(), c.tanh(), c.expm1(), c.log1p(), c.isinf(), '
    'c.signbit()',
    'c.cos()',
    'c.square(), c.real, c.conj(), c.nan_to_num(), c.floor_divide(2)',
    'c > 0',
    'c.eq(1)',
    'c.sum(dtype=t.float64), c.sum(0,keepdim=True), c.sum((0,1))',
    'c.sum(2)',
    "c.norm(1), c.norm(p='fro')",
    'c.norm(dim=0)',
    't.sparse.sum(c, 2)',
    't.sparse.sum(c, (0,0))',
    't.sparse.sum(D)',
    't.sparse.softmax(c,1), t.sparse.softmax(c,0), t.sparse.log_softmax(c,1), t.sparse.soft'
    'max(s,1), t.sparse.softmax(c,1,dtype=t.float64)',
    't.sparse.softmax(c,2)',
    't.sparse.softmax(D,1)',
    'c.permute(1,0), c.permute(0,1), c.mT, c.swapaxes(0,1), c.movedim(0,1)',
    'c.broadcast_to((2,2,3))',
    'c.isnan().any()',
    'c.all()',
    't.nansum(c)',
    't.mm(c, c)',
    'c.matmul(t.ones(3,1))',
    't.sparse.mm(c, t.ones(3))',
    't.sparse.mm(c, t.ones(2,1))',
    't.addmm(c, c, t.ones(3,3))',
    'c.requires_grad_().is_leaf',
]


@pytest.mark.parametrize("code", CALLS)
def test_as_pytorch(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(START + code, torch_oracle)
