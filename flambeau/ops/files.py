"""Tensors whose memory is a file."""

from __future__ import annotations

from typing import Any

from flambeau.base.dtypes import dtype, get_default_dtype
from flambeau.core.face import public
from flambeau.core.storage import mapped
from flambeau.core.tensor import Tensor
from flambeau.ops.construct import finish_new

__all__ = ["from_file"]


@public("torch")
def from_file(filename: str, shared: bool | None = None, size: int = 0, *,
              dtype: dtype | None = None, layout: Any = None, device: Any = None,
              requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A 1-D tensor of ``size`` elements over the memory of a file.

    With ``shared`` changes are written to the file, which is made or made longer where needed;
    without, they stay in this tensor, and the file must be long enough.
    """
    if not isinstance(filename, str):
        raise TypeError("from_file(): argument 'filename' (position 1) must be str, not "
                        f"{type(filename).__name__}")
    held = (dtype or get_default_dtype()).np
    return finish_new(mapped(filename, bool(shared), size, held), device, requires_grad)
