"""Switches of a whole program: determinism, the precision of products, warnings, denormals."""

from __future__ import annotations

import warnings

import numpy as np

__all__ = ["are_deterministic_algorithms_enabled", "get_deterministic_debug_mode",
           "get_float32_matmul_precision", "is_deterministic_algorithms_warn_only_enabled",
           "is_warn_always_enabled", "set_deterministic_debug_mode",
           "set_float32_matmul_precision", "set_flush_denormal", "set_warn_always",
           "use_deterministic_algorithms"]

_MODES = ("default", "warn", "error")
_PRECISIONS = ("highest", "high", "medium")


class _Settings:
    deterministic = 0  # a place in _MODES
    fill_uninitialized = True
    precision = "highest"
    warn_always = False


SETTINGS = _Settings()
# Not empty while memory that nobody has written yet is to be filled.
FILLING: list[bool] = []


def _update_filling() -> None:
    FILLING[:] = [True] if SETTINGS.deterministic and SETTINGS.fill_uninitialized else []


def fill_blank(array: np.ndarray) -> np.ndarray:
    """``array``, just made, filled with NaN, or with the greatest number where there is no NaN."""
    kind = array.dtype.kind
    if kind in "biu":
        array.fill(True if kind == "b" else np.iinfo(array.dtype).max)
    else:
        array.fill(np.nan)
    return array


def fill_uninitialized_memory(fill: bool | None = None) -> bool:
    """Whether deterministic algorithms fill new memory; set to ``fill`` where that is given."""
    if fill is not None:
        SETTINGS.fill_uninitialized = fill
        _update_filling()
    return SETTINGS.fill_uninitialized


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for equal results of equal programs; ``warn_only`` would warn where that cannot be.

    Every operator of flambeau is deterministic anyway. What changes is that ``empty`` and its
    like fill their memory: see ``torch.utils.deterministic``.

    >>> import flambeau as torch
    >>> torch.use_deterministic_algorithms(True)
    >>> torch.empty(2)
    tensor([nan, nan])
    >>> torch.use_deterministic_algorithms(False)
    """
    for name, value in (("mode' (position 1)", mode), ("warn_only'", warn_only)):
        if not isinstance(value, bool):
            raise TypeError(f"_set_deterministic_algorithms(): argument '{name} must be bool, not "
                            f"{type(value).__name__}")
    SETTINGS.deterministic = (1 if warn_only else 2) if mode else 0
    _update_filling()


def are_deterministic_algorithms_enabled() -> bool:
    """Whether deterministic algorithms were asked for."""
    return SETTINGS.deterministic > 0


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether they were asked for with ``warn_only``."""
    return SETTINGS.deterministic == 1


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """As ``use_deterministic_algorithms``, by "default", "warn", "error" or their number."""
    if not isinstance(debug_mode, (int, str)):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if isinstance(debug_mode, str):
        if debug_mode not in _MODES:
            raise RuntimeError("invalid value of debug_mode, expected one of `default`, `warn`, "
                               f"`error`, but got {debug_mode}")
        debug_mode = _MODES.index(debug_mode)
    if debug_mode not in (0, 1, 2):
        raise RuntimeError("invalid value of debug_mode, expected 0, 1, or 2, but got "
                           f"{debug_mode}")
    SETTINGS.deterministic = int(debug_mode)
    _update_filling()


def get_deterministic_debug_mode() -> int:
    """0 by default, 1 to warn, 2 to raise."""
    return SETTINGS.deterministic


def get_float32_matmul_precision() -> str:
    """What ``set_float32_matmul_precision`` was given; "highest" at first."""
    return SETTINGS.precision


def set_float32_matmul_precision(precision: str) -> None:
    """Say how exact products of float32 matrices must be: "highest", "high" or "medium".

    Kept and told; on the CPU all of them are computed in float32.
    """
    if not isinstance(precision, str):
        raise RuntimeError("set_float32_matmul_precision expects a str, but got "
                           f"{type(precision).__name__}")
    if precision not in _PRECISIONS:
        warnings.warn(f"{precision} is not one of 'highest', 'high', or 'medium'; the current"
                      "setFloat32MatmulPrecision call has no effect.", UserWarning, stacklevel=2)
        return
    SETTINGS.precision = precision


def set_warn_always(b: bool) -> None:
    """Say whether what PyTorch warns of once a process is warned of every time."""
    if not isinstance(b, bool):
        raise RuntimeError(f"setWarnOnlyOnce expects a bool, but got {type(b).__name__}")
    SETTINGS.warn_always = b


def is_warn_always_enabled() -> bool:
    """What ``set_warn_always`` was given; False at first."""
    return SETTINGS.warn_always


_told: set[str] = set()


def warn_once(text: str, stacklevel: int = 3) -> None:
    """Warn, the first time in this process, or always where ``set_warn_always`` says so."""
    if SETTINGS.warn_always or text not in _told:
        _told.add(text)
        warnings.warn(text, UserWarning, stacklevel=stacklevel)


def set_flush_denormal(mode: bool) -> bool:
    """Ask that denormal numbers become zero: False, for NumPy has no such switch."""
    if not isinstance(mode, bool):
        raise RuntimeError(f"flush_denormal expects a bool, but got {type(mode).__name__}")
    return False
