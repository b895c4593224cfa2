"""Discrete Fourier transforms of arrays: SciPy's for large ones where it is there, else NumPy's.

``norm`` says, as everywhere, which direction divides by the number of points: "backward",
"forward", or both by its root: "ortho".
"""

from __future__ import annotations

import functools
import sys
from typing import Any, Literal

import numpy as np

from flambeau.backends.threads import get_num_threads

__all__ = ["c2c", "c2r", "r2c"]

ndarray = np.ndarray
Norm = Literal["backward", "ortho", "forward"]
C64, C128, F32 = np.dtype(np.complex64), np.dtype(np.complex128), np.dtype(np.float32)
# From this many elements SciPy's vector code is worth its import, and from that many threads are.
LARGE, THREADED = 1 << 15, 1 << 17


def _scipy(a: ndarray) -> Any:
    """SciPy's transforms, where they are the better choice for ``a``; else None."""
    return _scipy_fft() if a.size >= LARGE or "scipy.fft" in sys.modules else None


@functools.cache
def _scipy_fft() -> Any:
    try:
        # SciPy is optional, and slow to import.
        import scipy.fft as found
    except ImportError:
        return None
    return found


def _workers(a: ndarray) -> int:
    return get_num_threads() if a.size >= THREADED else 1


def c2c(a: ndarray, dims: tuple[int, ...], norm: Norm, forward: bool) -> ndarray:
    """The transform of a complex array along ``dims``, or the inverse."""
    if not dims or not a.size:
        return np.array(a)
    better = _scipy(a)
    if better is not None:
        run = better.fftn if forward else better.ifftn
        return run(a, axes=dims, norm=norm, workers=_workers(a))
    # NumPy's single precision takes several times as long as its double precision.
    wide = a.astype(C128) if a.dtype == C64 else a
    run = np.fft.fft if forward else np.fft.ifft
    for d in reversed(dims):
        wide = run(wide, axis=d, norm=norm, out=None if wide is a else wide)
    return wide.astype(C64) if a.dtype == C64 else wide


def r2c(a: ndarray, dims: tuple[int, ...], norm: Norm, onesided: bool) -> ndarray:
    """The transform of a real array; ``onesided``: of the last of ``dims`` only the first half."""
    last = dims[-1]
    size = a.shape[last]
    half = size // 2 + 1
    if not a.size:
        shape = (*a.shape[:last], half if onesided else size, *a.shape[last + 1:])
        return np.zeros(shape, C64 if a.dtype == F32 else C128)
    better = _scipy(a)
    if better is not None:
        run = better.rfftn if onesided else better.fftn
        return run(a, axes=dims, norm=norm, workers=_workers(a))
    found = np.fft.rfft(a, axis=last, norm=norm)
    if not onesided:
        found = _mirrored(found, size, last)
    return c2c(found, dims[:-1], norm, True) if len(dims) > 1 else found


def _mirrored(a: ndarray, size: int, dim: int) -> ndarray:
    """All ``size`` frequencies of a real signal, from the first half of them."""
    out = np.empty((*a.shape[:dim], size, *a.shape[dim + 1:]), a.dtype)
    whole, half = np.moveaxis(out, dim, -1), np.moveaxis(a, dim, -1)
    count = half.shape[-1]
    whole[..., :count] = half
    np.conjugate(half[..., size - count:0:-1], out=whole[..., count:])
    return out


def c2r(a: ndarray, dims: tuple[int, ...], norm: Norm, size: int) -> ndarray:
    """The inverse of ``r2c`` with ``onesided``; ``size`` points along the last of ``dims``."""
    last = dims[-1]
    if not a.size:
        return np.zeros((*a.shape[:last], size, *a.shape[last + 1:]), a.real.dtype)
    better = _scipy(a)
    if better is not None:
        sizes = [*[a.shape[d] for d in dims[:-1]], size]
        return better.irfftn(a, sizes, axes=dims, norm=norm, workers=_workers(a))
    if len(dims) > 1:
        a = c2c(a, dims[:-1], norm, False)
    return np.fft.irfft(a, size, axis=last, norm=norm)
