"""Discrete Fourier transforms, of complex, real and Hermitian signals, in any dimensions.

Three operators do all of it: complex to complex, real to complex, and half of a Hermitian signal to
its real transform. Each is linear, and each is the others' adjoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.backends.numpy import fourier
from flambeau.base import dtypes
from flambeau.base.dtypes import FROM_NUMPY, dtype
from flambeau.base.shapes import wrap_dim
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import linear
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.copy import cast
from flambeau.ops.create import finish_new
from flambeau.ops.patches import constant_pad_nd
from flambeau.ops.rearrange import roll
from flambeau.ops.shape import shifting

ndarray = np.ndarray
# The normalisation of an adjoint, and of the transform of the other direction.
OTHER = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def _c2c_back(g: Tensor, dims: tuple, norm: str, forward: bool) -> Tensor:
    return apply(C2C, (g,), {"dims": dims, "norm": OTHER[norm], "forward": not forward})


C2C: Op = linear("fft_c2c", fourier.c2c, _c2c_back, params=("dims", "norm", "forward"),
                 node="FftC2C", batch=shifting("dims"))


def _folded(size: int, half: int, dim: int, rank: int, weight: float) -> ndarray:
    """Ones for the frequencies that stand for themselves, ``weight`` for those with a mirror."""
    weights = np.ones(half)
    weights[1:1 + size - half] = weight
    return weights.reshape(half, *(1,) * (rank - dim - 1))


def _weighed(t: Any, size: int, dim: int, weight: float) -> Tensor:
    shape = t._a.shape
    weights = _folded(size, shape[dim], dim, len(shape), weight)
    real = np.float32 if t._a.itemsize == 8 else np.float64
    return t * wrap(weights.astype(real))


def _r2c_back(g: Any, input_shape: tuple, dims: tuple, norm: str, onesided: bool) -> Tensor:
    if not onesided:
        return _c2c_back(g, dims, norm, True).real
    size = input_shape[dims[-1]]
    return apply(C2R, (_weighed(g, size, dims[-1], 0.5),),
                 {"dims": dims, "norm": OTHER[norm], "size": size})


R2C: Op = linear("fft_r2c", fourier.r2c, _r2c_back, params=("dims", "norm", "onesided"),
                 node="FftR2C", batch=shifting("dims"))


def _c2r_back(g: Tensor, dims: tuple, norm: str, size: int) -> Tensor:
    found = apply(R2C, (g,), {"dims": dims, "norm": OTHER[norm], "onesided": True})
    return _weighed(found, size, dims[-1], 2.0)


C2R: Op = linear("fft_c2r", fourier.c2r, _c2r_back, params=("dims", "norm", "size"),
                 node="FftC2R", batch=shifting("dims"))


# What the public functions share


def _mode(norm: str | None) -> str:
    if norm is None:
        return "backward"
    if norm not in OTHER:
        raise RuntimeError(f"Invalid normalization mode: \"{norm}\"")
    return norm


def _promoted(t: Tensor, to_complex: bool) -> Tensor:
    """``t`` in a dtype that transforms are there for: integers become the default dtype."""
    held = FROM_NUMPY[t._a.dtype]
    if held.category < 2:
        held = dtypes.get_default_dtype()
    if held.itemsize < 4:
        raise RuntimeError(f"Unsupported dtype {held.title}")
    return cast(t, held.to_complex() if to_complex and not held.is_complex else held)


def _points(n: int) -> None:
    if n < 1:
        raise RuntimeError(f"Invalid number of data points ({n}) specified")


def _fitted(t: Any, dims: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """``t`` cut, or padded with zeros at the end, to the given sizes."""
    rank = t._a.ndim
    pads = [0] * rank
    for d, n in zip(dims, sizes):
        have = t._a.shape[d]
        if n < have:
            t = t.narrow(d, 0, n)
        pads[d] = max(n - have, 0)
    if not any(pads):
        return t
    amounts = [x for p in reversed(pads) for x in (0, p)]
    while amounts[-2:] == [0, 0]:
        amounts = amounts[:-2]
    return constant_pad_nd(t, amounts, 0)


def _int(name: str, n: Any) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"fft_{name}(): argument 'n' must be int, not {type(n).__name__}")
    return n.__index__()


def _tuple(value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    return (int(value),) if hasattr(value, "__index__") else tuple([int(v) for v in value])


def _region(t: Tensor, s: Any, dim: Any) -> tuple[tuple[int, ...], list[int]]:
    """The dimensions to transform, and the sizes to transform them at."""
    shape, s, dim = t._a.shape, _tuple(s), _tuple(dim)
    rank = len(shape)
    if dim is not None:
        dims = tuple([wrap_dim(d, rank) for d in dim])
        if len(set(dims)) != len(dims):
            raise RuntimeError("FFT dims must be unique")
    if s is not None:
        if dim is not None and len(dim) != len(s):
            raise RuntimeError("When given, dim and shape arguments must have the same length")
        if len(s) > rank:
            raise RuntimeError(f"Got shape with {len(s)} values but input tensor only has {rank} "
                               "dimensions.")
        dims = dims if dim is not None else tuple(range(rank - len(s), rank))
        sizes = [shape[d] if n == -1 else n for d, n in zip(dims, s)]
    else:
        dims = dims if dim is not None else tuple(range(rank))
        sizes = [shape[d] for d in dims]
    for n in sizes:
        _points(n)
    return dims, sizes


# One dimension


def _one(name: str, input: Tensor, n: Any, dim: int) -> tuple[int, int]:
    d = wrap_dim(dim, input._a.ndim, scalar_ok=False)
    return d, input._a.shape[d] if n is None else _int(name, n)


def _complex_1d(name: str, input: Tensor, n: Any, dim: int, norm: str | None,
                forward: bool) -> Tensor:
    d, size = _one(name, input, n, dim)
    _points(size)
    mode = _mode(norm)
    t = _fitted(_promoted(input, False), (d,), (size,))
    if t._a.dtype.kind == "c":
        return apply(C2C, (t,), {"dims": (d,), "norm": mode, "forward": forward})
    found = apply(R2C, (t,), {"dims": (d,), "norm": mode if forward else OTHER[mode],
                              "onesided": False})
    return found if forward else conj_of(found)


@public("fft", out=True)
def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The transform along ``dim``, of ``n`` points (cut, or padded with zeros).

    ``norm``: "backward" (the inverse divides by n), "ortho" (both by its root) or "forward".

    >>> import flambeau as torch
    >>> torch.fft.fft(torch.tensor([1., 2., 3., 4.])).abs()
    tensor([10.0000,  2.8284,  2.0000,  2.8284])
    """
    return _complex_1d("fft", input, n, dim, norm, True)


