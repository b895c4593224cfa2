"""Layer, batch, group and root-mean-square norms of large arrays as kernels by rows.

Every function takes arrays of one dtype, float32 or float64, and returns None to say "use NumPy".
"""

import math
from typing import Any

import numpy as np

from flambeau.backends import memory
from flambeau.backends.row_kernels import Split, dense, kernel_of, kind_of, run_split

# items of a channel from which group norm is worth its kernels
MIN_AREA = 8


def _norm(on: Any, x: Any, w: Any, b: Any, eps: float) -> tuple:
    n = on.length(x.kind)
    mean = on.sum(x) / n
    centred = x - mean
    rstd = on.rsqrt(on.sum(centred * centred) / n + eps)
    y = centred * rstd
    if w is not None:
        y = y * w if b is None else on.fma(y, w, b)
    elif b is not None:
        y = y + b
    return y, (mean, "column"), (rstd, "column")


def _norm_slope(
    on: Any, g: Any, x: Any, mean: Any, rstd: Any, w: Any, wanted: tuple[bool, ...], own: bool
) -> tuple:
    """The wanted gradients of x, w, b; `own` says that a row has its own weight and bias."""
    n = on.length(x.kind)
    normal = (x - mean) * rstd
    results: list[Any] = []
    if wanted[0]:
        gw = g if w is None or own else g * w
        slope = gw - on.sum(gw) / n - normal * (on.sum(gw * normal) / n)
        results.append(slope * (rstd * w if w is not None and own else rstd))
    if wanted[1]:
        results.append((on.sum(g * normal), "column") if own else (g * normal, "row"))
    if wanted[2]:
        results.append((on.sum(g), "column") if own else (g, "row"))
    return tuple(results)


def _layout(view: tuple[int, ...], axes: tuple[int, ...]) -> tuple[str, Split] | None:
    """How the parameters lie over a row, and how rows lie in the array; None if not covered.

    view, axes: as `ops.norm` describes what it normalises.
    """
    if len(view) == 2 and axes == (1,):
        return "row", ("rows", view[0], view[1], 1)
    if axes == (0,) and len(view) == 2:
        return "column", ("across", 1, view[0], view[1])
    if axes == (0, *range(2, len(view))):
        return "column", ("rows", view[1], math.prod(view[2:]), view[0])
    return None


