"""Inverse and hyperbolic functions, erfc, logarithms of other bases ... on vectors, branch-free.

As in `vector_math`: to a few ulp, with C's special cases. What is only for f32 is computed in f64.
"""

import math

from flambeau.backends.llvm import coefficients as table
from flambeau.backends.llvm import vector_math as vm
from flambeau.backends.llvm.emit import BITS_OF, Emitter, Value
from flambeau.backends.llvm.vector_math import INF, NAN

LN2 = math.log(2)
# log10(2), the high part so short that its product with an exponent is exact
LOG10_2_HIGH = {"f32": 0.30078125, "f64": 0.30102999566406652}
LOG10_2_LOW = {"f32": 0.00024875404022634029, "f64": -8.5323443170571066e-14}
# sinh and cosh overflow above these
HYPERBOLIC_END = {"f32": 89.5, "f64": 710.5}
# squares of what is larger would overflow, and logarithms do not see the 1 beside it
HUGE = {"f32": 1e10, "f64": 1e100}
TAN_PI_8 = math.tan(math.pi / 8)
HALF_PI_LOW = 6.123233995736766e-17


def exp2(e: Emitter, x: Value) -> Value:
    kind = x.kind
    bound = 1100.0 if kind == "f64" else 200.0
    x = vm.clamp(e, x, -bound, bound)
    whole, n = vm.round_to_int(e, x, 1.0)
    less_one, more = vm.exp_parts(e, e.mul(e.sub(x, whole), LN2))
    # what is left is within half a power of two, or just beyond
    n = e.add(n, more)
    half = e.shift_right(n, 1)
    first, second = vm.power_of_two(e, half, kind), vm.power_of_two(e, e.sub(n, half), kind)
    return e.mul(e.mul(e.add(less_one, 1.0), first), second)


def _log_base(e: Emitter, x: Value, of_e: float, high: float, low: float) -> Value:
    """log(x) in a base: n times the logarithm of 2 (high + low) and log(1 + f) times that of e."""
    kind = x.kind
    lift = vm.MANTISSA[kind] + 1
    small = e.compare("olt", x, vm.SMALLEST_NORMAL[kind])
    f, n = vm.log_parts(e, e.select(small, e.mul(x, 2.0**lift), x))
    n = e.sub(n, e.select(small, e.const(kind, lift), 0.0))
    near = e.mul(vm.log_of(e, f, e.const(kind, 0.0), None), of_e)
    result = e.fma(n, high, e.fma(n, low, near) if low else near)
    result = e.select(e.compare("olt", x, INF), result, x)
    result = e.select(e.compare("oeq", x, 0.0), -INF, result)
    return e.select(e.compare("olt", x, 0.0), NAN, result)


def log2(e: Emitter, x: Value) -> Value:
    return _log_base(e, x, 1 / LN2, 1.0, 0.0)


def log10(e: Emitter, x: Value) -> Value:
    return _log_base(e, x, 1 / math.log(10), LOG10_2_HIGH[x.kind], LOG10_2_LOW[x.kind])


def tan(e: Emitter, x: Value) -> Value:
    """For |x| up to TRIG_LIMIT, infinities (NaN) and NaN."""
    r, lost, q = vm.trig_parts(e, x)
    sine, cosine = vm.sin_and_cos(e, r, lost)
    odd = e.compare("ne", e.bit_and(q, 1), 0)
    top, bottom = e.select(odd, e.neg(cosine), sine), e.select(odd, sine, cosine)
    return vm.keep_tiny(e, x, e.div(top, bottom), vm.TINY[x.kind])


