"""Discrete Fourier transforms of NumPy arrays.

``norm`` says, as everywhere, which direction divides by the number of points: "backward",
"forward", or both by its root: "ortho".
"""

from __future__ import annotations

import numpy as np

__all__ = ["c2c", "c2r", "r2c"]

ndarray = np.ndarray


def c2c(a: ndarray, dims: tuple[int, ...], norm: str, forward: bool) -> ndarray:
    """The transform of a complex array along ``dims``, or the inverse."""
    if not dims or not a.size:
        return np.array(a)
    run = np.fft.fft if forward else np.fft.ifft
    for d in reversed(dims):
        a = run(a, axis=d, norm=norm)  # type: ignore[call-overload]
    return a


def r2c(a: ndarray, dims: tuple[int, ...], norm: str, onesided: bool) -> ndarray:
    """The transform of a real array; ``onesided``: of the last of ``dims`` only the first half."""
    run = np.fft.rfft if onesided else np.fft.fft
    last = dims[-1]
    if not a.size:
        size = a.shape[last] // 2 + 1 if onesided else a.shape[last]
        shape = (*a.shape[:last], size, *a.shape[last + 1:])
        return np.zeros(shape, np.result_type(a.dtype, np.complex64))
    return c2c(run(a, axis=last, norm=norm), dims[:-1], norm, True) if len(dims) > 1 else run(
        a, axis=last, norm=norm)


def c2r(a: ndarray, dims: tuple[int, ...], norm: str, size: int) -> ndarray:
    """The inverse of ``r2c`` with ``onesided``; ``size`` points along the last of ``dims``."""
    last = dims[-1]
    if not a.size:
        return np.zeros((*a.shape[:last], size, *a.shape[last + 1:]), a.real.dtype)
    if len(dims) > 1:
        a = c2c(a, dims[:-1], norm, False)
    return np.fft.irfft(a, size, axis=last, norm=norm)  # type: ignore[call-overload]