@public("fft", out=True)
def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of ``fft``."""
    return _complex_1d("ifft", input, n, dim, norm, False)


def _half_1d(name: str, input: Tensor, n: Any, dim: int, norm: str | None,
             forward: bool) -> Tensor:
    if input._a.dtype.kind == "c":
        raise RuntimeError(f"{name} expects a real input tensor, but got "
                           f"{FROM_NUMPY[input._a.dtype].title}")
    d, size = _one(name, input, n, dim)
    _points(size)
    mode = _mode(norm)
    t = _fitted(_promoted(input, False), (d,), (size,))
    found = apply(R2C, (t,), {"dims": (d,), "norm": mode if forward else OTHER[mode],
                              "onesided": True})
    return found if forward else conj_of(found)


@public("fft", out=True)
def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The transform of a real signal: its first n // 2 + 1 frequencies, which tell the rest.

    >>> import flambeau as torch
    >>> torch.fft.rfft(torch.tensor([1., 2., 3., 4.]))
    tensor([10.+0.j, -2.+2.j, -2.+0.j])
    """
    return _half_1d("rfft", input, n, dim, norm, True)


@public("fft", out=True)
def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of ``hfft``: the first half of the inverse transform of a real signal."""
    return _half_1d("ihfft", input, n, dim, norm, False)


def _real_1d(name: str, input: Tensor, n: Any, dim: int, norm: str | None,
             forward: bool) -> Tensor:
    t = _promoted(input, True)
    d, size = _one(name, t, n, dim)
    size = 2 * (size - 1) if n is None else size
    _points(size)
    mode = _mode(norm)
    t = _fitted(t, (d,), (size // 2 + 1,))
    return apply(C2R, (conj_of(t) if forward else t,),
                 {"dims": (d,), "norm": OTHER[mode] if forward else mode, "size": size})


@public("fft", out=True)
def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of ``rfft``: a real signal of ``n`` points (by default 2 (m - 1) of m)."""
    return _real_1d("irfft", input, n, dim, norm, False)


