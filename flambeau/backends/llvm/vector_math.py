"""exp, log, tanh, erf, sin, cos, pow ... on vectors, branch-free, to 2.5 ulp in f32 and f64.

Range reduction and evaluation follow the textbook forms (Cody and Waite's two-part constants, the
atanh series for log); nothing relies on a fused multiply-add, which only makes them sharper.
"""

from flambeau.backends.llvm import coefficients as table
from flambeau.backends.llvm.emit import BITS_OF, Emitter, Value

INF = float("inf")
NAN = float("nan")
MANTISSA = {"f32": 23, "f64": 52}
BIAS = {"f32": 127, "f64": 1023}
LOG2_E = 1.4426950408889634
# the high part ends in zeros, so that its product with an exponent is exact
LN2_HIGH = {"f32": 0.693115234375, "f64": 0.6931471805592082}
LN2_LOW = {"f32": 3.1946184945309415e-05, "f64": 7.371002565167799e-13}
# 1.5 * 2**mantissa: adding it leaves the rounded integer in the low bits
ROUNDER = {"f32": 12582912.0, "f64": 6755399441055744.0}
# exp is 0 below and infinite above these
EXP_RANGE = {"f32": (-104.0, 89.0), "f64": (-746.0, 710.0)}
# below these exp is computed so many powers of two higher, and may come out denormal
EXP_LOW = {"f32": -86.0, "f64": -707.0}
EXP_LIFT = {"f32": 64, "f64": 512}
# exp is no normal number below
DECAY_END = {"f32": -87.33654022216797, "f64": -708.3964185322641}
# expm1 is -1 below
EXPM1_LOW = {"f32": -20.0, "f64": -40.0}
# tanh rounds to 1 from here on
TANH_ONE = {"f32": 9.02, "f64": 19.1}
# |x| under this: expm1, log1p, tanh and sin round to x
TINY = {"f32": 2.0**-13, "f64": 2.0**-28}
SMALLEST_NORMAL = {"f32": 2.0**-126, "f64": 2.0**-1022}
# pi / 2 in three parts, the first two of 32 bits
HALF_PI = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)
TWO_OVER_PI = 0.6366197723675814


def clamp(e: Emitter, x: Value, low: float, high: float) -> Value:
    """Bound x and keep NaN."""
    x = e.select(e.compare("olt", x, low), low, x)
    return e.select(e.compare("ogt", x, high), high, x)


def round_to_int(e: Emitter, x: Value, scale: float) -> tuple[Value, Value]:
    """Return x * scale rounded, as a float and as an integer; garbage (not a trap) for NaN."""
    kind = x.kind
    shifted = e.fma(x, scale, ROUNDER[kind])
    whole = e.sub(shifted, ROUNDER[kind])
    zero = e.bitcast(e.const(kind, ROUNDER[kind]), BITS_OF[kind])
    return whole, e.sub(e.bitcast(shifted, BITS_OF[kind]), zero)


def power_of_two(e: Emitter, exponent: Value, kind: str) -> Value:
    """2**exponent for exponents of normal numbers."""
    return e.bitcast(e.shift_left(e.add(exponent, BIAS[kind]), MANTISSA[kind]), kind)


def exp_parts(e: Emitter, x: Value) -> tuple[Value, Value]:
    """Return exp(r) - 1 and n with x = n log 2 + r."""
    kind = x.kind
    whole, n = round_to_int(e, x, LOG2_E)
    exact = e.fma(whole, -LN2_HIGH[kind], x)
    r = e.fma(whole, -LN2_LOW[kind], exact)
    lost = e.fma(whole, -LN2_LOW[kind], e.sub(exact, r))
    p = e.polynomial(r, table.EXP[kind])
    return e.add(e.fma(p, e.mul(r, r), lost), r), n


