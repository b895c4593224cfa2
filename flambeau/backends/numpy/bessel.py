"""Bessel functions J and Y of orders 0 and 1 and the Airy function, as PyTorch evaluates them.

The rational approximations are those of S. L. Moshier's Cephes library (Methods and Programs for
Mathematical Functions, 1989), highest power first. Where Cephes lets a denominator's leading
coefficient 1 go without saying, PyTorch leaves the term out, which costs its double precision the
last nine digits just beyond 5 (beyond 2.09 for Airy's function): the same terms are left out here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["airy_ai", "j0", "j1", "y0", "y1"]

ndarray = np.ndarray

PP0 = (
    7.96936729297347051624e-04, 8.28352392107440799803e-02, 1.23953371646414299388e+00,
    5.44725003058768775090e+00, 8.74716500199817011941e+00, 5.30324038235394892183e+00,
    9.99999999999999997821e-01,)
PQ0 = (
    9.24408810558863637013e-04, 8.56288474354474431428e-02, 1.25352743901058953537e+00,
    5.47097740330417105182e+00, 8.76190883237069594232e+00, 5.30605288235394617618e+00,
    1.00000000000000000218e+00,)
QP0 = (
    -1.13663838898469149931e-02, -1.28252718670509318512e+00, -1.95539544257735972385e+01,
    -9.32060152123768231369e+01, -1.77681167980488050595e+02, -1.47077505154951170175e+02,
    -5.14105326766599330220e+01, -6.05014350600728481186e+00,)
QQ0 = (
    6.43178256118178023184e+01, 8.56430025976980587198e+02, 3.88240183605401609683e+03,
    7.24046774195652478189e+03, 5.93072701187316984827e+03, 2.06209331660327847417e+03,
    2.42005740240291393179e+02,)
RP0 = (
    -4.79443220978201773821e+09, 1.95617491946556577543e+12, -2.49248344360967716204e+14,
    9.70862251047306323952e+15,)
RQ0 = (
    4.99563147152651017219e+02, 1.73785401676374683123e+05, 4.84409658339962045305e+07,
    1.11855537045356834862e+10, 2.11277520115489217587e+12, 3.10518229857422583814e+14,
    3.18121955943204943306e+16, 1.71086294081043136091e+18,)
PP1 = (
    7.62125616208173112003e-04, 7.31397056940917570436e-02, 1.12719608129684925192e+00,
    5.11207951146807644818e+00, 8.42404590141772420927e+00, 5.21451598682361504063e+00,
    1.00000000000000000254e+00,)
PQ1 = (
    5.71323128072548699714e-04, 6.88455908754495404082e-02, 1.10514232634061696926e+00,
    5.07386386128601488557e+00, 8.39985554327604159757e+00, 5.20982848682361821619e+00,
    9.99999999999999997461e-01,)
QP1 = (
    5.10862594750176621635e-02, 4.98213872951233449420e+00, 7.58238284132545283818e+01,
    3.66779609360150777800e+02, 7.10856304998926107277e+02, 5.97489612400613639965e+02,
    2.11688757100572135698e+02, 2.52070205858023719784e+01,)
QQ1 = (
    7.42373277035675149943e+01, 1.05644886038262816351e+03, 4.98641058337653607651e+03,
    9.56231892404756170795e+03, 7.99704160447350683650e+03, 2.82619278517639096600e+03,
    3.36093607810698293419e+02,)
RP1 = (
    -8.99971225705559398224e+08, 4.52228297998194034323e+11, -7.27494245221818276015e+13,
    3.68295732863852883286e+15,)
RQ1 = (
    6.20836478118054335476e+02, 2.56987256757748830383e+05, 8.35146791431949253037e+07,
    2.21511595479792499675e+10, 4.74914122079991414898e+12, 7.84369607876235854894e+14,
    8.95222336184627338078e+16, 5.32278620332680085395e+18,)
YP0 = (
    1.55924367855235737965e+04, -1.46639295903971606143e+07, 5.43526477051876500413e+09,
    -9.82136065717911466409e+11, 8.75906394395366999549e+13, -3.46628303384729719441e+15,
    4.42733268572569800351e+16, -1.84950800436986690637e+16,)
YQ0 = (
    1.04128353664259848412e+03, 6.26107330137134956842e+05, 2.68919633393814121987e+08,
    8.64002487103935000337e+10, 2.02979612750105546709e+13, 3.17157752842975028269e+15,
    2.50596256172653059228e+17,)
YP1 = (
    1.26320474790178026440e+09, -6.47355876379160291031e+11, 1.14509511541823727583e+14,
    -8.12770255501325109621e+15, 2.02439475713594898196e+17, -7.78877196265950026825e+17,)
YQ1 = (
    5.94301592346128195359e+02, 2.35564092943068577943e+05, 7.34811944459721705660e+07,
    1.87601316108706159478e+10, 3.88231277496238566008e+12, 6.20557727146953693363e+14,
    6.87141087355300489866e+16, 3.97270608116560655612e+18,)
AN = (
    3.46538101525629032477e-01, 1.20075952739645805542e+01, 7.62796053615234516538e+01,
    1.68089224934630576269e+02, 1.59756391350164413639e+02, 7.05360906840444183113e+01,
    1.40264691163389668864e+01, 9.99999999999999995305e-01,)
AD = (
    5.67594532638770212846e-01, 1.47562562584847203173e+01, 8.45138970141474626562e+01,
    1.77318088145400459522e+02, 1.64234692871529701831e+02, 7.14778400825575695274e+01,
    1.40959135607834029598e+01, 1.00000000000000000470e+00,)
AFN = (
    -1.31696323418331795333e-01, -6.26456544431912369773e-01, -6.93158036036933542233e-01,
    -2.79779981545119124951e-01, -4.91900132609500318020e-02, -4.06265923594885404393e-03,
    -1.59276496239262096340e-04, -2.77649108155232920844e-06, -1.67787698489114633780e-08,)
AFD = (
    1.33560420706553243746e+01, 3.26825032795224613948e+01, 2.67367040941499554804e+01,
    9.18707402907259625840e+00, 1.47529146771666414581e+00, 1.15687173795188044134e-01,
    4.40291641615211203805e-03, 7.54720348287414296618e-05, 4.51850092970580378464e-07,)
AGN = (
    1.97339932091685679179e-02, 3.91103029615688277255e-01, 1.06579897599595591108e+00,
    9.39169229816650230044e-01, 3.51465656105547619242e-01, 6.33888919628925490927e-02,
    5.85804113048388458567e-03, 2.82851600836737019778e-04, 6.98793669997260967291e-06,
    8.11789239554389293311e-08, 3.41551784765923618484e-10,)
AGD = (
    9.30892908077441974853e+00, 1.98352928718312140417e+01, 1.55646628932864612953e+01,
    5.47686069422975497931e+00, 9.54293611618961883998e-01, 8.64580826352392193095e-02,
    4.12656523824222607191e-03, 1.01259085116509135510e-04, 1.17166733214413521882e-06,
    4.91834570062930015649e-09,)
# Squares of the first zeros of J0 and J1.
ZEROS0 = (5.78318596294678452118, 3.04712623436620863991e+01)
ZEROS1 = (1.46819706421238932572e+01, 4.92184563216946036703e+01)


def _sum(coefficients: Sequence[float], z: ndarray) -> ndarray:
    """The polynomial with these coefficients, by Horner's rule in the dtype of ``z``."""
    total = np.zeros_like(z)
    for c in coefficients:
        total = total * z + z.dtype.type(c)
    return total


