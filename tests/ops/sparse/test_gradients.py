"""Gradients of sparse tensors and to them."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.ops.sparse.start import START
from tests.outcome import assert_same_outcome

CALLS = [
    '(sp*2).grad_fn, (sp+sp).grad_fn, (sp*sp).grad_fn, (sp.t()).grad_fn, sp.coalesce().grad'
    '_fn, sp.coalesce().values().grad_fn, sp.to_dense().grad_fn, (sp@D.t()).grad_fn, t.spar'
    'se.mm(sp,D.t()).grad_fn, t.sparse.mm(sp,D.t().to_sparse()).grad_fn, t.sparse.sum(sp).g'
    'rad_fn, t.sparse.sum(sp,0).grad_fn, sp.sum().grad_fn, sp.sum(0).grad_fn',
    't.sparse.addmm(D[:2,:2],sp,D.t()).grad_fn, t.addmm(D[:2,:2],sp,D.t()).grad_fn, t.mv(sp'
    ',t.ones(3)).grad_fn, (sp@t.ones(3)).grad_fn, sp[0].grad_fn, sp.index_select(0,t.tensor'
    '([0])).grad_fn, (D+sp).grad_fn, (sp*D).grad_fn,(sp/2).grad_fn, sp.neg().grad_fn, sp.si'
    'n().grad_fn, sp.double().grad_fn, sp.clone().grad_fn,t.cat([sp,sp]).grad_fn, t.sparse.'
    'softmax(sp,1).grad_fn, t.relu(sp).grad_fn',
    'sp.to_dense().sum().backward();;sp.grad',
    'sp.coalesce().to_dense().sum().backward();;sp.grad',
    '(sp*2).to_dense().sum().backward();;sp.grad',
    '(sp+sp).to_dense().sum().backward();;sp.grad',
    '(sp*sp).to_dense().sum().backward();;sp.grad',
    '(sp*D).to_dense().sum().backward();;sp.grad',
    'd=D.clone().requires_grad_();;(s*d).to_dense().sum().backward();;d.grad',
    'd=D.clone().requires_grad_();;(c*d).to_dense().sum().backward();;d.grad',
    'd=D.clone().requires_grad_();;(d+sp).sum().backward();;(d.grad, sp.grad)',
    'd=D.t().clone().requires_grad_();;t.sparse.mm(sp,d).sum().backward();;(d.grad, sp.grad'
    ')',
    'd=D.t().clone().requires_grad_();;(sp@d).sum().backward();;(d.grad, sp.grad)',
    'd=D.t().clone().requires_grad_();;t.addmm(D[:2,:2],sp,d).sum().backward();;(d.grad, sp'
    '.grad)',
    'd=t.ones(3).requires_grad_();;(sp@d).sum().backward();;(d.grad, sp.grad)',
    'q=c.requires_grad_();;q.values().sum().backward();;q.grad',
    'q=c.requires_grad_();;(q.values()*t.arange(2.)).sum().backward();;q.grad',
    'sp.sum().backward();;sp.grad',
    't.sparse.sum(sp).backward();;sp.grad',
    't.sparse.sum(sp,0).to_dense().sum().backward();;sp.grad',
    't.sparse.sum(sp,0).values().sum().backward();;sp.grad',
    'sp.t().to_dense().sum().backward();;sp.grad',
    'sp.sin().to_dense().sum().backward();;sp.grad',
    '(-sp).to_dense().sum().backward();;sp.grad',
    'sp.double().to_dense().sum().backward();;sp.grad',
    'w=v.clone().requires_grad_();;t.sparse_coo_tensor(i,w,(2,3)).to_dense().mul(D).sum().b'
    'ackward();;w.grad',
    'w=v.clone().requires_grad_();;(t.sparse_coo_tensor(i,w,(2,3))@D.t()).sum().backward();'
    ';w.grad',
    'w=v.clone().requires_grad_();;t.sparse.mm(t.sparse_coo_tensor(i,w,(2,3)),D.t()).sum().'
    'backward();;w.grad',
    'w=v.clone().requires_grad_();;t.sparse_coo_tensor(i,w,(2,3)).coalesce().values().pow(2'
    ').sum().backward();;w.grad',
    'w=v.clone().requires_grad_();;t.sparse.sum(t.sparse_coo_tensor(i,w,(2,3))).backward();'
    ';w.grad',
    'd=D.clone().requires_grad_();;d.to_sparse().to_dense().mul(D).sum().backward();;d.grad',
    'd=D.clone().requires_grad_();;d.to_sparse().coalesce().values().sum().backward();;d.gr'
    'ad',
    'd=D.clone().requires_grad_();;d.sparse_mask(c).to_dense().mul(D).sum().backward();;d.g'
    'rad',
    't.sparse.softmax(sp,1).to_dense().mul(D).sum().backward();;sp.grad',
    'sp.to_dense(masked_grad=False).sum().backward();;sp.grad',
    'w=t.ones(5,2,requires_grad=True);;(t.embedding(w,t.tensor([1,1,3]),sparse=True)*t.aran'
    'ge(6.).reshape(3,2)).sum().backward();;w.grad',
    'w=t.ones(5,2,requires_grad=True);;[(t.embedding(w,t.tensor([1,1,3]),sparse=True)*t.ara'
    'nge(6.).reshape(3,2)).sum().backward() for _ in (1,2)];;w.grad',
    'w=t.ones(5,2,requires_grad=True);;[(t.embedding(w,t.tensor(k),sparse=True)*t.ones(len('
    'k),2)).sum().backward() for k in ([1,1,3],[0,3])];;w.grad',
    'w=t.ones(5,2,requires_grad=True);;(t.embedding(w,t.tensor([1,1,3]),1,False,True)*t.ara'
    'nge(6.).reshape(3,2)).sum().backward();;w.grad',
    'w=t.ones(5,2,requires_grad=True);;(t.embedding(w,t.tensor([1,1,3]),sparse=True).sum()+'
    'w.sum()).backward();;w.grad',
    'w=t.ones(5,2,requires_grad=True);;t.embedding(w,t.tensor([[1,1],[3,0]]),sparse=True).m'
    'ul(2).sum().backward();;w.grad.coalesce()',
    'w=t.ones(5,2,requires_grad=True);;t.embedding(w,t.tensor([1,1,3]),sparse=True).sum().b'
    'ackward();;w.sum().backward();;w.grad',
    'w=t.ones(5,2,requires_grad=True);;w.sum().backward();;t.embedding(w,t.tensor([1,1,3]),'
    'sparse=True).sum().backward();;w.grad',
    'w=t.ones(5,2,requires_grad=True);;t.embedding(w,t.tensor([1,1,3]),-1,True,True).sum().'
    'backward()',
    'w=t.ones(5,2,requires_grad=True);;t.nn.functional.embedding_bag(t.tensor([[1,1,3]]),w,'
    'sparse=True).sum().backward();;w.grad',
    'w=t.ones(5,2,requires_grad=True);;t.nn.functional.embedding_bag(t.tensor([[1,1,3]]),w,'
    "sparse=True,mode='sum').sum().backward();;w.grad",
    'w=t.ones(5,2,requires_grad=True);;t.nn.functional.embedding_bag(t.tensor([[1,1,3]]),w,'
    "sparse=True,mode='sum',padding_idx=3).sum().backward();;w.grad",
    'w=t.ones(5,2,requires_grad=True);;t.nn.functional.embedding_bag(t.tensor([[1,1,3]]),w,'
    "sparse=True,mode='max').sum().backward();;w.grad",
    'w=t.ones(5,2,requires_grad=True);;t.gather(w,0,t.tensor([[1,0],[2,2]]),sparse_grad=Tru'
    'e).sum().backward();;w.grad',
    'sp.register_hook(lambda g: g*2);;sp.to_dense().sum().backward();;sp.grad',
    'q=sp*2;;q.retain_grad();;q.to_dense().sum().backward();;q.grad',
    'sp.to_dense().sum().backward();;sp.to_dense().sum().backward();;sp.grad',
    't.autograd.grad(sp.to_dense().sum(), sp)',
    'sp.grad=s;;sp.grad is s',
    'sp.requires_grad_(False);;sp.requires_grad',
    'with_=0;;q=sp.detach();;q.requires_grad, q.is_leaf',
    'csr.requires_grad_().to_dense().sum().backward();;csr.grad',
    'q=csr.requires_grad_();;(q@D.t()).sum().backward();;q.grad',
    'q=csr.requires_grad_();;(q.values()*2).sum().backward();;q.grad',
    'w=t.ones(2,requires_grad=True);;q=t.sparse_csr_tensor(t.tensor([0,1,2]),t.tensor([1,0]'
    '),w,(2,2));;q',
    'w=t.ones(2,requires_grad=True);;q=t.sparse_csr_tensor(t.tensor([0,1,2]),t.tensor([1,0]'
    '),w,(2,2));;(q@t.ones(2,1)).sum().backward();;w.grad',
    "d=D.t().clone().requires_grad_();;t.sparse.mm(csr,d,'amax').sum().backward();;d.grad",
    "q=csr.requires_grad_();;t.sparse.mm(q,D.t(),'amax').sum().backward();;q.grad",
    "q=csr.requires_grad_();;t.sparse.mm(q,D.t(),'mean').grad_fn",
    'a=t.ones(2,2,requires_grad=True);;q=csr.requires_grad_();;r=t.sparse.sampled_addmm(q, '
    'a, t.ones(2,3));;r.grad_fn',
    'a=t.ones(2,2,requires_grad=True);;q=csr.requires_grad_();;r=t.sparse.sampled_addmm(q, '
    'a, t.ones(2,3));;r.to_dense().sum().backward();;(a.grad,q.grad)',
    'd=D.clone().requires_grad_();;d.to_sparse_csr().to_dense().mul(D).sum().backward();;d.'
    'grad',
    'd=D.clone().requires_grad_();;(d.to_sparse()@t.ones(3,1)).sum().backward();;d.grad',
    'd=D.clone().requires_grad_();;t.sparse.mm(d.to_sparse(),t.ones(3,1)).sum().backward();'
    ';d.grad',
]


@pytest.mark.parametrize("code", CALLS)
def test_as_pytorch(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(START + code, torch_oracle)
