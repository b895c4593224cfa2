"""``torch.sparse.FloatTensor`` and its like: the legacy constructors of sparse tensors."""

from __future__ import annotations

from typing import Any

from flambeau.base import naming
from flambeau.base.device import layout, sparse_coo
from flambeau.base.dtypes import BY_NAME, dtype
from flambeau.core.tensor import Tensor
from flambeau.ops.sparse.make import sparse_coo_tensor

__all__ = ["TYPES"]


class SparseType(type):
    """The type of tensors by coordinates of one dtype; calling it makes one."""

    dtype: dtype
    layout: layout = sparse_coo
    is_sparse = True
    is_cuda = False

    def __call__(cls, *args: Any, device: Any = None) -> Tensor:
        if len(args) in (2, 3) and all(isinstance(a, Tensor) for a in args[:2]):
            if args[0].dtype.name != "int64":
                raise RuntimeError(f"expected scalar type Long but found {args[0].dtype.title}")
            return sparse_coo_tensor(*args, device=device)
        sizes = args or (0,)
        if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
            sizes = tuple(sizes[0])
        if not all(isinstance(n, int) for n in sizes):
            kinds = ", ".join(type(a).__name__ for a in args)
            raise TypeError("new() received an invalid combination of arguments - got "
                            f"({kinds}), but expected one of:\n * (Tensor indices, Tensor values)"
                            "\n * (Tensor indices, Tensor values, tuple of ints size)"
                            "\n * (tuple of ints size)")
        return sparse_coo_tensor(sizes, dtype=cls.dtype, device=device)

    def __instancecheck__(cls, x: Any) -> bool:
        return isinstance(x, Tensor) and x.layout is sparse_coo and x.dtype is cls.dtype

    def __repr__(cls) -> str:
        return f"<class '{naming.prefix()}.sparse.{cls.__name__}'>"


def _made(held: dtype) -> SparseType:
    return SparseType(f"{held.title}Tensor", (), {
        "dtype": held, "__doc__": f"Legacy constructor of sparse {held.name} tensors."})


TYPES = {t.__name__: t for t in map(_made, (BY_NAME[name] for name in (
    "float32", "float64", "float16", "bfloat16", "uint8", "int8", "int16", "int32", "int64")))}
