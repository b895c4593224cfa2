"""What each thread's autocast is doing, and the functions that read and set it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

from flambeau.base import dtypes
from flambeau.base.device import device
from flambeau.base.dtypes import dtype
from flambeau.core.modes import MODES, pause
from flambeau.core.tensor import Tensor

__all__ = [
    "STATE", "autocast_decrement_nesting", "autocast_increment_nesting", "clear_autocast_cache",
    "get_autocast_cpu_dtype", "get_autocast_dtype", "get_autocast_gpu_dtype",
    "is_autocast_available", "is_autocast_cache_enabled", "is_autocast_cpu_enabled",
    "is_autocast_enabled", "set_autocast_cache_enabled", "set_autocast_cpu_dtype",
    "set_autocast_cpu_enabled", "set_autocast_dtype", "set_autocast_enabled",
    "set_autocast_gpu_dtype",
]

# The dtype that each device starts with. All but the CPU are there to be asked about.
_FIRST = {"cpu": dtypes.bfloat16, "cuda": dtypes.float16, "hpu": dtypes.bfloat16,
          "ipu": dtypes.float16, "maia": dtypes.bfloat16, "mps": dtypes.float16,
          "mtia": dtypes.float16, "privateuseone": dtypes.float16, "xla": dtypes.bfloat16,
          "xpu": dtypes.float16}


_NO_KEY = "unknown device type for autocast in get_autocast_dispatch_key_from_device_type"


class _State(threading.local):
    """``lower`` is the dtype that operators on the CPU run in now; None while autocast is off."""

    def __init__(self) -> None:
        self.lower: dtype | None = None
        self.pauses = False
        self.enabled = dict.fromkeys(_FIRST, False)
        self.dtypes = dict(_FIRST)
        self.cache_enabled = True
        self.nesting = 0
        # a leaf's cast, with the leaf: so that its id is not another's meanwhile
        self.cache: dict[int, tuple[Tensor, Tensor]] = {}

    def refresh(self) -> None:
        """Set ``lower`` by what the CPU's switches say."""
        MODES.lower = self.lower = self.dtypes["cpu"] if self.enabled["cpu"] else None
        if self.enabled["cpu"] is not self.pauses:
            self.pauses = self.enabled["cpu"]
            # a plan of a quick call knows nothing of casts
            pause(self.pauses)


STATE = _State()
# Called when autocast is first switched on: has operators look at the state.
ON_ENABLE: list[Callable[[], None]] = []


def _checked(device_type: Any, name: str, unknown: str) -> str:
    """The device, where autocast knows it; RuntimeError with the text ``unknown`` else."""
    if not isinstance(device_type, str):
        raise TypeError(f"{name}(): argument 'device_type' (position 1) must be str, not "
                        f"{type(device_type).__name__}")
    if device(device_type).type not in _FIRST:
        raise RuntimeError(unknown)
    return device_type


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast knows this device."""
    return device(device_type).type in _FIRST


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether autocast is on for a device, "cuda" if none is given.

    >>> import flambeau as torch
    >>> with torch.autocast("cpu"):
    ...     torch.is_autocast_enabled("cpu")
    True
    """
    if device_type is None:
        return STATE.enabled["cuda"]
    return STATE.enabled[_checked(device_type, "is_autocast_enabled", _NO_KEY)]


def set_autocast_enabled(device_type: Any, enabled: bool | None = None) -> None:
    """Switch autocast on or off for a device; with one argument for "cuda"."""
    position = 2
    if enabled is None:
        device_type, enabled, position = "cuda", device_type, 1
    if not isinstance(enabled, bool):
        raise TypeError(f"set_autocast_enabled(): argument 'enabled' (position {position}) must be "
                        f"bool, not {type(enabled).__name__}")
    STATE.enabled[_checked(device_type, "set_autocast_enabled", _NO_KEY)] = enabled
    STATE.refresh()
    if STATE.lower is not None:
        for prepare in ON_ENABLE:
            prepare()


def get_autocast_dtype(device_type: str) -> dtype:
    """The lower precision that autocast uses on a device."""
    return STATE.dtypes[_checked(device_type, "get_autocast_dtype", "unsupported scalarType")]


def set_autocast_dtype(device_type: str, dtype: dtype) -> None:
    """Set the lower precision that autocast uses on a device."""
    if not isinstance(dtype, dtypes.dtype):
        raise TypeError("set_autocast_dtype(): argument 'dtype' (position 2) must be torch.dtype, "
                        f"not {type(dtype).__name__}")
    STATE.dtypes[_checked(device_type, "set_autocast_dtype", _NO_KEY)] = dtype
    STATE.refresh()


def is_autocast_cache_enabled() -> bool:
    """Whether casts of leaves are kept until autocast ends."""
    return STATE.cache_enabled


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Keep casts of leaves, or do not."""
    STATE.cache_enabled = bool(enabled)


def clear_autocast_cache() -> None:
    """Forget the casts of leaves."""
    STATE.cache.clear()


def autocast_increment_nesting() -> int:
    """Enter one more block; returns how many there are."""
    STATE.nesting += 1
    return STATE.nesting


def autocast_decrement_nesting() -> int:
    """Leave a block; returns how many are left."""
    STATE.nesting -= 1
    return STATE.nesting


def _deprecated(name: str, instead: str) -> None:
    warnings.warn(f"torch.{name} is deprecated. Please use torch.{instead} instead.",
                  DeprecationWarning, stacklevel=3)


def is_autocast_cpu_enabled() -> bool:
    """The older form of ``is_autocast_enabled("cpu")``."""
    _deprecated("is_autocast_cpu_enabled()", "is_autocast_enabled('cpu')")
    return STATE.enabled["cpu"]


def set_autocast_cpu_enabled(enabled: bool) -> None:
    """The older form of ``set_autocast_enabled("cpu", enabled)``."""
    _deprecated("set_autocast_cpu_enabled(enabled)", "set_autocast_enabled('cpu', enabled)")
    set_autocast_enabled("cpu", enabled)


def get_autocast_cpu_dtype() -> dtype:
    """The older form of ``get_autocast_dtype("cpu")``."""
    _deprecated("get_autocast_cpu_dtype()", "get_autocast_dtype('cpu')")
    return STATE.dtypes["cpu"]


def set_autocast_cpu_dtype(dtype: dtype) -> None:
    """The older form of ``set_autocast_dtype("cpu", dtype)``."""
    _deprecated("set_autocast_cpu_dtype(dtype)", "set_autocast_dtype('cpu', dtype)")
    set_autocast_dtype("cpu", dtype)


def get_autocast_gpu_dtype() -> dtype:
    """The older form of ``get_autocast_dtype("cuda")``."""
    _deprecated("get_autocast_gpu_dtype()", "get_autocast_dtype('cuda')")
    return STATE.dtypes["cuda"]


def set_autocast_gpu_dtype(dtype: dtype) -> None:
    """The older form of ``set_autocast_dtype("cuda", dtype)``."""
    _deprecated("set_autocast_gpu_dtype(dtype)", "set_autocast_dtype('cuda', dtype)")
    set_autocast_dtype("cuda", dtype)