@public("fft", out=True)
def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The transform, real, of a Hermitian signal given by its first half."""
    return _real_1d("hfft", input, n, dim, norm, True)


# Several dimensions


def _complex_nd(input: Tensor, s: Any, dim: Any, norm: str | None, forward: bool) -> Tensor:
    dims, sizes = _region(input, s, dim)
    mode = _mode(norm)
    t = _fitted(_promoted(input, True), dims, sizes)
    return apply(C2C, (t,), {"dims": dims, "norm": mode, "forward": forward})


@public("fft", out=True)
def fftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The transform along the dimensions ``dim`` (all of them by default), at the sizes ``s``.

    >>> import flambeau as torch
    >>> torch.fft.fftn(torch.ones(2, 2))
    tensor([[4.+0.j, 0.+0.j],
            [0.+0.j, 0.+0.j]])
    """
    return _complex_nd(input, s, dim, norm, True)


@public("fft", out=True)
def ifftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of ``fftn``."""
    return _complex_nd(input, s, dim, norm, False)


def _some_axis(name: str, dims: Sequence[int]) -> None:
    if not dims:
        raise RuntimeError(f"{name} must transform at least one axis")


@public("fft", out=True)
def rfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The transform of a real signal: along the last of ``dim`` only the first frequencies."""
    if input._a.dtype.kind == "c":
        raise RuntimeError("rfftn expects a real-valued input tensor, but got "
                           f"{FROM_NUMPY[input._a.dtype].title}")
    dims, sizes = _region(input, s, dim)
    _some_axis("rfftn", dims)
    mode = _mode(norm)
    t = _fitted(_promoted(input, False), dims, sizes)
    return apply(R2C, (t,), {"dims": dims, "norm": mode, "onesided": True})


@public("fft", out=True)
def ihfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of ``hfftn``."""
    if input._a.dtype.kind == "c":
        raise RuntimeError("Only supports floating-point dtypes, but found: "
                           f"{FROM_NUMPY[input._a.dtype].title}")
    dims, sizes = _region(input, s, dim)
    _some_axis("ihfftn", dims)
    mode = _mode(norm)
    t = _fitted(_promoted(input, False), dims, sizes)
    half = conj_of(apply(R2C, (t,), {"dims": dims[-1:], "norm": OTHER[mode], "onesided": True}))
    if len(dims) == 1:
        return half
    return apply(C2C, (half,), {"dims": dims[:-1], "norm": mode, "forward": False})


def _real_nd(name: str, input: Tensor, s: Any, dim: Any, norm: str | None,
             forward: bool) -> Tensor:
    dims, sizes = _region(input, s, dim)
    _some_axis(name, dims)
    given = _tuple(s)
    size = sizes[-1] if given is not None and given[-1] != -1 else 2 * (sizes[-1] - 1)
    _points(size)
    mode = _mode(norm)
    t = _fitted(_promoted(input, True), dims, [*sizes[:-1], size // 2 + 1])
    return apply(C2R, (conj_of(t) if forward else t,),
                 {"dims": dims, "norm": OTHER[mode] if forward else mode, "size": size})


@public("fft", out=True)
def irfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The inverse of ``rfftn``."""
    return _real_nd("irfftn", input, s, dim, norm, False)