def _quotient_atan(e: Emitter, top: Value, bottom: Value) -> Value:
    """atan(top / bottom) for neither below 0: the quotient is turned towards 0 by pi/4 or pi/2."""
    far = e.compare("ogt", e.mul(top, TAN_PI_8), bottom)
    middle = e.compare("ogt", top, e.mul(bottom, TAN_PI_8))
    up = e.select(far, e.neg(bottom), e.select(middle, e.sub(top, bottom), top))
    down = e.select(far, top, e.select(middle, e.add(top, bottom), bottom))
    z = e.div(up, down)
    square = e.mul(z, z)
    turned = e.fma(e.mul(square, e.polynomial(square, table.ATAN[z.kind])), z, z)
    start = e.select(far, e.const(z.kind, math.pi / 2), e.select(
        middle, e.const(z.kind, math.pi / 4), 0.0))
    if z.kind == "f64":
        low = e.select(far, e.const("f64", HALF_PI_LOW), e.select(
            middle, e.const("f64", HALF_PI_LOW / 2), 0.0))
        turned = e.add(turned, low)
    return e.add(start, turned)


def atan(e: Emitter, x: Value) -> Value:
    size = e.unary("fabs", x)
    # infinity over 1 would meet infinity on both sides
    size = e.select(e.compare("oeq", size, INF), 1e30, size)
    result = _quotient_atan(e, size, e.const(x.kind, 1.0))
    return vm.keep_tiny(e, x, e.copysign(result, x), vm.TINY[x.kind])


def atan2(e: Emitter, y: Value, x: Value) -> Value:
    kind = x.kind
    top, bottom = e.unary("fabs", y), e.unary("fabs", x)
    endless = e.bit_and(e.compare("oeq", top, INF), e.compare("oeq", bottom, INF))
    # equal infinities count as equal numbers, one alone outweighs any
    top, bottom = e.select(endless, 1.0, top), e.select(endless, 1.0, bottom)
    above, beside = e.compare("oeq", top, INF), e.compare("oeq", bottom, INF)
    top = e.select(above, 1.0, e.select(beside, 0.0, top))
    bottom = e.select(beside, 1.0, e.select(above, 0.0, bottom))
    missing = e.bit_or(e.compare("uno", x, x), e.compare("uno", y, y))
    # a pair of very small or large numbers is scaled to the middle
    larger = e.select(e.compare("ogt", top, bottom), top, bottom)
    little, much = (1e-30, 1e30) if kind == "f32" else (1e-250, 1e250)
    scale = e.select(e.compare("olt", larger, little), e.const(kind, much), e.select(
        e.compare("ogt", larger, much), e.const(kind, little), 1.0))
    top, bottom = e.mul(top, scale), e.mul(bottom, scale)
    nothing = e.compare("oeq", larger, 0.0)
    angle = _quotient_atan(e, top, e.select(nothing, 1.0, bottom))
    bits = BITS_OF[kind]
    left = e.compare("slt", e.bitcast(x, bits), 0)
    other = e.sub(math.pi, angle) if kind == "f32" else e.add(
        e.sub(math.pi, angle), 2 * HALF_PI_LOW)
    result = e.copysign(e.select(left, other, angle), y)
    return e.select(missing, NAN, result)


def _asin_parts(e: Emitter, x: Value) -> tuple[Value, Value, Value]:
    """Whether |x| is over 1/2, |x|, and asin(|x|), or asin(sqrt((1 - |x|) / 2)) where it is."""
    size = e.unary("fabs", x)
    big = e.compare("ogt", size, 0.5)
    z = e.select(big, e.mul(e.sub(1.0, size), 0.5), e.mul(x, x))
    s = e.select(big, e.unary("sqrt", z), size)
    return big, size, e.fma(e.mul(z, e.polynomial(z, table.ASIN[x.kind])), s, s)


def asin(e: Emitter, x: Value) -> Value:
    big, size, p = _asin_parts(e, x)
    far = e.sub(math.pi / 2, e.sub(e.add(p, p), HALF_PI_LOW if x.kind == "f64" else 0.0))
    result = e.copysign(e.select(big, far, p), x)
    return e.select(e.compare("ogt", size, 1.0), NAN, result)


def acos(e: Emitter, x: Value) -> Value:
    big, size, p = _asin_parts(e, x)
    twice = e.add(p, p)
    low = HALF_PI_LOW if x.kind == "f64" else 0.0
    below = e.compare("olt", x, 0.0)
    far = e.select(below, e.sub(math.pi, e.sub(twice, 2 * low)), twice)
    near = e.sub(math.pi / 2, e.sub(e.copysign(p, x), low))
    return e.select(e.compare("ogt", size, 1.0), NAN, e.select(big, far, near))


