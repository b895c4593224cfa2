"""Window functions: weights that fade a stretch of a signal out towards its ends.

``torch.hann_window`` and its kin make periodic windows, for spectra; ``torch.signal.windows`` makes
symmetric ones unless told otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from flambeau.backends.numpy.special import special
from flambeau.base import dtypes
from flambeau.base.device import layout, strided
from flambeau.base.dtypes import dtype
from flambeau.core.face import public
from flambeau.core.out_dtypes import C_NAMES
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.create import arange, finish_new, linspace, tensor
from flambeau.ops.functions import cos, exp, sin
from flambeau.ops.special import i0

ndarray = np.ndarray
SIGNAL = "signal.windows"


# The functions of torch itself. They count in the window's dtype, step by step.


def _checked(name: str, n: Any, held: dtype | None, of: Any) -> tuple[int, dtype]:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"{name}(): argument 'window_length' (position 1) must be int, not "
                        f"{type(n).__name__}")
    sparse = of is not None and of is not strided
    given = "float (default)" if held is None else C_NAMES.get(held.name, held.name)
    options = (f"TensorOptions(dtype={given}, device=cpu, layout="
               f"{'Sparse' if sparse else 'Strided (default)'}, requires_grad=false (default), "
               "pinned_memory=false, memory_format=(nullopt))")
    if sparse:
        raise RuntimeError(f"{name} is not implemented for sparse types, got: {options}")
    if held is not None and held.category < dtypes.FLOAT:
        raise RuntimeError(f"{name} expects floating point dtypes, got: {options}")
    if n < 0:
        raise RuntimeError(f"{name} requires non-negative window_length, got window_length={n}")
    if held is not None and held.is_complex:
        raise NotImplementedError(f"\"arange_cpu\" not implemented for '{held.title}'")
    return n.__index__(), held or dtypes.get_default_dtype()


def _window(name: str, n: Any, periodic: bool, held: dtype | None, of: Any, device: Any,
            requires_grad: bool, values: Callable[[int, dtype], Any]) -> Tensor:
    """``values(n)`` of a symmetric window; a periodic one is the next longer without its last."""
    n, to = _checked(name, n, held, of)
    if n < 2:
        return finish_new(np.ones(n, to.np), device, requires_grad)
    found = values(n + periodic, to)._a[:n]
    return finish_new(np.ascontiguousarray(found), device, requires_grad)


def _in(to: dtype, x: float) -> float:
    """``x`` rounded to a dtype: so factors are taken, half types' too."""
    return float(to.np.type(x))


def _cosine(n: int, to: dtype, alpha: float, beta: float) -> Any:
    turn = arange(n, dtype=to) * _in(to, 2 * math.pi / (n - 1))
    return cos(turn) * _in(to, -beta) + alpha


@public("torch")
def hann_window(window_length: int, periodic: bool = True, *, dtype: dtype | None = None,
                layout: Any = None, device: Any = None, requires_grad: bool = False,
                pin_memory: bool = False) -> Tensor:
    """Hann's window: one period of a raised cosine.

    >>> import flambeau as torch
    >>> torch.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _window("hann_window", window_length, periodic, dtype, layout, device, requires_grad,
                   lambda n, to: _cosine(n, to, 0.5, 0.5))


@public("torch")
def hamming_window(window_length: int, periodic: bool = True, alpha: float = 0.54,
                   beta: float = 0.46, *, dtype: dtype | None = None, layout: Any = None,
                   device: Any = None, requires_grad: bool = False,
                   pin_memory: bool = False) -> Tensor:
    """Hamming's window: ``alpha`` less ``beta`` times a cosine."""
    return _window("hamming_window", window_length, periodic, dtype, layout, device, requires_grad,
                   lambda n, to: _cosine(n, to, alpha, beta))


def _blackman(n: int, to: dtype) -> Any:
    turn = arange(n, dtype=to) * _in(to, math.pi / (n - 1))
    return cos(turn * 4) * _in(to, 0.08) - cos(turn * 2) * 0.5 + 0.42


@public("torch")
def blackman_window(window_length: int, periodic: bool = True, *, dtype: dtype | None = None,
                    layout: Any = None, device: Any = None, requires_grad: bool = False,
                    pin_memory: bool = False) -> Tensor:
    """Blackman's window: three terms of a cosine series."""
    return _window("blackman_window", window_length, periodic, dtype, layout, device,
                   requires_grad, _blackman)