@public("fft", out=True)
def hfftn(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None) -> Tensor:
    """The transform, real, of a Hermitian signal given by half of it along the last of ``dim``."""
    return _real_nd("hfftn", input, s, dim, norm, True)


def _plane(of_any: Callable, name: str, text: str) -> None:
    """Declare the transform of two dimensions, by default the last two."""

    def transform(input: Tensor, s: Any = None, dim: Any = (-2, -1),
                  norm: str | None = None) -> Tensor:
        return of_any(input, s, dim, norm)

    transform.__doc__ = text
    transform.__name__ = transform.__qualname__ = name
    globals()[name] = public("fft", out=True)(transform)


for _of_any in (fftn, ifftn, rfftn, irfftn, hfftn, ihfftn):
    _name = _of_any.__name__
    _plane(_of_any, f"{_name[:-1]}2", f"``{_name}`` of two dimensions, by default the last two.")


# Frequencies and their order


def _frequencies(name: str, numbers: Callable, n: Any, d: float, held: dtype | None, device: Any,
                 requires_grad: bool) -> Tensor:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"fft_{name}(): argument 'n' (position 1) must be int, not "
                        f"{type(n).__name__}")
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    held = held or dtypes.get_default_dtype()
    if held.category < 2:
        raise RuntimeError(f"{name} requires a floating point or complex dtype")
    if held.is_complex:
        raise NotImplementedError(f"\"arange_cpu\" not implemented for '{held.title}'")
    step = np.float64(1.0) / np.float64(n * d)
    found = (numbers(n.__index__()).astype(held.np) * held.np.type(step)).astype(held.np)
    return finish_new(found, device, requires_grad)


@public("fft", out=True)
def fftfreq(n: int, d: float = 1.0, *, dtype: dtype | None = None, layout: Any = None,
            device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """The frequencies of ``fft`` of ``n`` points ``d`` apart, in cycles per unit of ``d``.

    >>> import flambeau as torch
    >>> torch.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    return _frequencies("fftfreq", lambda k: np.fft.ifftshift(np.arange(k) - k // 2), n, d, dtype,
                        device, requires_grad)


@public("fft", out=True)
def rfftfreq(n: int, d: float = 1.0, *, dtype: dtype | None = None, layout: Any = None,
             device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """The frequencies of ``rfft`` of ``n`` points ``d`` apart."""
    return _frequencies("rfftfreq", lambda k: np.arange(k // 2 + 1), n, d, dtype, device,
                        requires_grad)


def _shifted(input: Tensor, dim: Any, by: Callable[[int], int]) -> Tensor:
    rank = input._a.ndim
    given = _tuple(dim)
    dims = tuple(range(rank)) if given is None else tuple([wrap_dim(d, rank) for d in given])
    return roll(input, tuple([by(input._a.shape[d]) for d in dims]), dims)


@public("fft")
def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The frequency zero moved to the middle of each of ``dim`` (all by default).

    >>> import flambeau as torch
    >>> torch.fft.fftshift(torch.fft.fftfreq(4))
    tensor([-0.5000, -0.2500,  0.0000,  0.2500])
    """
    return _shifted(input, dim, lambda n: n // 2)


@public("fft")
def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of ``fftshift``."""
    return _shifted(input, dim, lambda n: (n + 1) // 2)


__all__ = ["C2C", "C2R", "R2C", "fft", "fftfreq", "fftn", "fftshift", "hfft", "hfftn", "ifft",
           "ifftn", "ifftshift", "ihfft", "ihfftn", "irfft", "irfftn", "rfft", "rfftfreq",
           "rfftn"]
