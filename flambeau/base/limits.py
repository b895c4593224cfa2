"""The limits of floating and integer types: ``finfo`` and ``iinfo``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau.base import dtypes, naming

__all__ = ["finfo", "iinfo"]

_MISSING = object()
_OF_PYTHON = {
    bool: dtypes.bool_,
    int: dtypes.int64,
    float: dtypes.float64,
    complex: dtypes.complex128,
}


def _checked(function: str, given: Any) -> dtypes.dtype:
    found = _OF_PYTHON.get(given, given) if isinstance(given, type) else given
    if not isinstance(found, dtypes.dtype):
        raise TypeError(
            f"{function}(): argument 'type' (position 1) must be {naming.prefix()}.dtype, "
            f"not {type(given).__name__}"
        )
    return found


class _Limits:
    """What both kinds share: a type, its width, and being equal where the type is."""

    __slots__ = ("_type",)
    _type: dtypes.dtype
    # Equal objects hash alike or, as PyTorch's, not at all.
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Limits) and self._type is other._type

    @property
    def bits(self) -> int:
        """The bits of a number, of the real part where it is complex."""
        return self._type.itemsize * 8

    @property
    def dtype(self) -> str:
        """The name of the type, such as 'float32'."""
        return self._type.name


class finfo(_Limits):
    """The limits of a floating type, or of the parts of a complex one.

    ``type`` is a dtype, ``float`` or ``complex``; without it, the default dtype. Raises
    TypeError for an integer or bool type. All but ``bits`` and ``dtype`` are Python floats.

    >>> import flambeau as torch
    >>> torch.finfo(torch.float16).max, torch.finfo(torch.float16).eps
    (65504.0, 0.0009765625)
    """

    __slots__ = ("_held",)

    def __init__(self, type: Any = _MISSING) -> None:
        found = dtypes.get_default_dtype() if type is _MISSING else _checked("finfo", type)
        if not (found.is_floating_point or found.is_complex):
            name = f"{naming.prefix()}.finfo"
            raise TypeError(
                f"{name}() requires a floating point input type. Use "
                f"{naming.prefix()}.iinfo to handle '{name}'"
            )
        self._type = found.to_real()
        import ml_dtypes  # At start-up it would cost six milliseconds that few programs need.

        self._held = ml_dtypes.finfo(self._type.np)

    @property
    def eps(self) -> float:
        """The distance from 1 to the next larger number."""
        if self._type is dtypes.float8_e5m2fnuz:
            return 0.125  # PyTorch's figure; the true distance is twice as long
        return float(self._held.eps)

    @property
    def max(self) -> float:
        """The largest finite number."""
        return float(self._held.max)

    @property
    def min(self) -> float:
        """The smallest finite number, which has the largest size below zero."""
        return float(self._held.min)

    @property
    def smallest_normal(self) -> float:
        """The smallest number above zero that keeps full precision."""
        return float(self._held.smallest_normal)

    tiny = smallest_normal

    @property
    def resolution(self) -> float:
        """Ten to minus the number of decimal digits that the type always keeps."""
        return 10.0 ** -math.floor(self._held.nmant * math.log10(2))

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        shown = ", ".join(f"{name}={getattr(self, name):g}" for name in names)
        return f"finfo({shown}, dtype={self.dtype})"


class iinfo(_Limits):
    """The limits of an integer type.

    ``type`` is a dtype or ``int``. Raises TypeError for another kind of type, bool included.

    >>> import flambeau as torch
    >>> torch.iinfo(torch.int16).min, torch.iinfo(torch.int16).max
    (-32768, 32767)
    """

    __slots__ = ()

    def __init__(self, type: Any = _MISSING) -> None:
        if type is _MISSING:
            raise TypeError('iinfo() missing 1 required positional arguments: "type"')
        found = _checked("iinfo", type)
        name = f"{naming.prefix()}.iinfo"
        if found is dtypes.bool_:
            raise TypeError(f"{found!r} is not supported by {name}")
        if found.is_floating_point or found.is_complex:
            raise TypeError(
                f"{name}() requires an integer input type. Use "
                f"{naming.prefix()}.finfo to handle '{name}'"
            )
        self._type = found

    @property
    def max(self) -> int:
        """The largest number."""
        return int(np.iinfo(self._type.np).max)

    @property
    def min(self) -> int:
        """The smallest number."""
        return int(np.iinfo(self._type.np).min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
