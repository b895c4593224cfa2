"""How values of each kind are written in CUDA C: types, constants, conversions, loads, stores.

The half kinds travel as their bits. Their conversions are PTX instructions, written here, because
the headers that define CUDA's own half types are not part of the compiler's package.
"""

import math

import numpy as np

from flambeau.backends.llvm.coefficients import DIGAMMA_SERIES, DIGAMMA_START
from flambeau.backends.llvm.program import FLOATS

C_TYPE = {
    "f32": "float",
    "f64": "double",
    "i32": "int",
    "i64": "long long",
    "bool": "bool",
    "f16": "unsigned short",
    "bf16": "unsigned short",
    "i8": "signed char",
    "u8": "unsigned char",
    "i16": "short",
}
HALVES = frozenset({"f16", "bf16"})
STORED = {**C_TYPE, "bool": "unsigned char"}

# between float and the bits of a half, to the nearest even; any NaN becomes 0x7fff
HALF_FUNCTIONS = """\
static __device__ __forceinline__ float f16_to_f32(unsigned short bits)
{
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(bits));
    return wide;
}

static __device__ __forceinline__ unsigned short f32_to_f16(float wide)
{
    unsigned short bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(wide));
    return bits;
}

static __device__ __forceinline__ float bf16_to_f32(unsigned short bits)
{
    return __uint_as_float((unsigned int)bits << 16);
}

static __device__ __forceinline__ unsigned short f32_to_bf16(float wide)
{
    unsigned short bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(wide));
    return bits;
}
"""

# what is out of range, or no number, becomes the least integer; what is behind the point is lost
INTEGER_FUNCTIONS = """\
static __device__ __forceinline__ int to_i32(double wide)
{
    return wide > -2147483649.0 && wide < 2147483648.0 ? (int)wide : -2147483647 - 1;
}

static __device__ __forceinline__ int to_i32(float wide)
{
    return wide >= -2147483648.0f && wide < 2147483648.0f ? (int)wide : -2147483647 - 1;
}

static __device__ __forceinline__ long long to_i64(double wide)
{
    return wide >= -9223372036854775808.0 && wide < 9223372036854775808.0
        ? (long long)wide : -9223372036854775807LL - 1;
}

static __device__ __forceinline__ long long to_i64(float wide)
{
    return wide >= -9223372036854775808.0f && wide < 9223372036854775808.0f
        ? (long long)wide : -9223372036854775807LL - 1;
}
"""

# of a float64: reflected below a half, taken up to where the asymptotic series holds
DIGAMMA_FUNCTION = f"""\
static __device__ double digamma_f64(double x)
{{
    if (x == 0) return copysign(1.0 / 0.0, -x);
    if (x < 0 && floor(x) == x) return 0.0 / 0.0;
    double total = 0;
    if (x < 0.5) {{
        total = -{math.pi!r} * cospi(x) / sinpi(x);
        x = 1 - x;
    }}
    for (; x < {DIGAMMA_START!r}; x += 1) total -= 1 / x;
    const double inverse = 1 / x, square = inverse * inverse;
    double series = 0;
    const double powers[] = {{{", ".join(map(repr, DIGAMMA_SERIES))}}};
    for (int n = {len(DIGAMMA_SERIES) - 1}; n >= 0; --n) series = fma(series, square, powers[n]);
    return total + (log(x) - inverse * 0.5 - square * series);
}}
"""


def literal(kind: str, number: float | int | bool) -> str:
    """Return `number` as a C expression of this kind, rounded to it first.

    >>> literal("f32", 0.1), literal("f64", -2.0), literal("i32", 3), literal("bool", True)
    ('0.1f', '(-2.0)', '3', 'true')
    """
    if kind == "bool":
        return "true" if number else "false"
    if kind in FLOATS:
        return _float_literal(kind, float(number))
    whole, suffix = int(number), "LL" if kind == "i64" else ""
    # the lowest number has no literal: its size is one too large
    lowest = -(2**63) if kind == "i64" else -(2**31)
    if whole == lowest:
        return f"({whole + 1}{suffix} - 1)"
    return f"({whole}{suffix})" if whole < 0 else f"{whole}{suffix}"


def _float_literal(kind: str, number: float) -> str:
    text, suffix = repr(number), ""
    if kind == "f32":
        with np.errstate(over="ignore"):
            number = float(np.float32(number))
        text, suffix = str(np.float32(number)), "f"
    if math.isfinite(number):
        return f"({text}{suffix})" if text.startswith("-") else text + suffix
    if kind == "f32":
        bits = "7fc00000" if math.isnan(number) else "7f800000" if number > 0 else "ff800000"
        return f"__uint_as_float(0x{bits}u)"
    bits = "7ff8" if math.isnan(number) else "7ff0" if number > 0 else "fff0"
    return f"__longlong_as_double(0x{bits}000000000000LL)"


def convert(text: str, source: str, target: str) -> str:
    """Return the C expression that takes a value from one kind to another, half kinds by float32.

    Floats become integers as `INTEGER_FUNCTIONS` says; small integers keep the lowest bits of what
    int32 would hold, or int64.

    >>> convert("v0", "f16", "f64"), convert("v0", "f32", "bool"), convert("v0", "f64", "u8")
    ('(double)f16_to_f32(v0)', '(v0 != 0)', '(unsigned char)to_i32(v0)')
    """
    if source == target:
        return text
    if source in HALVES:
        return convert(f"{source}_to_f32({text})", "f32", target)
    if target in HALVES:
        return f"f32_to_{target}({convert(text, source, 'f32')})"
    if target == "bool":
        return f"({text} != 0)"
    if source in FLOATS and target not in FLOATS:
        wide = "i64" if target == "i64" else "i32"
        return convert(f"to_{wide}({text})", wide, target)
    return f"({C_TYPE[target]}){text}"


def load(kind: str, base: str, index: str) -> str:
    """Return the expression that reads one stored item."""
    return f"({base}[{index}] != 0)" if kind == "bool" else f"{base}[{index}]"


def declare(kind: str, number: int, text: str) -> str:
    """Return the line that names the value of this number."""
    return f"const {C_TYPE[kind]} v{number} = {text};"


def with_helpers(text: str) -> str:
    """Return a kernel's text behind the functions that it calls."""
    parts = []
    if "_to_f32(" in text or "f32_to_" in text:
        parts.append(HALF_FUNCTIONS)
    if "to_i32(" in text or "to_i64(" in text:
        parts.append(INTEGER_FUNCTIONS)
    if "digamma_f64(" in text:
        parts.append(DIGAMMA_FUNCTION)
    return "\n".join([*parts, text])
