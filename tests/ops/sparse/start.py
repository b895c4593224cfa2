"""The tensors that the lines of these tests speak of."""

from __future__ import annotations

__all__ = ["START"]

START = """
i = t.tensor([[0, 1, 1], [2, 0, 0]]);; v = t.tensor([3., 4., 5.]);; D = t.arange(6.).reshape(2, 3);;
s = t.sparse_coo_tensor(i, v, (2, 3));; c = s.coalesce();; csr = D.to_sparse_csr();;
sp = t.sparse_coo_tensor(i.clone(), v.clone(), (2, 3)).requires_grad_();;
h = t.sparse_coo_tensor([[0, 1]], t.arange(12.).reshape(2, 3, 2), (4, 3, 2));;
""".replace("\n", " ")