def _bartlett(n: int, to: dtype) -> Any:
    rising = arange(n, dtype=to) * _in(to, 2 / (n - 1))
    rising._a[((n - 1) >> 1) + 1:] *= -1
    rising._a[((n - 1) >> 1) + 1:] += 2
    return rising


@public("torch")
def bartlett_window(window_length: int, periodic: bool = True, *, dtype: dtype | None = None,
                    layout: Any = None, device: Any = None, requires_grad: bool = False,
                    pin_memory: bool = False) -> Tensor:
    """Bartlett's window: a triangle from zero to zero."""
    return _window("bartlett_window", window_length, periodic, dtype, layout, device,
                   requires_grad, _bartlett)


def _kaiser(n: int, to: dtype, beta: float) -> Tensor:
    wide = np.dtype(np.float32 if to.itemsize < 4 else to.np)
    across = np.arange(n).astype(to.np).astype(wide) * wide.type(2 / (n - 1)) - wide.type(1)
    inside = np.sqrt(np.maximum(wide.type(0), 1 - across * across)) * wide.type(beta)
    bessel = special("i0")
    found = bessel(inside) / bessel(np.asarray(beta, wide))
    return wrap(np.asarray(found, wide).astype(to.np))


@public("torch")
def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, *,
                  dtype: dtype | None = None, layout: Any = None, device: Any = None,
                  requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """Kaiser's window, of shape ``beta``: nearly all of its energy in the main lobe."""
    return _window("kaiser_window", window_length, periodic, dtype, layout, device, requires_grad,
                   lambda n, to: _kaiser(n, to, beta))


# Those of torch.signal.windows


class _Options:
    """What all of them take beside their shape."""

    def __init__(self, name: str, M: int, sym: bool, dtype: dtype | None, layout: layout,
                 device: Any, requires_grad: bool) -> None:
        self.dtype = dtype or dtypes.get_default_dtype()
        if M < 0:
            raise ValueError(f"{name} requires non-negative window length, got M={M}")
        if layout is not strided:
            raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
        if self.dtype not in (dtypes.float32, dtypes.float64):
            raise ValueError(f"{name} expects float32 or float64 dtypes, got: {self.dtype}")
        self.count = M
        self.period = M - 1 if sym or M < 2 else M
        self.device, self.requires_grad = device, requires_grad

    def ones(self) -> Tensor:
        """The window that has no room for a shape: none or one element."""
        return finish_new(np.ones(self.count, self.dtype.np), self.device, self.requires_grad)

    def numbers(self, start: Any, end: Any) -> Any:
        """Evenly spaced from ``start`` to ``end``."""
        return linspace(start, end, self.count, dtype=self.dtype, device=self.device,
                        requires_grad=self.requires_grad)

    def steps(self, start: float, step: float) -> Any:
        """As many as the window has, from ``start`` on, times ``step``."""
        return self.numbers(start * step, (start + (self.count - 1)) * step)


@public(SIGNAL)
def exponential(M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True,
                dtype: dtype | None = None, layout: layout = strided, device: Any = None,
                requires_grad: bool = False) -> Tensor:
    """exp(-|k - center| / tau), also called Poisson's window."""
    options = _Options("exponential", M, sym, dtype, layout, device, requires_grad)
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    if M == 0:
        return options.ones()
    middle = options.period / 2.0 if center is None else center
    return exp(-options.steps(-middle, 1 / tau).abs())


@public(SIGNAL)
def cosine(M: int, *, sym: bool = True, dtype: dtype | None = None, layout: layout = strided,
           device: Any = None, requires_grad: bool = False) -> Tensor:
    """Half a period of a sine.

    >>> import flambeau as torch
    >>> torch.signal.windows.cosine(3)
    tensor([0.5000, 1.0000, 0.5000])
    """
    options = _Options("cosine", M, sym, dtype, layout, device, requires_grad)
    if M == 0:
        return options.ones()
    return sin(options.steps(0.5, math.pi / (options.period + 1)))


@public(SIGNAL)
def gaussian(M: int, *, std: float = 1.0, sym: bool = True, dtype: dtype | None = None,
             layout: layout = strided, device: Any = None, requires_grad: bool = False) -> Tensor:
    """exp(-(k / std)^2 / 2) about the middle."""
    options = _Options("gaussian", M, sym, dtype, layout, device, requires_grad)
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    if M == 0:
        return options.ones()
    return exp(-(options.steps(-options.period / 2.0, 1 / (std * math.sqrt(2))) ** 2))