def power_parts(e: Emitter, x: Value, bias: int) -> tuple[Value, Value]:
    """Return r and the bits of 2**(n + bias - BIAS) with x = n log 2 + r."""
    kind = x.kind
    rounder = ROUNDER[kind] + bias
    shifted = e.fma(x, LOG2_E, rounder)
    whole = e.sub(shifted, rounder)
    r = e.fma(whole, -LN2_LOW[kind], e.fma(whole, -LN2_HIGH[kind], x))
    # the rounder's own bits leave at the top
    return r, e.shift_left(e.bitcast(shifted, BITS_OF[kind]), MANTISSA[kind])


def exp(e: Emitter, x: Value) -> Value:
    kind = x.kind
    x = clamp(e, x, *EXP_RANGE[kind])
    # at twice the value and half the power, which the largest numbers need
    r, bits = power_parts(e, x, BIAS[kind] - 1)
    doubled = e.polynomial(r, [2 * c for c in (1.0, 1.0, *table.DECAY[kind])])
    return _scaled(e, x, doubled, bits)


def _scaled(e: Emitter, x: Value, value: Value, bits: Value) -> Value:
    """The value times the power of two of these bits, of the power of x: rounded once."""
    kind, lift = x.kind, EXP_LIFT[x.kind]
    low = e.compare("olt", x, EXP_LOW[kind])
    raised = e.select(low, e.const(BITS_OF[kind], lift << MANTISSA[kind]), 0)
    scaled = e.mul(value, e.bitcast(e.add(bits, raised), kind))
    return e.mul(scaled, e.select(low, e.const(kind, 2.0**-lift), 1.0))


def decay(e: Emitter, x: Value) -> Value:
    """exp of what is not above 0, in half the steps; below the normal numbers it is 0."""
    kind = x.kind
    r, bits = power_parts(e, x, BIAS[kind])
    result = e.mul(e.polynomial(r, (1.0, 1.0, *table.DECAY[kind])), e.bitcast(bits, kind))
    return e.select(e.compare("olt", x, DECAY_END[kind]), 0.0, result)


def one_plus_exp(e: Emitter, x: Value) -> Value:
    """1 + exp, in fewer steps than both take: what exp has below the normal numbers is lost."""
    kind = x.kind
    x = clamp(e, x, EXP_LOW[kind], EXP_RANGE[kind][1])
    r, bits = power_parts(e, x, BIAS[kind] - 1)
    doubled = e.polynomial(r, [2 * c for c in (1.0, 1.0, *table.DECAY[kind])])
    return e.fma(doubled, e.bitcast(bits, kind), 1.0)


def expm1(e: Emitter, x: Value) -> Value:
    kind = x.kind
    less_one, n = exp_parts(e, clamp(e, x, EXPM1_LOW[kind], EXP_RANGE[kind][1]))
    # at half size, since 2**n itself can overflow
    scale = power_of_two(e, e.sub(n, 1), kind)
    half = e.fma(scale, less_one, e.sub(scale, 0.5))
    return keep_tiny(e, x, e.add(half, half), TINY[kind] ** 2)


def keep_tiny(e: Emitter, x: Value, result: Value, bound: float) -> Value:
    """x itself below the bound: right for -0 and denormals too."""
    return e.select(e.compare("olt", e.unary("fabs", x), bound), x, result)


def log_parts(e: Emitter, x: Value) -> tuple[Value, Value]:
    """Return f and the float n with x = 2**n (1 + f), f about 0, for normal x above 0."""
    kind = x.kind
    bits = BITS_OF[kind]
    root = e.bitcast(e.const(kind, 0.5**0.5), bits)
    offset = e.sub(e.bitcast(x, bits), root)
    n = e.shift_right(offset, MANTISSA[kind])
    kept = e.bit_and(offset, (1 << MANTISSA[kind]) - 1)
    f = e.sub(e.bitcast(e.add(kept, root), kind), 1.0)
    return f, _small_int_to_float(e, n, kind)


def _small_int_to_float(e: Emitter, n: Value, kind: str) -> Value:
    """By the rounding constant: hosts without 64-bit conversions have this too."""
    if kind == "f32":
        return e.convert(n, kind)
    zero = e.bitcast(e.const(kind, ROUNDER[kind]), BITS_OF[kind])
    return e.sub(e.bitcast(e.add(n, zero), kind), ROUNDER[kind])


