"""PyTorch's interface and PyTorch's numbers, in Python, faster on a CPU.

>>> import flambeau as torch
>>> torch.tensor([1.0, 2.0]) + 1
tensor([2., 3.])
"""

from __future__ import annotations

import gc as _gc
from importlib import import_module as _import_module
from math import e, inf, nan, pi
from typing import Any

import numpy as _np

# PyTorch says nothing of overflow, division by zero or NaN; NumPy would warn on every one.
_np.seterr(all="ignore")

# Imports make tens of thousands of objects that stay. Looking through them for garbage, again and
# again, would be a fifth of the time.
_collects = _gc.isenabled()
_gc.disable()
try:
    from flambeau import autograd, ops, version
finally:
    if _collects:
        _gc.enable()

from flambeau.backends.threads import (  # noqa: E402
    get_num_interop_threads,
    get_num_threads,
    set_num_interop_threads,
    set_num_threads,
)
from flambeau.base import dtypes as _dtypes  # noqa: E402
from flambeau.base.device import (  # noqa: E402
    channels_last,
    channels_last_3d,
    contiguous_format,
    device,
    get_default_device,
    jagged,
    layout,
    legacy_contiguous_format,
    memory_format,
    preserve_format,
    set_default_device,
    sparse_bsc,
    sparse_bsr,
    sparse_coo,
    sparse_csc,
    sparse_csr,
    strided,
)
from flambeau.base.dtypes import (  # noqa: E402
    can_cast,
    dtype,
    get_default_dtype,
    promote_types,
    set_default_dtype,
)
from flambeau.base.limits import finfo, iinfo  # noqa: E402
from flambeau.base.missing import missing_attribute as _missing  # noqa: E402
from flambeau.base.settings import (  # noqa: E402
    are_deterministic_algorithms_enabled,
    get_deterministic_debug_mode,
    get_float32_matmul_precision,
    is_deterministic_algorithms_warn_only_enabled,
    is_warn_always_enabled,
    set_deterministic_debug_mode,
    set_float32_matmul_precision,
    set_flush_denormal,
    set_warn_always,
    use_deterministic_algorithms,
)
from flambeau.base.shapes import Size  # noqa: E402
from flambeau.core import levels as _levels  # noqa: E402
from flambeau.core.face import FACES as _FACES  # noqa: E402
from flambeau.core.printing import set_printoptions  # noqa: E402
from flambeau.core.tensor import Tensor  # noqa: E402
from flambeau.interop.torch_face import as_torch  # noqa: E402
from flambeau.version import __version__  # noqa: E402

globals().update(_FACES["torch"])
globals().update(_dtypes.BY_NAME)
globals().update(_dtypes.ALIASES)


newaxis = None

# Loaded when first asked for: most programs use few of them.
_LATER = frozenset(
    (
        "_C",
        "_dynamo",
        "accelerator",
        "amp",
        "backends",
        "compiler",
        "cpu",
        "cuda",
        "distributed",
        "distributions",
        "fft",
        "func",
        "hub",
        "jit",
        "library",
        "linalg",
        "masked",
        "mps",
        "multiprocessing",
        "nn",
        "optim",
        "overrides",
        "profiler",
        "random",
        "return_types",
        "serialization",
        "signal",
        "sparse",
        "special",
        "storage",
        "testing",
        "torch_version",
        "utils",
        "xpu",
    )
)

for _class in (Tensor, Size, dtype, device, layout, memory_format, finfo, iinfo):
    _class.__module__ = "flambeau"


def __getattr__(name: str) -> Any:
    if name in _LATER:
        try:
            return _import_module(f"flambeau.{name}")
        except ModuleNotFoundError as error:
            if error.name not in (f"flambeau.{name}", f"torch.{name}"):
                raise
    if name in _FACES["torch"].later:
        globals()[name] = found = _FACES["torch"][name]
        return found
    if name == "torch":  # as in PyTorch, which imports itself
        return _import_module(__name__)
    if name == "vmap":
        return _import_module("flambeau.func").vmap
    raise _missing(__name__, name, [n for n in __dir__() if n != name])


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, *_FACES["torch"].later})


__all__ = [
    "Size",
    "Tensor",
    "__version__",
    "are_deterministic_algorithms_enabled",
    "as_torch",
    "autograd",
    "can_cast",
    "channels_last",
    "channels_last_3d",
    "contiguous_format",
    "device",
    "dtype",
    "e",
    "finfo",
    "get_default_device",
    "get_default_dtype",
    "get_deterministic_debug_mode",
    "get_float32_matmul_precision",
    "get_num_interop_threads",
    "get_num_threads",
    "iinfo",
    "inf",
    "is_deterministic_algorithms_warn_only_enabled",
    "is_warn_always_enabled",
    "jagged",
    "layout",
    "legacy_contiguous_format",
    "memory_format",
    "nan",
    "newaxis",
    "ops",
    "pi",
    "preserve_format",
    "promote_types",
    "set_default_device",
    "set_default_dtype",
    "set_deterministic_debug_mode",
    "set_float32_matmul_precision",
    "set_flush_denormal",
    "set_num_interop_threads",
    "set_num_threads",
    "set_printoptions",
    "set_warn_always",
    "sparse_bsc",
    "sparse_bsr",
    "sparse_coo",
    "sparse_csc",
    "sparse_csr",
    "strided",
    "use_deterministic_algorithms",
    "version",
]
# What operators' files show, and dtypes: `from torch import *` gives them in PyTorch as well.
_shown = {*_FACES["torch"], *_FACES["torch"].later, *_dtypes.BY_NAME, *_dtypes.ALIASES}
__all__ += sorted(name for name in _shown if not name.startswith("_"))
