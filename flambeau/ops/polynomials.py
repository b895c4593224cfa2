"""Orthogonal polynomials by their three-term recurrences: ``torch.special``'s families."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flambeau.core.kinds import pointwise

ndarray = np.ndarray
Step = Callable[[int, ndarray, ndarray, ndarray], ndarray]

# Degrees beyond which PyTorch gives NaN, by precision.
_HERMITE_LIMIT = {4: 128, 8: 512}


def _evaluate(x: ndarray, n: ndarray, first: Callable, step: Step) -> ndarray:
    """P_n(x) in double precision: P_0 = 1, P_1 = first(x), P_k+1 = step(k, x, P_k, P_k-1)."""
    degree = np.trunc(n).astype(np.int64)
    x, degree = np.broadcast_arrays(x.astype(np.float64), degree)
    before, now = np.ones_like(x), first(x)
    out = np.where(degree == 0, before, np.where(degree == 1, now, 0.0))
    for k in range(1, int(degree.max(initial=0))):
        before, now = now, step(k, x, now, before)
        out = np.where(degree == k + 1, now, out)
    return out


def _chebyshev(k: int, x: ndarray, now: ndarray, before: ndarray) -> ndarray:
    return 2 * x * now - before


def _hermite_h(k: int, x: ndarray, now: ndarray, before: ndarray) -> ndarray:
    return 2 * x * now - 2 * k * before


def _hermite_he(k: int, x: ndarray, now: ndarray, before: ndarray) -> ndarray:
    return x * now - k * before


def _laguerre(k: int, x: ndarray, now: ndarray, before: ndarray) -> ndarray:
    return ((2 * k + 1 - x) * now - k * before) / (k + 1)


def _legendre(k: int, x: ndarray, now: ndarray, before: ndarray) -> ndarray:
    return ((2 * k + 1) * x * now - k * before) / (k + 1)


def _family(name: str, first: Callable, step: Step, shifted: bool = False,
            limited: bool = False) -> Callable:
    def forward(x: ndarray, n: ndarray, out: object = ...) -> ndarray:
        at = 2 * x.astype(np.float64) - 1 if shifted else x
        found = _evaluate(at, n, first, step)
        if limited:
            found = np.where(np.trunc(n) > _HERMITE_LIMIT[x.itemsize], np.nan, found)
        return found.astype(x.dtype)

    return pointwise(name, forward, inputs=("input", "n"), result="float", quick=True,
                     places=("special",), inplace=False, numbers="one",
                     refuses={"c": f"{name}_cpu"})


_FIRST = {"t": lambda x: x, "u": lambda x: 2 * x, "v": lambda x: 2 * x - 1,
          "w": lambda x: 2 * x + 1}

for _kind, _start in _FIRST.items():
    _family(f"chebyshev_polynomial_{_kind}", _start, _chebyshev)
    _family(f"shifted_chebyshev_polynomial_{_kind}", _start, _chebyshev, shifted=True)

hermite_polynomial_h = _family("hermite_polynomial_h", lambda x: 2 * x, _hermite_h, limited=True)
hermite_polynomial_he = _family("hermite_polynomial_he", lambda x: x, _hermite_he, limited=True)
laguerre_polynomial_l = _family("laguerre_polynomial_l", lambda x: 1 - x, _laguerre)
legendre_polynomial_p = _family("legendre_polynomial_p", lambda x: x, _legendre)

__all__ = ["hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l",
           "legendre_polynomial_p"]