def _half_exponential(e: Emitter, size: Value) -> tuple[Value, Value]:
    """exp(size) / 4 and (exp(size) - 1) / 4: they overflow later."""
    less_one, n = vm.exp_parts(e, vm.clamp(e, size, 0.0, HYPERBOLIC_END[size.kind]))
    scale = vm.power_of_two(e, e.sub(n, 2), size.kind)
    return e.fma(scale, less_one, scale), e.fma(scale, less_one, e.sub(scale, 0.25))


def sinh(e: Emitter, x: Value) -> Value:
    size = e.unary("fabs", x)
    _, quarter = _half_exponential(e, size)
    half = e.add(quarter, quarter)
    result = e.add(half, e.div(half, e.add(e.add(half, half), 1.0)))
    result = e.select(e.compare("ogt", size, HYPERBOLIC_END[x.kind]), INF, result)
    return vm.keep_tiny(e, x, e.copysign(result, x), vm.TINY[x.kind])


def cosh(e: Emitter, x: Value) -> Value:
    size = e.unary("fabs", x)
    quarter, _ = _half_exponential(e, size)
    half = e.add(quarter, quarter)
    result = e.add(half, e.div(0.25, half))
    return e.select(e.compare("ogt", size, HYPERBOLIC_END[x.kind]), INF, result)


def _log1p_or_far(e: Emitter, size: Value, near: Value) -> Value:
    """log(1 + near), or log(2 size) where size is huge."""
    huge = e.compare("ogt", size, HUGE[size.kind])
    result = vm.log1p(e, e.select(huge, size, near))
    return e.select(huge, e.add(result, LN2), result)


def asinh(e: Emitter, x: Value) -> Value:
    size = e.unary("fabs", x)
    square = e.mul(size, size)
    root = e.unary("sqrt", e.add(square, 1.0))
    near = e.add(size, e.div(square, e.add(root, 1.0)))
    result = e.copysign(_log1p_or_far(e, size, near), x)
    return vm.keep_tiny(e, x, result, vm.TINY[x.kind])


def acosh(e: Emitter, x: Value) -> Value:
    less = e.sub(x, 1.0)
    near = e.add(less, e.unary("sqrt", e.fma(less, less, e.add(less, less))))
    return e.select(e.compare("olt", x, 1.0), NAN, _log1p_or_far(e, x, near))


def atanh(e: Emitter, x: Value) -> Value:
    size = e.unary("fabs", x)
    twice = e.add(size, size)
    result = e.mul(vm.log1p(e, e.div(twice, e.sub(1.0, size))), 0.5)
    result = e.select(e.compare("ogt", size, 1.0), NAN, result)
    return vm.keep_tiny(e, x, e.copysign(result, x), vm.TINY[x.kind])


def erfc(e: Emitter, x: Value) -> Value:
    kind = x.kind
    size = vm.clamp(e, e.unary("fabs", x), table.ERF_NEAR[kind], table.ERFC_END[kind])
    low = 1 / (1 + table.ERFC_END[kind] / 2)
    high = 1 / (1 + table.ERF_NEAR[kind] / 2)
    t = e.div(1.0, e.fma(size, 0.5, 1.0))
    u = e.mul(e.sub(t, (low + high) / 2), 2 / (high - low))
    square = e.mul(size, size)
    # what rounding took from the square counts in the exponent
    lost = e.intrinsic("fma", [size, size, e.neg(square)], kind)
    power = e.mul(vm.exp(e, e.neg(square)), e.sub(1.0, lost))
    far = e.mul(e.mul(e.polynomial(u, table.ERFC_TAIL[kind]), t), power)
    far = e.select(e.compare("olt", x, 0.0), e.sub(2.0, far), far)
    near = e.compare("olt", e.unary("fabs", x), table.ERF_NEAR[kind])
    result = e.select(near, e.sub(1.0, vm.erf(e, x)), far)
    beyond = e.compare("oge", x, table.ERFC_END[kind])
    return e.select(beyond, 0.0, e.select(e.compare("uno", x, x), x, result))
