"""Autocast: blocks in which operators run in a lower precision where that does no harm."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np

from flambeau.amp import entries, state
from flambeau.amp.state import STATE, is_autocast_available
from flambeau.base import dtypes
from flambeau.base.dtypes import dtype
from flambeau.core.face import show
from flambeau.core.tensor import Tensor

__all__ = ["autocast", "autocast_decorator", "custom_bwd", "custom_fwd", "is_autocast_available"]

SUPPORTED = (dtypes.bfloat16, dtypes.float16)


class autocast:
    """In this block (or decorated function) operators choose their dtypes.

    On the CPU matrix products, convolutions and attention run in ``dtype`` (bfloat16, which is the
    default, or float16), losses, decompositions, Fourier transforms and some pooling in float32,
    and joins in the widest dtype of their tensors; the others in the dtypes of their arguments.
    float64 tensors are left alone. Casts of parameters are kept until the outermost block ends,
    unless ``cache_enabled`` is False. For "cuda" it is switched off, with a warning.

    >>> import flambeau as torch
    >>> layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    >>> with torch.autocast("cpu"):
    ...     y = layer(x)
    ...     loss = torch.nn.functional.mse_loss(y, x)
    >>> y.dtype is torch.bfloat16, loss.dtype is torch.float32
    (True, True)
    """

    def __init__(self, device_type: str, dtype: dtype | None = None, enabled: bool = True,
                 cache_enabled: bool | None = None) -> None:
        _check_device_type(device_type)
        self.device = device_type
        self.fast_dtype = state.get_autocast_dtype(device_type) if dtype is None else dtype
        if not is_autocast_available(device_type):
            raise RuntimeError("User specified an unsupported autocast device_type "
                               f"'{device_type}'")
        self._cache_enabled = STATE.cache_enabled if cache_enabled is None else cache_enabled
        self._enabled = enabled and self._can_be_enabled()

    def _can_be_enabled(self) -> bool:
        if self.device == "cuda":
            warnings.warn("CUDA is not available or torch_xla is imported. Disabling autocast.",
                          stacklevel=3)
            return False
        if self.fast_dtype in SUPPORTED:
            return True
        device = self.device.upper()
        warnings.warn(f"In {device} autocast, but the target dtype is not supported. Disabling "
                      f"autocast.\n{device} Autocast only supports dtypes of "
                      f"{', '.join(map(str, SUPPORTED))} currently.", stacklevel=3)
        return False

    def __enter__(self) -> autocast:
        self.prev_cache_enabled = STATE.cache_enabled
        self.prev = STATE.enabled[self.device]
        self.prev_fastdtype = STATE.dtypes[self.device]
        state.set_autocast_enabled(self.device, bool(self._enabled))
        state.set_autocast_dtype(self.device, self.fast_dtype)
        state.autocast_increment_nesting()
        STATE.cache_enabled = self._cache_enabled
        return self

    def __exit__(self, *error: object) -> Literal[False]:
        if state.autocast_decrement_nesting() == 0:
            state.clear_autocast_cache()
        state.set_autocast_enabled(self.device, self.prev)
        state.set_autocast_dtype(self.device, self.prev_fastdtype)
        STATE.cache_enabled = self.prev_cache_enabled
        return False

    def __call__(self, func: Callable) -> Callable:
        if not callable(func):
            raise TypeError(f"autocast()(func) requires a callable, but got {type(func).__name__}. "
                            "Did you mean to use autocast as a context manager? For example:\n"
                            "    with torch.autocast(device_type=...):\n"
                            "        output = model(input)")
        return autocast_decorator(self, func)


def autocast_decorator(autocast_instance: autocast, func: Callable) -> Callable:
    """``func``, run within ``autocast_instance``."""
    @functools.wraps(func)
    def decorate_autocast(*args: Any, **kwargs: Any) -> Any:
        with autocast_instance:
            return func(*args, **kwargs)

    return decorate_autocast


def _check_device_type(device_type: Any) -> None:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


def _cast(value: Any, device_type: str, dtype: dtype) -> Any:
    """``value`` with the tensors in it, however nested, in this dtype, where autocast casts."""
    if isinstance(value, Tensor):
        on_device = value.device.type == device_type
        return value.to(dtype) if on_device and entries.is_eligible(value) else value
    if isinstance(value, (str, bytes, np.ndarray)):
        return value
    if isinstance(value, Mapping):
        return {_cast(k, device_type, dtype): _cast(v, device_type, dtype)
                for k, v in value.items()}
    if isinstance(value, Iterable):
        found = (_cast(x, device_type, dtype) for x in value)
        return type(value)(found) if isinstance(value, (list, tuple)) else found
    return value


def custom_fwd(fwd: Callable | None = None, *, device_type: str,
               cast_inputs: dtype | None = None) -> Callable:
    """Decorator of ``forward`` of an ``autograd.Function`` that autocast shall respect.

    With ``cast_inputs`` its floating tensors come in that dtype and autocast is off inside, where
    it was on outside.
    """
    _check_device_type(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorate_fwd(*args: Any, **kwargs: Any) -> Any:
        args[0]._dtype = state.get_autocast_dtype(device_type)
        enabled = state.is_autocast_enabled(device_type)
        args[0]._fwd_used_autocast = enabled and cast_inputs is None
        if cast_inputs is None or not enabled:
            return fwd(*args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(*_cast(args, device_type, cast_inputs),
                       **_cast(kwargs, device_type, cast_inputs))

    return decorate_fwd


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Callable:
    """Decorator of ``backward`` of an ``autograd.Function``: autocast as it was for ``forward``."""
    _check_device_type(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorate_bwd(*args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, enabled=args[0]._fwd_used_autocast, dtype=args[0]._dtype):
            return bwd(*args, **kwargs)

    return decorate_bwd


for _name in state.__all__:
    if _name not in ("STATE", "is_autocast_available"):
        show(getattr(state, _name), _name, "torch")
show(autocast, "autocast", "torch")
