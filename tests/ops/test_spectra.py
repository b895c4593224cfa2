"""Transforms, spectra and windows: what is refused, what is promoted, round trips."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import flambeau as torch

LINE, PLANE = torch.arange(6.0), torch.arange(12.0).reshape(3, 4)
SPECTRA = torch.ones(5, 6) + 1j

ERRORS = [
    (lambda: torch.fft.fft(LINE, n=0), RuntimeError, r"Invalid number of data points \(0\)"),
    (lambda: torch.fft.fft(LINE, n=2.5), TypeError, r"fft_fft\(\): argument 'n' must be int"),
    (lambda: torch.fft.fft(LINE, norm="none"), RuntimeError, 'Invalid normalization mode: "none"'),
    (lambda: torch.fft.fft(LINE.half()), RuntimeError, "Unsupported dtype Half"),
    (lambda: torch.fft.fft(torch.tensor(1.0)), IndexError, "Dimension specified as -1"),
    (lambda: torch.fft.rfft(LINE + 1j), RuntimeError, "rfft expects a real input tensor, but got"),
    (lambda: torch.fft.irfft(LINE[:1]), RuntimeError, r"Invalid number of data points \(0\)"),
    (lambda: torch.fft.fft2(PLANE, dim=(0, 0)), RuntimeError, "FFT dims must be unique"),
    (lambda: torch.fft.fftn(PLANE, s=(2,), dim=(0, 1)), RuntimeError,
     "When given, dim and shape arguments must have the same length"),
    (lambda: torch.fft.rfftn(PLANE, dim=()), RuntimeError, "rfftn must transform at least one"),
    (lambda: torch.fft.fft(LINE, out=torch.empty(6)), RuntimeError,
     "fft expects a complex output tensor, but got Float"),
    (lambda: torch.fft.irfft(LINE, out=torch.empty(10, dtype=torch.complex64)), RuntimeError,
     "irfft expects a floating point output tensor, but got ComplexFloat"),
    (lambda: torch.fft.fftfreq(4, dtype=torch.int64), RuntimeError, "fftfreq requires a floating"),
    (lambda: torch.stft(LINE, 4), RuntimeError, "stft requires the return_complex parameter"),
    (lambda: torch.stft(LINE, 4, hop_length=0, return_complex=True), RuntimeError,
     r"stft\(torch.FloatTensor\[10\], n_fft=4, .* : expected hop_length > 0"),
    (lambda: torch.stft(LINE, 4, window=torch.ones(3), return_complex=True), RuntimeError,
     "expected a 1D window tensor of size equal to win_length=4"),
    (lambda: torch.istft(SPECTRA.real, 8), RuntimeError, "istft requires a complex-valued input"),
    (lambda: torch.istft(SPECTRA, 8, window=torch.zeros(8)), RuntimeError,
     "window overlap add min: 1"),
    (lambda: torch.istft(SPECTRA, 8, hop_length=9), RuntimeError, "expected 0 < hop_length <= win"),
    (lambda: torch.hann_window(-1), RuntimeError, "hann_window requires non-negative window_len"),
    (lambda: torch.hann_window(4, dtype=torch.int32), RuntimeError,
     r"hann_window expects floating point dtypes, got: TensorOptions\(dtype=int, "),
    (lambda: torch.signal.windows.hann(4, dtype=torch.half), ValueError,
     "general_cosine expects float32 or float64 dtypes"),
    (lambda: torch.signal.windows.gaussian(4, std=0), ValueError, "Standard deviation must be"),
    (lambda: torch.signal.windows.exponential(4, center=1), ValueError, "Center must be None"),
    (lambda: torch.signal.windows.general_cosine(4, a=[]), ValueError, "Coefficients cannot be"),
    (lambda: torch.histogramdd(PLANE, [2, 3]), RuntimeError, "histogramdd: The size of bins must"),
    (lambda: torch.histogram(LINE, 0), RuntimeError, "bins must be > 0, but got 0"),
    (lambda: torch.hash_tensor(LINE, mode=1), RuntimeError, "Unknown hash_tensor mode: 1"),
]


@pytest.mark.parametrize("call, kind, text", ERRORS)
def test_what_is_refused(call: Any, kind: type, text: str) -> None:
    with pytest.raises(kind, match=text):
        call()


def test_integers_are_transformed_as_the_default_dtype() -> None:
    assert torch.fft.fft(torch.arange(4)).dtype is torch.complex64
    assert torch.fft.irfft(torch.arange(4)).dtype is torch.float32
    assert torch.fft.rfft(LINE.double()).dtype is torch.complex128


def test_a_wider_out_of_the_same_kind_is_filled() -> None:
    out = torch.empty(6, dtype=torch.complex128)
    assert torch.fft.fft(LINE, out=out) is out
    np.testing.assert_allclose(out.numpy(), np.fft.fft(np.arange(6.0)), atol=1e-5)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("n_fft", [7, 8])
def test_the_inverse_gives_the_signal_back(n_fft: int, normalized: bool, center: bool) -> None:
    x = torch.randn(2, 40, dtype=torch.float64)
    given = {"window": torch.rand(n_fft, dtype=torch.float64) + 0.5, "hop_length": 2,
             "normalized": normalized, "center": center}
    spectra = torch.stft(x, n_fft, return_complex=True, **given)
    back = torch.istft(spectra, n_fft, **given)
    assert torch.allclose(back, x[:, :back.shape[-1]]) and back.shape[-1] >= 38


def test_a_long_signal_is_padded_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="shorter than the length parameter"):
        found = torch.istft(SPECTRA, 8, window=torch.ones(8), length=40)
    assert found.shape == (40,) and not found[-8:].any()


@pytest.mark.parametrize("n", [5, 8])
def test_a_periodic_window_is_a_longer_one_without_its_end(n: int) -> None:
    for name in ("hann", "hamming", "blackman", "bartlett", "kaiser"):
        make = getattr(torch, f"{name}_window")
        assert torch.equal(make(n), make(n + 1, False)[:n])


def test_kaisers_window_needs_no_scipy(monkeypatch: pytest.MonkeyPatch) -> None:
    from flambeau.backends.numpy import special

    with_scipy = torch.kaiser_window(9, dtype=torch.float64)
    monkeypatch.setattr("flambeau.ops.windows.special", special._OWN.__getitem__)
    assert torch.allclose(torch.kaiser_window(9, dtype=torch.float64), with_scipy, rtol=1e-12)


def test_hashes_tell_order_free_contents_apart() -> None:
    a = torch.tensor([1.0, 2.0, 3.0])
    assert torch.hash_tensor(a).item() == torch.hash_tensor(a.flip(0)).item()
    assert torch.hash_tensor(a).item() != torch.hash_tensor(a + 1).item()


def test_kthvalue_does_not_write_into_its_input() -> None:
    a = torch.arange(4.0)
    with pytest.raises(RuntimeError, match="unsupported operation"):
        torch.kthvalue(a, 2, out=(a, torch.empty(0, dtype=torch.int64)))
    assert a.tolist() == [0, 1, 2, 3]


@pytest.mark.parity
@pytest.mark.parametrize("name", ["bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "airy_ai"])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_bessel_functions_are_pytorchs(torch_oracle: Any, name: str, kind: str) -> None:
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 5.0, -5.0, 2.09, -2.09, 104.0]
    x = np.concatenate([np.linspace(-40, 40, 2001), np.logspace(-8, 4, 500), special]).astype(kind)
    want = getattr(torch_oracle.special, name)(torch_oracle.from_numpy(x)).numpy()
    got = getattr(torch.special, name)(torch.from_numpy(x)).numpy()
    tolerance = 1e-5 if kind == "f4" else 1e-13
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
