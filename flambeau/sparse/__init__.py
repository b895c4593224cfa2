"""Functions of sparse tensors."""

from __future__ import annotations

from typing import NoReturn

from flambeau.base.missing import missing_attribute
from flambeau.ops.sparse.products import addmm, sampled_addmm
from flambeau.ops.sparse.products import sparse_mm as mm
from flambeau.ops.sparse.reduce import log_softmax, softmax
from flambeau.ops.sparse.reduce import sparse_sum as sum
from flambeau.sparse.diagonals import spdiags
from flambeau.sparse.invariants import check_sparse_tensor_invariants
from flambeau.sparse.types import TYPES

__all__ = ["addmm", "check_sparse_tensor_invariants", "log_softmax", "mm", "sampled_addmm",
           "softmax", "spdiags", "sum"]

globals().update(TYPES)


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, __all__)