def _ratio(above: Sequence[float], below: Sequence[float], z: ndarray) -> ndarray:
    return _sum(above, z) / _sum(below, z)


def _waves(x: ndarray, order: int) -> tuple[ndarray, ndarray, ndarray, ndarray]:
    """Far from zero: the two slowly varying parts and the cosine and sine they go with."""
    z = x.dtype.type(25) / (x * x)
    p, q = ((PP0, PQ0), (QP0, QQ0)) if order == 0 else ((PP1, PQ1), (QP1, QQ1))
    turn = x - x.dtype.type((2 * order + 1) * math.pi / 4)
    fade = x.dtype.type(math.sqrt(2 / math.pi)) / np.sqrt(x)
    return (_ratio(*p, z) * fade, x.dtype.type(5) / x * _ratio(*q, z) * fade, np.cos(turn),
            np.sin(turn))


def _far_first(x: ndarray, order: int) -> ndarray:
    p, q, cosine, sine = _waves(x, order)
    return p * cosine - q * sine


def _far_second(x: ndarray, order: int) -> ndarray:
    p, q, cosine, sine = _waves(x, order)
    return p * sine + q * cosine


def _near_j0(x: ndarray) -> ndarray:
    z = x * x
    first, second = (z - x.dtype.type(r) for r in ZEROS0)
    return np.where(x < 1e-5, 1 - z / 4, first * second * _ratio(RP0, RQ0, z))


