"""Autocast under its older name."""

from __future__ import annotations

import warnings

from flambeau.amp.autocast_mode import autocast as _autocast
from flambeau.base import dtypes

__all__ = ["autocast"]


class autocast(_autocast):
    """``torch.amp.autocast("cpu", ...)``, with a warning that it is the name to use."""

    def __init__(self, enabled: bool = True, dtype: dtypes.dtype = dtypes.bfloat16,
                 cache_enabled: bool = True) -> None:
        warnings.warn("`torch.cpu.amp.autocast(args...)` is deprecated. Please use "
                      "`torch.amp.autocast('cpu', args...)` instead.", FutureWarning,
                      stacklevel=2)
        super().__init__("cpu", dtype, enabled, cache_enabled)