def log_of(e: Emitter, f: Value, n: Value, correction: Value | None) -> Value:
    """n log 2 + log(1 + f) + correction."""
    kind = f.kind
    s = e.div(f, e.add(f, 2.0))
    z = e.mul(s, s)
    series = e.mul(z, e.polynomial(z, table.LOG[kind]))
    half_square = e.mul(e.mul(f, 0.5), f)
    low = e.mul(n, LN2_LOW[kind])
    if correction is not None:
        low = e.add(low, correction)
    inner = e.fma(s, e.add(half_square, series), low)
    return e.fma(n, LN2_HIGH[kind], e.sub(f, e.sub(half_square, inner)))


def log(e: Emitter, x: Value) -> Value:
    kind = x.kind
    lift = MANTISSA[kind] + 1
    small = e.compare("olt", x, SMALLEST_NORMAL[kind])
    f, n = log_parts(e, e.select(small, e.mul(x, 2.0**lift), x))
    n = e.sub(n, e.select(small, e.const(kind, lift), 0.0))
    result = e.select(e.compare("olt", x, INF), log_of(e, f, n, None), x)
    result = e.select(e.compare("oeq", x, 0.0), -INF, result)
    return e.select(e.compare("olt", x, 0.0), NAN, result)


def log1p(e: Emitter, x: Value) -> Value:
    kind = x.kind
    u = e.add(x, 1.0)
    # what rounding took from 1 + x
    lost = e.select(e.compare("ogt", x, 1.0), e.sub(1.0, e.sub(u, x)), e.sub(x, e.sub(u, 1.0)))
    f, n = log_parts(e, u)
    result = log_of(e, f, n, e.div(lost, u))
    result = e.select(e.compare("olt", x, INF), result, x)
    result = e.select(e.compare("oeq", x, -1.0), -INF, result)
    result = e.select(e.compare("olt", x, -1.0), NAN, result)
    return keep_tiny(e, x, result, TINY[kind] ** 2)


def tanh(e: Emitter, x: Value) -> Value:
    """m / (m + 2) with m = exp(2 |x|) - 1, which has a small relative error for every x."""
    kind, most = x.kind, 2 * TANH_ONE[x.kind]
    size = e.unary("fabs", x)
    doubled = e.add(size, size)
    r, bits = power_parts(e, e.select(e.compare("ogt", doubled, most), most, doubled), BIAS[kind])
    bend = e.mul(e.polynomial(r, table.EXP[kind]), e.mul(r, r))
    scale = e.bitcast(bits, kind)
    m = e.fma(scale, bend, e.fma(scale, r, e.sub(scale, 1.0)))
    # for x = -0, too
    return e.copysign(e.div(m, e.add(m, 2.0)), x)


def sigmoid(e: Emitter, x: Value) -> Value:
    return e.div(1.0, one_plus_exp(e, e.neg(x)))


def erf(e: Emitter, x: Value) -> Value:
    kind = x.kind
    z = e.mul(x, x)
    near = e.fma(e.polynomial(z, table.ERF[kind]), x, x)
    size = e.unary("fabs", x)
    far = e.copysign(e.sub(1.0, _erfc_far(e, size)), x)
    return e.select(e.compare("olt", size, table.ERF_NEAR[kind]), near, far)


def _erfc_far(e: Emitter, size: Value) -> Value:
    """erfc from ERF_NEAR to ERF_ONE, and there beyond."""
    kind = size.kind
    size = clamp(e, size, table.ERF_NEAR[kind], table.ERF_ONE[kind])
    if kind == "f32":
        return decay(e, e.polynomial(size, table.ERFC[kind]))
    low, high = 2.0 / (2.0 + table.ERF_ONE[kind]), 2.0 / (2.0 + table.ERF_NEAR[kind])
    t = e.div(2.0, e.add(size, 2.0))
    u = e.mul(e.sub(t, (low + high) / 2), 2.0 / (high - low))
    return e.mul(t, decay(e, e.sub(e.polynomial(u, table.ERFC[kind]), e.mul(size, size))))