def norm(
    x: np.ndarray,
    w: np.ndarray | None,
    b: np.ndarray | None,
    view: tuple[int, ...],
    axes: tuple[int, ...],
    eps: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Layer, batch or group norm: the result, the mean and 1 / sqrt(variance + eps)."""
    if axes == (2, 3) and len(view) == 4:
        return group_norm(x, w, b, view, eps)
    kind = kind_of((x, w, b))
    found = None if kind is None else _layout(view, axes)
    if kind is None or found is None:
        return None
    layout, split = found
    layouts = ("array", *[None if a is None else layout for a in (w, b)])
    kernel = kernel_of(_norm, kind, layouts, float(eps))
    kept = tuple([1 if axis in axes else n for axis, n in enumerate(view)])
    out = memory.empty(x.shape, x.dtype)
    mean, rstd = np.empty(kept, x.dtype), np.empty(kept, x.dtype)
    run_split(kernel, (out, mean, rstd), dense((x, w, b)), split)
    return out, mean, rstd


def norm_backward(
    g: np.ndarray,
    x: np.ndarray,
    w: np.ndarray | None,
    mean: np.ndarray,
    rstd: np.ndarray,
    wanted: tuple[bool, ...],
    view: tuple[int, ...],
    axes: tuple[int, ...],
) -> list[np.ndarray] | None:
    """The wanted gradients of x, w and b, of layer, batch or group norm."""
    if axes == (2, 3) and len(view) == 4:
        return group_norm_backward(g, x, w, mean, rstd, wanted, view)
    kind = kind_of((g, x, mean, rstd, w))
    found = None if kind is None else _layout(view, axes)
    if kind is None or found is None or not any(wanted):
        return None
    layout, split = found
    own = layout == "column"
    used = w if wanted[0] else None
    layouts = ("array", "array", "column", "column", None if used is None else layout)
    kernel = kernel_of(_norm_slope, kind, layouts, tuple(map(bool, wanted)), own)
    size = mean.size if own else split[2]
    outs = [memory.empty(x.shape, x.dtype)] if wanted[0] else []
    outs += [np.empty(size, x.dtype) for want in wanted[1:] if want]
    run_split(kernel, outs, dense((g, x, mean, rstd, used)), split)
    return outs


# group norm: moments by group, the rest by channel


def _moments(on: Any, x: Any, eps: float) -> tuple:
    n = on.length(x.kind)
    mean = on.sum(x) / n
    centred = x - mean
    return (mean, "column"), (on.rsqrt(on.sum(centred * centred) / n + eps), "column")


def _scaled(on: Any, x: Any, scale: Any, shift: Any) -> tuple:
    return (on.fma(x, scale, shift),)


def _two_sums(on: Any, g: Any, x: Any, mean: Any, rstd: Any) -> tuple:
    return (on.sum(g), "column"), (on.sum(g * ((x - mean) * rstd)), "column")


def _group_slope(on: Any, g: Any, x: Any, first: Any, second: Any, third: Any) -> tuple:
    return (on.fma(g, first, on.fma(x, second, third)),)


def _by_channel(values: np.ndarray, view: tuple[int, ...]) -> np.ndarray:
    """One value a channel, for values that broadcast to (N, groups, channels of a group)."""
    return np.ascontiguousarray(np.broadcast_to(values, view[:3]))


def group_norm(
    x: np.ndarray, w: np.ndarray | None, b: np.ndarray | None, view: tuple[int, ...], eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Group norm of x seen as view = (N, groups, channels, area), with mean and 1 / deviation."""
    kind = kind_of((x, w, b))
    if kind is None or view[3] < MIN_AREA:
        return None
    n, groups, each, area = view
    (x,) = dense((x,))
    mean, rstd = (np.empty((n, groups, 1, 1), x.dtype) for _ in range(2))
    kernel_of(_moments, kind, ("array",), float(eps)).run(
        (mean, rstd), (x,), n * groups, each * area)
    scale = rstd[..., 0] if w is None else rstd[..., 0] * w.reshape(1, groups, each)
    shift = -mean[..., 0] * scale
    shift = shift if b is None else shift + b.reshape(1, groups, each)
    out = memory.empty(x.shape, x.dtype)
    channels = [_by_channel(scale, view), _by_channel(shift, view)]
    kernel_of(_scaled, kind, ("array", "column", "column")).run(
        (out,), (x, *channels), n * groups * each, area)
    return out, mean, rstd


def group_norm_backward(
    g: np.ndarray,
    x: np.ndarray,
    w: np.ndarray | None,
    mean: np.ndarray,
    rstd: np.ndarray,
    wanted: tuple[bool, ...],
    view: tuple[int, ...],
) -> list[np.ndarray] | None:
    """The wanted gradients of x, w and b; mean and rstd are (N, groups, 1, 1)."""
    kind = kind_of((g, x, mean, rstd, w))
    if kind is None or view[3] < MIN_AREA:
        return None
    n, groups, each, area = view
    g, x = dense((g, x))
    mean, rstd = mean[..., 0], rstd[..., 0]
    plain, weighted = (np.empty(view[:3], x.dtype) for _ in range(2))
    kernel_of(_two_sums, kind, ("array", "array", "column", "column")).run(
        (plain, weighted), (g, x, _by_channel(mean, view), _by_channel(rstd, view)),
        n * groups * each, area)
    found = []
    if wanted[0]:
        weight = np.ones((), x.dtype) if w is None else w.reshape(1, groups, each)
        count = each * area
        a = (plain * weight).sum(2, keepdims=True) / count
        c = (weighted * weight).sum(2, keepdims=True) / count
        second = -c * rstd * rstd
        factors = (rstd * weight, second, -a * rstd - second * mean)
        out = memory.empty(x.shape, x.dtype)
        kernel_of(_group_slope, kind, ("array", "array", "column", "column", "column")).run(
            (out,), (g, x, *[_by_channel(f, view) for f in factors]), n * groups * each, area)
        found.append(out)
    sums = [total.sum(0).reshape(-1) for total in (weighted, plain)]
    return found + [total for total, want in zip(sums, wanted[1:], strict=True) if want]


def scale_channels(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray | None:
    """x * scale + shift for x (N, C, ...), scale and shift (C,)."""
    kind = kind_of((x, scale, shift))
    if kind is None:
        return None
    (x,) = dense((x,))
    out = memory.empty(x.shape, x.dtype)
    area = math.prod(x.shape[2:])
    if area == 1:
        kernel_of(_scaled, kind, ("array", "row", "row")).run(
            (out,), (x, scale, shift), x.shape[0], x.shape[1])
        return out
    channels = [np.tile(scale, x.shape[0]), np.tile(shift, x.shape[0])]
    kernel_of(_scaled, kind, ("array", "column", "column")).run(
        (out,), (x, *channels), x.shape[0] * x.shape[1], area)
    return out


# root mean square norm


def _rms(on: Any, x: Any, w: Any, eps: float) -> tuple:
    rstd = on.rsqrt(on.sum(x * x) / on.length(x.kind) + eps)
    y = x * rstd
    return (y if w is None else y * w), (rstd, "column")


def _rms_slope(on: Any, g: Any, x: Any, rstd: Any, w: Any, wanted: tuple[bool, ...]) -> tuple:
    results: list[Any] = []
    if wanted[0]:
        gw = g if w is None else g * w
        slope = on.sum(gw * x) / on.length(x.kind) * (rstd * rstd)
        results.append((gw - x * slope) * rstd)
    if wanted[1]:
        results.append((g * (x * rstd), "row"))
    return tuple(results)


def rms_norm(
    x: np.ndarray, w: np.ndarray | None, size: int, eps: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """x / rms(x) * w over the last `size` items, and 1 / rms of every row, (rows, 1)."""
    kind = kind_of((x, w))
    if kind is None:
        return None
    rows = x.size // size
    out, rstd = memory.empty(x.shape, x.dtype), np.empty((rows, 1), x.dtype)
    kernel = kernel_of(_rms, kind, ("array", None if w is None else "row"), float(eps))
    kernel.run((out, rstd), dense((x, w)), rows, size)
    return out, rstd


def rms_norm_backward(
    g: np.ndarray,
    x: np.ndarray,
    w: np.ndarray | None,
    rstd: np.ndarray,
    size: int,
    wanted: tuple[bool, ...],
) -> list[np.ndarray] | None:
    """The wanted gradients of x and w."""
    kind = kind_of((g, x, rstd, w))
    if kind is None or not any(wanted):
        return None
    used = w if wanted[0] else None
    layouts = ("array", "array", "column", None if used is None else "row")
    kernel = kernel_of(_rms_slope, kind, layouts, tuple(map(bool, wanted)))
    outs = [memory.empty(x.shape, x.dtype)] if wanted[0] else []
    outs += [np.empty(size, x.dtype)] if wanted[1] else []
    kernel.run(outs, dense((g, x, rstd, used)), x.size // size, size)
    return outs
