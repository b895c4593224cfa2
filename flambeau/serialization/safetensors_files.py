"""safetensors files: tensors by name, through the package safetensors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from flambeau.base.dtypes import BY_NAME
from flambeau.core.storage import address
from flambeau.core.tensor import Tensor, wrap
from flambeau.serialization.atomic import writing

__all__ = ["DTYPES", "load_safetensors", "save_safetensors"]

# The names that the format has for dtypes.
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
          "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8",
          "U16": "uint16", "U32": "uint32", "U64": "uint64", "BOOL": "bool",
          "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "C64": "complex64"}
MISSING = "safetensors files need the package safetensors: pip install 'flambeau[safetensors]'"


def _package() -> Any:
    try:
        # an optional dependency
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(MISSING) from error
    return safetensors.numpy


def save_safetensors(tensors: Mapping[str, Tensor], path: str | os.PathLike,
                     metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors by name to a safetensors file, whole or not at all.

    Raises RuntimeError where two tensors share memory: the format keeps each on its own.
    """
    owners: dict[int, str] = {}
    arrays = {}
    for name, t in tensors.items():
        a = t.detach()._a
        place = address(a)
        if a.size and place in owners:
            raise RuntimeError(f"{owners[place]} and {name} share memory, which safetensors files "
                               "cannot say; save a clone() of one, or use torch.save")
        owners[place] = name
        arrays[name] = a.copy(order="C") if not a.flags.c_contiguous else a
    content = _package().save(arrays, dict(metadata) if metadata else None)
    with writing(os.fspath(path)) as file:
        file.write(content)


def load_safetensors(path: str | os.PathLike) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name."""
    _package()
    # an optional dependency
    from safetensors import deserialize

    with open(path, "rb") as file:
        found = deserialize(file.read())
    return {name: _tensor(entry) for name, entry in found}


def _tensor(entry: Mapping[str, Any]) -> Tensor:
    held = BY_NAME[DTYPES[entry["dtype"]]].np
    return wrap(np.frombuffer(bytearray(entry["data"]), held).reshape(entry["shape"]))