def trig_parts(e: Emitter, x: Value) -> tuple[Value, Value, Value]:
    """Return r, its rounding error and the integer q with x = r + error + q pi/2, |r| <= pi/4."""
    wide = e.convert(x, "f64")
    whole, q = round_to_int(e, wide, TWO_OVER_PI)
    first = e.fma(whole, -HALF_PI[0], wide)
    step = e.mul(whole, HALF_PI[1])
    second = e.sub(first, step)
    low = e.fma(whole, -HALF_PI[2], e.sub(e.sub(first, second), step))
    near = e.add(second, low)
    r = e.convert(near, x.kind)
    # in f32 the error is what the conversion lost, in f64 what the last sum did
    lost = e.sub(near, e.convert(r, "f64")) if x.kind == "f32" else e.sub(low, e.sub(near, second))
    return r, e.convert(lost, x.kind), e.convert(q, BITS_OF[x.kind])


def sin_and_cos(e: Emitter, r: Value, lost: Value) -> tuple[Value, Value]:
    """sin(r + lost) and cos(r + lost) for |r| <= pi/4."""
    kind = r.kind
    z = e.mul(r, r)
    half = e.mul(z, 0.5)
    level = e.sub(1.0, half)
    bend = e.mul(z, e.polynomial(z, table.SIN[kind]))
    sine = e.add(e.fma(bend, r, e.mul(lost, level)), r)
    bend = e.fma(e.mul(z, z), e.polynomial(z, table.COS[kind]), e.neg(e.mul(r, lost)))
    return sine, e.add(level, e.add(e.sub(e.sub(1.0, level), half), bend))


def _sin_or_cos(e: Emitter, r: Value, lost: Value, q: Value) -> Value:
    """sin(r + lost + q pi/2)."""
    sine, cosine = sin_and_cos(e, r, lost)
    odd = e.compare("ne", e.bit_and(q, 1), 0)
    lower = e.compare("ne", e.bit_and(q, 2), 0)
    result = e.select(odd, cosine, sine)
    return e.select(lower, e.neg(result), result)


def sin(e: Emitter, x: Value) -> Value:
    """For |x| up to TRIG_LIMIT, infinities (NaN) and NaN."""
    return keep_tiny(e, x, _sin_or_cos(e, *trig_parts(e, x)), TINY[x.kind])


def cos(e: Emitter, x: Value) -> Value:
    """For |x| up to TRIG_LIMIT, infinities (NaN) and NaN."""
    r, lost, q = trig_parts(e, x)
    return _sin_or_cos(e, r, lost, e.add(q, 1))


def pow(e: Emitter, x: Value, y: Value) -> Value:
    """x ** y for f32, by way of f64, with C's pow on the special cases."""
    if x.kind != "f32":
        raise ValueError("pow on vectors is for f32")
    grown = e.mul(log(e, e.convert(e.unary("fabs", x), "f64")), e.convert(y, "f64"))
    result = e.convert(exp(e, grown), "f32")
    half = e.mul(y, 0.5)
    whole = e.compare("oeq", e.unary("trunc", y), y)
    # beyond 2**24 every float is even, and so is infinity
    odd = e.bit_and(whole, e.compare("one", e.unary("trunc", half), half))
    result = e.select(odd, e.copysign(result, x), result)
    root = e.bit_and(e.compare("olt", x, 0.0), e.compare("ogt", x, -INF))
    undefined = e.bit_and(root, e.compare("one", e.unary("trunc", y), y))
    result = e.select(undefined, NAN, result)
    endless = e.compare("oeq", e.unary("fabs", y), INF)
    one = e.bit_or(e.compare("oeq", x, 1.0), e.compare("oeq", y, 0.0))
    one = e.bit_or(one, e.bit_and(e.compare("oeq", x, -1.0), endless))
    return e.select(one, 1.0, result)
