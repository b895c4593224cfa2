"""flex_attention: block masks, score functions, numbers and errors as PyTorch's; gradients."""

from __future__ import annotations

from types import ModuleType

import pytest

import flambeau
from flambeau.nn.attention import flex_attention as flex
from tests.outcome import assert_same_outcome

START = ("import importlib;;F=importlib.import_module(t.__name__+'.nn.attention.flex_attention');;"
         "causal=lambda b,h,q,k:q>=k;;q=t.randn(2,4,5,8);;k,v=t.randn(2,2,2,6,8).unbind();;")
CALLS = [
    "m=F.create_block_mask(causal,1,2,300,260,device='cpu');;[m,m.shape,m.sparsity(),"
    "m.to_dense(),m.kv_num_blocks,m.kv_indices,m.full_kv_num_blocks,m.full_kv_indices,"
    "m.q_num_blocks,m.q_indices,m.full_q_num_blocks,m.full_q_indices]",
    "F.create_mask(causal,1,1,3,4,device='cpu')",
    "F.create_mask(lambda s,b,h,q,k:t.where(q>k,s,-float('inf')),None,2,3,2,device='cpu')",
    "F.create_mask(F.and_masks(causal,lambda b,h,q,k:q-k<2),1,2,4,4,device='cpu')",
    "F.create_mask(F.or_masks(causal,F.noop_mask),1,1,2,2,device='cpu')",
    "F.flex_attention(q,k,v,enable_gqa=True)",
    "[x.round(decimals=3) for x in F.flex_attention(q,k,v,lambda s,b,h,i,j:s+0.1*(i-j)*h,"
    "enable_gqa=True,scale=.5,return_lse=True)]",
    "F.flex_attention(q,k,v,block_mask=F.create_block_mask(causal,2,4,5,6,device='cpu'),"
    "enable_gqa=True).round(decimals=3)",
    "F.flex_attention(q[:,:1],k[:,:1],v[:,:1],return_lse=True,"
    "block_mask=F.create_block_mask(lambda b,h,q,k:q<0,None,None,5,6,device='cpu'))",
    "F.flex_attention(q,k,v)", "F.flex_attention(q[0],k,v)", "F.flex_attention(q[...,:3],k,v)",
    "F.flex_attention(q[:,:2],k[:1],v[:1])", "F.flex_attention(q[:,:3],k,v,enable_gqa=True)",
    "F.flex_attention(q[:,:2],k,v,"
    "block_mask=F.create_block_mask(causal,1,1,4,4,device='cpu'))",
]


@pytest.mark.parametrize("code", CALLS)
def test_as_pytorch(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(START + code, torch_oracle)


def test_gradient() -> None:
    def attend(q: flambeau.Tensor, k: flambeau.Tensor, v: flambeau.Tensor) -> flambeau.Tensor:
        return flex.flex_attention(q, k, v, lambda s, b, h, i, j: s * (1 + i), block_mask=mask)

    mask = flex.create_block_mask(lambda b, h, q, k: q > k, 1, 1, 3, 3)
    parts = [flambeau.randn(1, 1, 3, 2, dtype=flambeau.float64, requires_grad=True)
             for _ in range(3)]
    assert flambeau.autograd.gradcheck(attend, parts)
