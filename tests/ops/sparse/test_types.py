"""torch.sparse.FloatTensor and torch.spmm, as older programs write them."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.outcome import assert_same_outcome

START = "i=t.tensor([[0,1],[1,0]]);;v=t.tensor([1.,2]);;F=t.sparse.FloatTensor;;"
CALLS = ["F(i,v,t.Size([2,3]))", "F(i,v)", "F(2,3)", "F()", "F(i,v.double())", "F(t.Size([2,2]))",
         "F(i.float(),v)", "t.sparse.LongTensor(i,v.long())",
         "(isinstance(F(i,v),F), isinstance(F(i,v),t.sparse.DoubleTensor), isinstance(v,F))",
         "(F, F.dtype, F.is_sparse, F.layout)", "t.spmm(F(i,v),t.ones(2,3))",
         "t.spmm(t.ones(2,2),t.ones(2,3))",
         "w=t.ones(2,1,requires_grad=True);;t.spmm(F(i,v),w).sum().backward();;w.grad"]


@pytest.mark.parametrize("code", CALLS)
def test_as_pytorch(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(START + code, torch_oracle)
