"""Autocast and what belongs to it under their older names."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from flambeau.amp import autocast_mode
from flambeau.base import dtypes

__all__ = ["autocast", "custom_bwd", "custom_fwd"]


def _deprecated(name: str, instead: str) -> None:
    warnings.warn(f"`torch.cuda.amp.{name}(args...)` is deprecated. Please use "
                  f"`torch.amp.{instead}` instead.", FutureWarning, stacklevel=3)


class autocast(autocast_mode.autocast):
    """``torch.amp.autocast("cuda", ...)``, with a warning that it is the name to use."""

    def __init__(self, enabled: bool = True, dtype: dtypes.dtype = dtypes.float16,
                 cache_enabled: bool = True) -> None:
        _deprecated("autocast", "autocast('cuda', args...)")
        super().__init__("cuda", dtype, enabled, cache_enabled)


def custom_fwd(fwd: Callable | None = None, *, cast_inputs: dtypes.dtype | None = None
               ) -> Callable:
    """``torch.amp.custom_fwd(..., device_type="cuda")``, with a warning."""
    _deprecated("custom_fwd", "custom_fwd(args..., device_type='cuda')")
    return autocast_mode.custom_fwd(fwd, device_type="cuda", cast_inputs=cast_inputs)


def custom_bwd(bwd: Callable) -> Callable:
    """``torch.amp.custom_bwd(..., device_type="cuda")``, with a warning."""
    _deprecated("custom_bwd", "custom_bwd(args..., device_type='cuda')")
    return autocast_mode.custom_bwd(bwd, device_type="cuda")