@public(SIGNAL)
def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, dtype: dtype | None = None,
           layout: layout = strided, device: Any = None, requires_grad: bool = False) -> Tensor:
    """I0(beta sqrt(1 - t^2)) / I0(beta), t from -1 to 1: nearly all energy in the main lobe."""
    options = _Options("kaiser", M, sym, dtype, layout, device, requires_grad)
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    if M < 2:
        return options.ones()
    shape: Any = tensor(beta, dtype=options.dtype, device=device)
    end = -shape + (shape * 2.0 / options.period) * (M - 1)
    k = options.numbers(-shape, shape if bool(shape < end) else end)
    return i0((shape * shape - k ** 2).sqrt()) / i0(shape)


@public(SIGNAL)
def bartlett(M: int, *, sym: bool = True, dtype: dtype | None = None, layout: layout = strided,
             device: Any = None, requires_grad: bool = False) -> Tensor:
    """A triangle from zero to zero."""
    options = _Options("bartlett", M, sym, dtype, layout, device, requires_grad)
    if M < 2:
        return options.ones()
    return 1 - options.numbers(-1, -1 + (M - 1) * (2 / options.period)).abs()


@public(SIGNAL)
def general_cosine(M: int, *, a: Iterable, sym: bool = True, dtype: dtype | None = None,
                   layout: layout = strided, device: Any = None,
                   requires_grad: bool = False) -> Tensor:
    """A sum of cosines, the i-th of i periods and weight (-1)^i a[i].

    >>> import flambeau as torch
    >>> torch.signal.windows.general_cosine(3, a=[0.5, 0.5])
    tensor([0., 1., 0.])
    """
    options = _Options("general_cosine", M, sym, dtype, layout, device, requires_grad)
    if M < 2:
        return options.ones()
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    if not a:
        raise ValueError("Coefficients cannot be empty")
    k = options.numbers(0, (M - 1) * (2 * math.pi / options.period))
    weights: Any = tensor([(-1) ** i * w for i, w in enumerate(a)], dtype=options.dtype,
                          device=device, requires_grad=requires_grad)
    orders: Any = arange(weights._a.shape[0], dtype=options.dtype, requires_grad=requires_grad)
    return (weights.unsqueeze(-1) * cos(orders.unsqueeze(-1) * k)).sum(0)


@public(SIGNAL)
def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, dtype: dtype | None = None,
                    layout: layout = strided, device: Any = None,
                    requires_grad: bool = False) -> Tensor:
    """``alpha`` less 1 - ``alpha`` times a cosine."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, dtype=dtype, layout=layout,
                          device=device, requires_grad=requires_grad)


@public(SIGNAL)
def hamming(M: int, *, sym: bool = True, dtype: dtype | None = None, layout: layout = strided,
            device: Any = None, requires_grad: bool = False) -> Tensor:
    """Hamming's window: 0.54 less 0.46 times a cosine."""
    return general_hamming(M, sym=sym, dtype=dtype, layout=layout, device=device,
                           requires_grad=requires_grad)


@public(SIGNAL)
def hann(M: int, *, sym: bool = True, dtype: dtype | None = None, layout: layout = strided,
         device: Any = None, requires_grad: bool = False) -> Tensor:
    """Hann's window: one period of a raised cosine.

    >>> import flambeau as torch
    >>> torch.signal.windows.hann(5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return general_hamming(M, alpha=0.5, sym=sym, dtype=dtype, layout=layout, device=device,
                           requires_grad=requires_grad)


@public(SIGNAL)
def blackman(M: int, *, sym: bool = True, dtype: dtype | None = None, layout: layout = strided,
             device: Any = None, requires_grad: bool = False) -> Tensor:
    """Blackman's window: three terms of a cosine series."""
    _Options("blackman", M, sym, dtype, layout, device, requires_grad)
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, dtype=dtype, layout=layout,
                          device=device, requires_grad=requires_grad)


@public(SIGNAL)
def nuttall(M: int, *, sym: bool = True, dtype: dtype | None = None, layout: layout = strided,
            device: Any = None, requires_grad: bool = False) -> Tensor:
    """Nuttall's window: four terms of a cosine series, with least side lobes."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, dtype=dtype,
                          layout=layout, device=device, requires_grad=requires_grad)


__all__ = ["bartlett", "bartlett_window", "blackman", "blackman_window", "cosine", "exponential",
           "gaussian", "general_cosine", "general_hamming", "hamming", "hamming_window", "hann",
           "hann_window", "kaiser", "kaiser_window", "nuttall"]
