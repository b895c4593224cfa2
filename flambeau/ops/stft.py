"""Spectra of short stretches of a signal, and the signal back from them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.settings import warn_once
from flambeau.base.shapes import wrap_dim
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops.complex import view_as_real
from flambeau.ops.fft import C2C, C2R, R2C
from flambeau.ops.patches import constant_pad_nd, pad
from flambeau.ops.views import FOLD, unfold

LEAKAGE = ("A window was not provided. A rectangular window will be applied,which is known to "
           "cause spectral leakage. Other windows such as torch.hann_window or "
           "torch.hamming_window are recommended to reduce spectral leakage.To suppress this "
           "warning and use a rectangular window, explicitly set `window=torch.ones(n_fft, "
           "device=<device>)`.")
LOSSLESS = ("A window was not provided. A rectangular window will be applied.Please provide the "
            "same window used by stft to make the inversion lossless.To suppress this warning and "
            "use a rectangular window, explicitly set `window=torch.ones(n_fft, "
            "device=<device>)`.")
AS_REAL = ("stft with return_complex=False is deprecated. In a future pytorch release, stft will "
           "return complex tensors for all inputs, and return_complex=False will raise an error.\n"
           "Note: you can still call torch.view_as_real on the complex output to recover the old "
           "return format.")
SHORT = ("The length of signal is shorter than the length parameter. Result is being padded with "
         "zeros in the tail. Please check your center and hop_length settings.")


def _flag(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def _call(name: str, kind: str, input: Tensor, window: Tensor | None, **rest: Any) -> str:
    """A call as its errors begin."""
    shown = None
    if window is not None:
        shown = f"torch.{FROM_NUMPY[window._a.dtype].title}Tensor{{{list(window._a.shape)}}}"
    parts = [f"{kind}{list(input._a.shape)}"]
    for argument, value in rest.items():
        parts.append(f"{argument}={_flag(value)}")
        if argument == "win_length":
            parts.append(f"window={shown}")
    return f"{name}({', '.join(parts)})"


def _is_complex(t: Tensor | None) -> bool:
    return t is not None and t._a.dtype.kind == "c"


def _centered(input: Tensor, n_fft: int, pad_mode: str) -> Tensor:
    """``input`` with half a window more at both ends."""
    shape = input._a.shape
    ahead = (1,) * (3 - len(shape))
    found = pad(input.reshape(*ahead, *shape), (n_fft // 2, n_fft // 2), pad_mode)
    return found.reshape(found._a.shape[3 - len(shape):]) if len(shape) < 3 else found


def _whole_window(window: Tensor | None, n_fft: int, win_length: int, like: Tensor) -> Any:
    """The window, or ones, in the middle of ``n_fft`` zeros."""
    if window is None:
        window = wrap(np.ones(win_length, FROM_NUMPY[like._a.dtype].to_real().np))
    left = (n_fft - win_length) // 2
    if win_length == n_fft:
        return window
    return constant_pad_nd(window, (left, n_fft - win_length - left), 0)


def _check_frames(call: str, input: Tensor, n_fft: int, hop: int, win_length: int,
                  window: Tensor | None) -> None:
    held, rank = FROM_NUMPY[input._a.dtype], input._a.ndim
    if held.category < 2:
        raise RuntimeError(f"{call} : expected a tensor of floating point or complex values")
    if rank not in (1, 2):
        raise RuntimeError(f"{call} : expected a 1D or 2D tensor")
    length = input._a.shape[-1]
    if not 0 < n_fft <= length:
        raise RuntimeError(f"{call} : expected 0 < n_fft < {length}, but got n_fft={n_fft}")
    if hop <= 0:
        raise RuntimeError(f"{call} : expected hop_length > 0, but got hop_length={hop}")
    if not 0 < win_length <= n_fft:
        raise RuntimeError(f"{call} : expected 0 < win_length <= n_fft, but got win_length="
                           f"{win_length}")
    if window is not None and window._a.shape != (win_length,):
        raise RuntimeError(f"{call} : expected a 1D window tensor of size equal to win_length="
                           f"{win_length}, but got window with size {list(window._a.shape)}")


def _check_half(t: Tensor) -> None:
    held = FROM_NUMPY[t._a.dtype]
    if held.itemsize < 4:
        raise RuntimeError(f"MKL FFT doesn't support tensors of type: {held.title}")


@public("torch", "Tensor")
def stft(input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
         window: Tensor | None = None, center: bool = True, pad_mode: str = "reflect",
         normalized: bool = False, onesided: bool | None = None,
         return_complex: bool | None = None, align_to_window: bool | None = None) -> Tensor:
    """Spectra of windows of ``n_fft`` points every ``hop_length``: (frequencies, frames).

    ``input`` is (length) or (batch, length). ``window`` has ``win_length`` points, in the middle of
    each stretch. With ``center`` frame t is about the point t * ``hop_length``, the signal being
    extended by ``pad_mode``. Real signals give the first half of the frequencies unless
    ``onesided`` is False, and need ``return_complex`` given. ``normalized`` divides by the root of
    ``n_fft``.

    >>> import flambeau as torch
    >>> x, window = torch.ones(16), torch.hann_window(8)
    >>> torch.stft(x, 8, window=window, return_complex=True).shape
    torch.Size([5, 9])
    """
    if center:
        if align_to_window is not None:
            raise RuntimeError("stft align_to_window should only be set when center = false")
        input = _centered(input, n_fft, pad_mode)
    hop = n_fft // 4 if hop_length is None else hop_length
    size = n_fft if win_length is None else win_length
    if window is None:
        warn_once(LEAKAGE)
    complex_given = _is_complex(input) or _is_complex(window)
    if return_complex is None:
        if not complex_given:
            raise RuntimeError("stft requires the return_complex parameter be given for real "
                               "inputs, and will further require that return_complex=True in a "
                               "future PyTorch release.")
        return_complex = True
    elif not return_complex:
        warn_once(AS_REAL)
    call = _call("stft", f"torch.{FROM_NUMPY[input._a.dtype].title}Tensor", input, window,
                 n_fft=n_fft, hop_length=hop, win_length=size, normalized=normalized,
                 onesided=onesided, return_complex=return_complex,
                 align_to_window=align_to_window)
    _check_frames(call, input, n_fft, hop, size, window)
    if align_to_window and size < n_fft:
        left = (n_fft - size) // 2
        input = constant_pad_nd(input, (left, left), 0)
    if onesided and complex_given:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    found = _spectra(input, n_fft, hop, _whole_window(window, n_fft, size, input), normalized,
                     not complex_given if onesided is None else onesided)
    return found if return_complex else view_as_real(found)


def _spectra(input: Any, n_fft: int, hop: int, window: Any, normalized: bool,
             onesided: bool) -> Tensor:
    frames = unfold(input, -1, n_fft, hop) * window  # (..., frames, n_fft)
    _check_half(frames)
    last = (frames._a.ndim - 1,)
    norm = "ortho" if normalized else "backward"
    if frames._a.dtype.kind == "c":
        found = apply(C2C, (frames,), {"dims": last, "norm": norm, "forward": True})
    else:
        found = apply(R2C, (frames,), {"dims": last, "norm": norm, "onesided": onesided})
    return found.transpose(-1, -2)


def _check_spectra(call: str, input: Tensor, n_fft: int, hop: int, size: int,
                   window: Tensor | None, onesided: bool) -> None:
    rank = input._a.ndim
    if not input._a.size:
        raise RuntimeError(f"{call} : input tensor cannot be empty.")
    if rank not in (2, 3):
        raise RuntimeError(f"{call} : expected a tensor with 3 or 4 dimensions, but got {rank + 1}")
    have = input._a.shape[-2]
    if onesided and n_fft // 2 + 1 != have:
        raise RuntimeError(f"{call} : expected the frequency dimension (3rd to the last) of the "
                           "input tensor to match n_fft / 2 + 1 when onesided=True, but got "
                           f"{have}")
    if not onesided and n_fft != have:
        raise RuntimeError(f"{call} : expected the frequency dimension (3rd to the last) of the "
                           f"input tensor to match n_fft when onesided=False, but got {have}")
    if not 0 < hop <= size:
        raise RuntimeError(f"{call} : expected 0 < hop_length <= win_length")
    if not 0 < size <= n_fft:
        raise RuntimeError(f"{call} : expected 0 < win_length <= n_fft")
    if window is not None and window._a.shape != (size,):
        raise RuntimeError(f"{call} : Invalid window shape. window has to be 1D and length of "
                           "`win_length`")


@public("torch", "Tensor")
def istft(input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
          window: Tensor | None = None, center: bool = True, normalized: bool = False,
          onesided: bool | None = None, length: int | None = None,
          return_complex: bool = False) -> Tensor:
    """The signal whose ``stft`` with the same arguments is nearest to ``input``.

    ``input`` is (frequencies, frames) or (batch, frequencies, frames), complex. The windows must
    not all be zero anywhere. ``length`` cuts the signal, or pads it with zeros.

    D. Griffin, J. Lim: Signal estimation from modified short-time Fourier transform, IEEE Trans.
    ASSP 32 (1984).

    >>> import flambeau as torch
    >>> x, window = torch.arange(16.), torch.hann_window(8)
    >>> spectra = torch.stft(x, 8, window=window, return_complex=True)
    >>> torch.allclose(torch.istft(spectra, 8, window=window), x, atol=1e-5)
    True
    """
    hop = n_fft // 4 if hop_length is None else hop_length
    size = n_fft if win_length is None else win_length
    if not isinstance(input, Tensor):
        raise TypeError("istft(): argument 'input' (position 1) must be Tensor, not "
                        f"{type(input).__name__}")
    if not _is_complex(input):
        raise RuntimeError("istft requires a complex-valued input tensor matching the output from "
                           "stft with return_complex=True.")
    if window is None:
        warn_once(LOSSLESS)
    wrap_dim(-3, input._a.ndim + 1)
    half = input._a.shape[-2] != n_fft if onesided is None else onesided
    call = _call("istft", f"CPU{FROM_NUMPY[input._a.dtype].title}Type", input, window, n_fft=n_fft,
                 hop_length=hop, win_length=size, center=center, normalized=normalized,
                 onesided=onesided, length=length, return_complex=return_complex)
    _check_spectra(call, input, n_fft, hop, size, window, half)
    if not return_complex and _is_complex(window):
        raise RuntimeError("Complex windows are incompatible with return_complex=False")
    if return_complex and half:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    weights = _whole_window(window, n_fft, size, input)
    frames = _stretches(input, n_fft, normalized, return_complex) * weights
    return _laid_out(call, frames, weights, n_fft, hop, center, length)


def _stretches(input: Any, n_fft: int, normalized: bool, complex_result: bool) -> Any:
    """The signal under each window: (..., frames, n_fft)."""
    turned = input.transpose(-1, -2)
    last = (turned._a.ndim - 1,)
    norm = "ortho" if normalized else "backward"
    if complex_result:
        return apply(C2C, (turned,), {"dims": last, "norm": norm, "forward": False})
    turned = turned.narrow(-1, 0, n_fft // 2 + 1)
    return apply(C2R, (turned,), {"dims": last, "norm": norm, "size": n_fft})


def _laid_out(call: str, frames: Any, weights: Any, n_fft: int, hop: int, center: bool,
              length: int | None) -> Tensor:
    count = frames._a.shape[-2]
    whole = n_fft + hop * (count - 1)
    ahead = frames._a.shape[:-2]
    signal = _overlapped(frames, (*ahead, whole), n_fft, hop)
    squares = (weights * weights).expand(count, n_fft)
    envelope = _overlapped(squares, (whole,), n_fft, hop)
    start = n_fft // 2 if center else 0
    end = whole - start if length is None else start + length
    stop = min(end, whole)
    signal = signal.narrow(-1, start, max(stop - start, 0))
    envelope = envelope.narrow(-1, start, max(stop - start, 0))
    lowest = envelope.detach().abs().min()._a
    if isinstance(lowest, np.ndarray) and lowest < 1e-11:
        raise RuntimeError(f"{call} window overlap add min: 1")
    signal = signal / envelope
    if end > whole:
        warnings.warn(SHORT, UserWarning, stacklevel=3)
        signal = constant_pad_nd(signal, (0, end - whole), 0)
    return signal


def _overlapped(frames: Tensor, shape: tuple, size: int, step: int) -> Any:
    return apply(FOLD, (frames,), {"shape": shape, "dimension": len(shape) - 1, "size": size,
                                   "step": step})


__all__ = ["istft", "stft"]
