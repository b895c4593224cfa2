"""Samples of the elementwise operators."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(21)
A = RNG.uniform(0.5, 2.0, (2, 3))
B = RNG.uniform(2.5, 4.0, (2, 3))
ROW = RNG.uniform(0.5, 2.0, 3)
UNIT = RNG.uniform(-0.9, 0.9, (2, 3))
SIGNED = np.array([[-1.7, 0.3, 2.6], [1.2, -0.6, -2.4]])
SMALL = RNG.uniform(0.1, 0.9, (2, 3))
Z = SIGNED + 1j * A
INT, J = np.array([[-7, 5, 6], [12, -3, 4]]), np.array([[2, 3, -4], [5, 2, 3]])
UP = np.array([[0, 1, 2], [3, 1, 2]])
MASK = np.array([[True, False, True], [False, False, True]])
ODD = np.array([1.0, np.nan, np.inf, -np.inf, -0.0, 0.0])
ZERO = np.array(1.5)


def one(*values: np.ndarray, **settings: bool) -> list[Sample]:
    """A sample of one argument for each value."""
    return [Sample((v,), **settings) for v in values]


def two(*pairs: tuple, **settings: bool) -> list[Sample]:
    """A sample of each pair of arguments."""
    return [Sample(pair, **settings) for pair in pairs]


ARITHMETIC = {
    "add": [*two((A, B), (A, ROW), (A, 2.5), (INT, J), (Z, A)), Sample((A, B), {"alpha": 3})],
    "sub": [*two((A, B), (A, ROW), (A, 2.5), (INT, J), (Z, A)), Sample((A, B), {"alpha": 3})],
    "rsub": two((A, B), (A, 2.5)),
    "mul": two((A, B), (A, ROW), (A, 2.5), (INT, J), (Z, A), (Z, Z)),
    "div": [*two((A, B), (A, ROW), (A, 2.5), (INT, J), (Z, B)),
            *[Sample((SIGNED, B), {"rounding_mode": m}) for m in ("floor", "trunc")],
            *[Sample((INT, J), {"rounding_mode": m}) for m in ("floor", "trunc")]],
    "true_divide": two((A, B)),
    "floor_divide": two((SIGNED, B), (INT, J), (INT, 3), grad=False),
    "remainder": two((SIGNED, A), (SIGNED, 0.75), (INT, J), (INT, 3)),
    "fmod": two((SIGNED, A), (SIGNED, 0.75), (INT, J), (INT, 3)),
    "pow": two((A, B), (A, ROW), (SIGNED, 2), (SIGNED, 3), (A, 0.5), (A, -0.5), (A, -1), (A, -2),
               (A, 1.7), (2.5, A), (INT, UP), (Z, 2)),
    "float_power": two((A, B), (A, 2)),
    "neg": one(A, INT, Z), "square": one(SIGNED, INT, Z), "sqrt": one(A, Z), "rsqrt": one(A, Z),
    "reciprocal": one(SIGNED, Z), "positive": one(A),
    "addcmul": [Sample((A, B, SIGNED), {"value": 0.5}), Sample((A, B, ROW)), Sample((INT, J, J))],
    "addcdiv": [Sample((A, B, SIGNED), {"value": 0.5}), Sample((A, B, ROW))],
    "lerp": [Sample((A, B, 0.25)), Sample((A, B, 0.75)), Sample((A, B, SMALL))],
}

COMPLEX = {
    "conj": one(A, Z), "conj_physical": one(Z), "resolve_conj": one(Z), "angle": one(SIGNED, Z),
    "abs": one(SIGNED, INT, Z), "sgn": one(SIGNED, Z), "sign": one(SIGNED, INT),
    "real": one(Z), "imag": one(Z), "view_as_real": one(Z, dtypes=False),
    "view_as_complex": one(RNG.uniform(-1, 1, (3, 2)), dtypes=False, layouts=False, batch=False),
    "complex": two((A, B), dtypes=False), "polar": two((A, B), dtypes=False),
}

EXTREMA = {
    "maximum": two((SIGNED, A), (INT, J)), "minimum": two((SIGNED, A), (INT, J)),
    **{name: [*two((SIGNED, A)), *two((ODD, ROW[:1]), grad=False)] for name in ("fmax", "fmin")},
    "clamp": [Sample((SIGNED, -1.0, 1.0)), Sample((SIGNED,), {"min": 0.1}),
              Sample((SIGNED,), {"max": 0.1}), Sample((SIGNED, -A, A)), Sample((INT, -2, 5))],
    "clamp_min": two((SIGNED, 0.1), (SIGNED, A)), "clamp_max": two((SIGNED, 0.1), (SIGNED, A)),
    "nan_to_num": [*one(ODD, grad=False), Sample((ODD, 1.0, 2.0, -2.0), grad=False), *one(A)],
    "heaviside": two((SIGNED, A), grad=False),
    "copysign": two((SIGNED, A), (SIGNED, -1.0)),
    "nextafter": two((SIGNED, A), grad=False, dtypes=False),
    "hypot": two((SIGNED, A), (A, ROW)), "gcd": two((INT, J)), "lcm": two((INT, J)),
    "ldexp": two((A, UP)), "frexp": one(SIGNED, grad=False),
}

COMPARISONS = {
    **{name: two((A, SIGNED), (A, ROW), (A, 1.0), (INT, J), (INT, 5), grad=False)
       for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{name: one(ODD, INT, grad=False)
       for name in ("isnan", "isinf", "isfinite", "isreal", "isposinf", "isneginf", "signbit")},
    **{name: two((MASK, ~MASK), (INT, J), (SIGNED, A), grad=False)
       for name in ("logical_and", "logical_or", "logical_xor")},
    "logical_not": one(MASK, INT, SIGNED, grad=False),
    **{name: two((INT, J), (MASK, ~MASK), (INT, 5))
       for name in ("bitwise_and", "bitwise_or", "bitwise_xor")},
    "bitwise_left_shift": two((INT, UP), (INT, 2)), "bitwise_right_shift": two((INT, UP), (INT, 2)),
    "bitwise_not": one(INT, MASK),
    "isclose": [*two((A, A + 1e-9), (A, B), (INT, INT), grad=False),
                Sample((ODD, ODD), {"equal_nan": True}, grad=False)],
}

CHOICES = {
    "where": [Sample((MASK, A, B)), Sample((MASK, A, 0.0)), Sample((MASK, 1.0, B)),
              Sample((MASK, A, ROW))],
    "masked_fill": [Sample((A, MASK, 2.0)), Sample((A, MASK, ZERO)), Sample((A, MASK[0], -1.0))],
    "fill": [Sample((A, 2.0)), Sample((A, ZERO))],
}

FUNCTIONS = {
    **{name: one(SIGNED, Z) for name in ("exp", "exp2", "expm1", "sin", "cos", "tan", "sinh",
                                         "cosh", "tanh", "atan", "asinh", "sigmoid")},
    **{name: one(A, Z) for name in ("log", "log2", "log10", "log1p")},
    **{name: one(UNIT, Z) for name in ("asin", "acos", "atanh")},
    "acosh": one(B, Z), "sinc": one(SIGNED),
    "deg2rad": one(SIGNED), "rad2deg": one(SIGNED),
    "atan2": two((SIGNED, A), (SIGNED, ROW)),
    "logaddexp": two((A, SIGNED)), "logaddexp2": two((A, SIGNED)),
    "logit": [Sample((SMALL,)), Sample((UNIT, 0.2))],
    **{name: one(SIGNED, INT) for name in ("floor", "ceil", "trunc")}, "frac": one(SIGNED),
    "round": [*one(SIGNED, INT), Sample((SIGNED * 10,), {"decimals": 1}),
              Sample((SIGNED * 100,), {"decimals": -1})],
}

SPECIAL = {
    **{name: one(SIGNED) for name in ("erf", "erfc", "digamma", "lgamma", "i0", "special.i0e",
                                      "special.i1", "special.i1e", "special.ndtr", "special.erfcx",
                                      "special.log_ndtr")},
    "erfinv": one(UNIT), "special.entr": one(A), "special.ndtri": one(SMALL),
    "polygamma": [Sample((n, A)) for n in (0, 1, 2)],
    "mvlgamma": two((B, 1), (B, 3)),
    "special.zeta": two((B, A), grad=False),
    "igamma": two((A, B), grad=False), "igammac": two((A, B), grad=False),
    "xlogy": two((SIGNED, A), (SIGNED, 2.0), (2.0, A)),
    "special.xlog1py": two((SIGNED, A), (SIGNED, 2.0), (2.0, A)),
    **{f"special.{name}": one(A, grad=False)
       for name in ("airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1",
                    "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0",
                    "modified_bessel_k1", "scaled_modified_bessel_k0",
                    "scaled_modified_bessel_k1", "spherical_bessel_j0")},
    **{f"special.{shift}chebyshev_polynomial_{kind}": two((A, UP), grad=False)
       for shift in ("", "shifted_") for kind in "tuvw"},
    **{f"special.{name}": two((A, UP), grad=False)
       for name in ("hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l",
                    "legendre_polynomial_p")},
}

SAMPLES = {**ARITHMETIC, **COMPLEX, **EXTREMA, **COMPARISONS, **CHOICES, **FUNCTIONS, **SPECIAL}