def _near_j1(x: ndarray) -> ndarray:
    z = x * x
    first, second = (z - x.dtype.type(r) for r in ZEROS1)
    return _ratio(RP1, RQ1, z) * x * first * second


def _near_y0(x: ndarray) -> ndarray:
    return _ratio(YP0, YQ0, x * x) + x.dtype.type(2 / math.pi) * np.log(x) * _near_j0(x)


def _near_y1(x: ndarray) -> ndarray:
    rest = x.dtype.type(2 / math.pi) * (_near_j1(x) * np.log(x) - 1 / x)
    return x * _ratio(YP1, YQ1, x * x) + rest


def _in_two(x: ndarray, edge: float, near: Callable, far: Callable) -> ndarray:
    """``near`` up to ``edge`` and ``far`` beyond it (and of NaN), each only where it is wanted."""
    found = np.empty_like(x)
    low = x <= edge
    found[low] = near(x[low])
    found[~low] = far(x[~low])
    return found


def _given(found: ndarray, out: Any) -> ndarray:
    if out is ... or out is None:
        return found
    out[...] = found
    return out


def j0(x: ndarray, out: Any = ...) -> ndarray:
    """The Bessel function of the first kind of order 0."""
    return _given(_in_two(np.abs(x), 5, _near_j0, lambda t: _far_first(t, 0)), out)


def j1(x: ndarray, out: Any = ...) -> ndarray:
    """The Bessel function of the first kind of order 1, which is odd."""
    found = _in_two(np.abs(x), 5, _near_j1, lambda t: _far_first(t, 1))
    return _given(np.where(x < 0, -found, found), out)


def _second(x: ndarray, near: Callable, order: int) -> ndarray:
    found = _in_two(np.abs(x), 5, near, lambda t: _far_second(t, order))
    found = np.where(x < 0, x.dtype.type(np.nan), found)
    return np.where(x == 0, x.dtype.type(-np.inf), found)


def y0(x: ndarray, out: Any = ...) -> ndarray:
    """The Bessel function of the second kind of order 0: -inf at 0, NaN below."""
    return _given(_second(x, _near_y0, 0), out)


def y1(x: ndarray, out: Any = ...) -> ndarray:
    """The Bessel function of the second kind of order 1: -inf at 0, NaN below."""
    return _given(_second(x, _near_y1, 1), out)


ROOT_PI = 5.64189583547756286948e-01  # 1 / sqrt(pi)
# Ai(0) and -Ai'(0).
AT_ZERO, SLOPE = 0.355028053887817239260, 0.258819403792806798405


def _airy_waves(x: ndarray) -> ndarray:
    root = np.sqrt(-x)
    zeta = x.dtype.type(-2) * x * root / 3
    z = 1 / zeta
    square = z * z
    turn = zeta + x.dtype.type(math.pi / 4)
    fast = np.sin(turn) * (1 + square * _ratio(AFN, AFD, square))
    slow = np.cos(turn) * (z * _ratio(AGN, AGD, square))
    return x.dtype.type(ROOT_PI) / np.sqrt(root) * (fast - slow)


def _airy_fade(x: ndarray) -> ndarray:
    root = np.sqrt(x)
    zeta = 2 * x * root / 3
    ratio = _ratio(AN, AD, 1 / zeta)
    return x.dtype.type(ROOT_PI) * ratio / (2 * np.sqrt(root) * np.exp(zeta))


def _airy_series(x: ndarray) -> ndarray:
    """The two power series about zero, until their terms stop to count."""
    kind = x.dtype.type
    cube = x * x * x
    even, odd = np.ones_like(x), x.copy()
    f, g, k = even.copy(), odd.copy(), 1
    going = np.ones(x.shape, bool)
    while going.any():
        even = even * cube / kind(k + 1) / kind(k + 2)
        odd = odd * cube / kind(k + 2) / kind(k + 3)
        f, g = np.where(going, f + even, f), np.where(going, g + odd, g)
        going &= np.abs(even / f) > np.finfo(x.dtype).eps
        k += 3
    return kind(AT_ZERO) * f - kind(SLOPE) * g


def _airy_right(x: ndarray) -> ndarray:
    found = _in_two(x, 2.09, _airy_series, _airy_fade)
    return np.where(x > 103.892, x.dtype.type(0), found)


def airy_ai(x: ndarray, out: Any = ...) -> ndarray:
    """The Airy function Ai; NaN at the infinities."""
    below = np.nextafter(x.dtype.type(-2.09), x.dtype.type(-3))
    found = _in_two(x, below, _airy_waves, _airy_right)
    return _given(np.where(np.isinf(x), x.dtype.type(np.nan), found), out)
