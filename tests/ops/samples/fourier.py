"""Samples of Fourier transforms, spectra of stretches of a signal, and windows."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(62)
LINE = RNG.uniform(-1.0, 1.0, 6)
PLANE = RNG.uniform(-1.0, 1.0, (3, 4))
BLOCK = RNG.uniform(-1.0, 1.0, (2, 3, 5))
TURNS = PLANE + 1j * RNG.uniform(-1.0, 1.0, (3, 4))
WAVE = RNG.uniform(-1.0, 1.0, (2, 14))
WINDOW = RNG.uniform(0.5, 1.5, 6)
SPECTRA = RNG.uniform(-1.0, 1.0, (2, 4, 5)) + 1j * RNG.uniform(-1.0, 1.0, (2, 4, 5))
WHOLE = RNG.uniform(-1.0, 1.0, (6, 5)) + 1j * RNG.uniform(-1.0, 1.0, (6, 5))
FREE = {"torch_compare": False, "grad": False}

LINES = [Sample((LINE,)), Sample((PLANE,), {"n": 5, "dim": 0, "norm": "ortho"}),
         Sample((BLOCK,), {"n": 3, "norm": "forward"})]
PLANES = [Sample((PLANE,)), Sample((BLOCK,), {"s": (4, 6), "dim": (0, 2), "norm": "ortho"})]
BLOCKS = [*PLANES, Sample((BLOCK,), {"s": (2, 7), "norm": "forward"}),
          Sample((BLOCK,), {"dim": (2, 0, 1)})]
TURNED = [Sample((TURNS,)), Sample((TURNS,), {"norm": "ortho"})]

SAMPLES = {
    **{f"fft.{name}": [*LINES, *TURNED] for name in ("fft", "ifft", "irfft", "hfft")},
    **{f"fft.{name}": LINES for name in ("rfft", "ihfft")},
    **{f"fft.{name}": [*PLANES, *TURNED] for name in ("fft2", "ifft2", "irfft2", "hfft2")},
    **{f"fft.{name}": PLANES for name in ("rfft2", "ihfft2")},
    **{f"fft.{name}": [*BLOCKS, *TURNED] for name in ("fftn", "ifftn", "irfftn", "hfftn")},
    **{f"fft.{name}": BLOCKS for name in ("rfftn", "ihfftn")},
    "fft.fftshift": [Sample((PLANE,)), Sample((BLOCK,), {"dim": (1,)})],
    "fft.ifftshift": [Sample((PLANE,)), Sample((BLOCK,), {"dim": 2})],
    "fft.fftfreq": [Sample((n,), {"d": 0.5}) for n in (0, 5, 6)],
    "fft.rfftfreq": [Sample((n,), {"d": 0.5}) for n in (5, 6)],
    "stft": [
        Sample((WAVE, 6), {"window": WINDOW, "return_complex": True}),
        Sample((WAVE[0].copy(), 6, 2, 4), {"window": WINDOW[:4].copy(), "normalized": True,
                                           "pad_mode": "constant", "return_complex": True}),
        Sample((WAVE, 6, 3), {"window": WINDOW + 0j, "center": False}),
        Sample((WAVE, 6, 3), {"center": False, "onesided": False, "return_complex": True}),
        Sample((WAVE, 6), {"window": WINDOW, "return_complex": False})],
    "istft": [
        Sample((SPECTRA, 6, 2), {"window": WINDOW}),
        Sample((SPECTRA[0].copy(), 6, 2), {"window": WINDOW, "length": 7, "normalized": True}),
        Sample((WHOLE, 6, 3, 4), {"window": WINDOW[:4].copy(), "onesided": False}),
        Sample((WHOLE, 6, 2), {"window": WINDOW + 0.5j, "return_complex": True})],
    **{f"{name}_window": [Sample((n, periodic)) for n in (0, 1, 6) for periodic in (True, False)]
       for name in ("bartlett", "blackman", "hamming", "hann", "kaiser")},
    **{f"signal.windows.{name}": [Sample((n,), {"sym": sym}) for n in (0, 1, 6)
                                  for sym in (True, False)]
       for name in ("bartlett", "blackman", "cosine", "exponential", "gaussian", "hamming", "hann",
                    "kaiser", "nuttall")},
    "signal.windows.general_cosine": [Sample((6,), {"a": [0.5, 0.3, 0.2]})],
    "signal.windows.general_hamming": [Sample((6,), {"alpha": 0.6})],
}
for _name, _samples in SAMPLES.items():
    if "window" in _name:
        for _sample in _samples:
            _sample.atol = 1e-6
