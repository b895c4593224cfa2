"""PyTorch's interface and PyTorch's numbers, in Python, faster on a CPU.

>>> import flambeau as torch
>>> torch.tensor([1.0, 2.0]) + 1
tensor([2., 3.])
"""

from __future__ import annotations

from math import e, inf, nan, pi
from typing import Any

import numpy as _np

# PyTorch says nothing of overflow, division by zero or NaN; NumPy would warn on every one.
_np.seterr(all="ignore")

from flambeau import autograd, ops  # noqa: E402
from flambeau.base import device as _device  # noqa: E402
from flambeau.base import dtypes as _dtypes  # noqa: E402
from flambeau.base.device import (  # noqa: E402
    channels_last,
    channels_last_3d,
    contiguous_format,
    device,
    layout,
    memory_format,
    preserve_format,
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
from flambeau.base.shapes import Size  # noqa: E402
from flambeau.core import levels as _levels  # noqa: E402
from flambeau.core.face import FACES as _FACES  # noqa: E402
from flambeau.core.printing import set_printoptions  # noqa: E402
from flambeau.core.tensor import Tensor  # noqa: E402

globals().update(_FACES["torch"])
globals().update(_dtypes.BY_NAME)
globals().update(_dtypes.ALIASES)



def __getattr__(name: str) -> Any:
    raise _missing(__name__, name, globals())


__all__ = ["Size", "Tensor", "autograd", "can_cast", "channels_last", "channels_last_3d",
           "contiguous_format", "device", "dtype", "e", "finfo", "get_default_dtype", "iinfo", "inf", "layout",
           "memory_format", "nan", "ops", "pi", "preserve_format", "promote_types", "set_default_dtype",
           "set_printoptions", "strided"]
