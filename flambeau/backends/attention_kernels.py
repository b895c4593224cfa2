"""Attention of large arrays as one kernel each way, or None to say "use NumPy"."""

from typing import Any

import numpy as np

from flambeau.backends import large
from flambeau.backends.conversions import dense

# multiplications of the scores from which a kernel is sooner done
MIN_WORK = 1 << 18
FLOATS = (np.float32, np.float64)
Mask = np.ndarray | None


def _kernels(q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: Mask) -> Any:
    """The module of kernels; None where they do not take these."""
    if q.ndim != 4 or q.dtype.type not in FLOATS or k.dtype != q.dtype or v.dtype != q.dtype:
        return None
    if k.shape[:2] != q.shape[:2] or v.shape[:3] != k.shape[:3] or k.shape[3] != q.shape[3]:
        return None
    if q.size * k.shape[2] < MIN_WORK or not v.size or not k.size:
        return None
    if mask is not None and (mask.ndim not in (2, 4) or mask.dtype.kind not in "bf"):
        return None
    if large.load() is None:
        return None
    # llvmlite is there, and imported
    from flambeau.backends.llvm import attention

    return attention


def _readable(a: np.ndarray) -> np.ndarray:
    """The array where kernels can read it as it lies, else a copy."""
    if a.flags.c_contiguous:
        return a
    whole = all(step % a.itemsize == 0 for step in a.strides)
    return a if whole and a.strides[-1] == a.itemsize and a.flags.aligned else dense(a)


def _whole(mask: Mask, q: np.ndarray, k: np.ndarray) -> Mask:
    """The mask with all its queries and keys."""
    if mask is None:
        return None
    return np.broadcast_to(mask, (*mask.shape[:-2], q.shape[2], k.shape[2]))


def attend(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: Mask, scale: float, causal: bool
) -> np.ndarray | None:
    """softmax(q @ k.T * scale + mask) @ v for arrays (B, H, L, E), (B, H, S, E), (B, H, S, V).

    mask: (L, S) or (B, H, L, S) with sizes of 1 where it is shared; boolean, or added. Causal:
    query i sees keys up to i.
    """
    kernels = _kernels(q, k, v, mask)
    if kernels is None:
        return None
    found: np.ndarray = kernels.forward(*[_readable(a) for a in (q, k, v)], _whole(mask, q, k),
                                        scale, causal)
    return found


def gradients(
    g: np.ndarray,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    mask: Mask,
    scale: float,
    causal: bool,
) -> list[np.ndarray] | None:
    """The gradients of q, k and v of `attend`."""
    kernels = _kernels(q, k, v, mask)
    if kernels is None or g.dtype != q.dtype:
        return None
    arrays = [_readable(a) for a in (g, q, k, v)]
    found: list[np.ndarray] = kernels.gradients(*arrays, _whole(mask, q, k), scale, causal)
    return found
