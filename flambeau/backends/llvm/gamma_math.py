"""digamma, lgamma and erfinv on vectors, branch-free.

digamma follows Bernardo (Applied Statistics 25, 1976) and lgamma Stirling, both after a few steps
of the recurrence and reflected below 1/2; erfinv takes Giles' polynomials (GPU Computing Gems,
2011) and one step of Newton's. All are for f32, by way of f64.
"""

import math

from flambeau.backends.llvm import vector_math as vm
from flambeau.backends.llvm.coefficients import DIGAMMA_SERIES, DIGAMMA_START
from flambeau.backends.llvm.emit import Emitter, Value
from flambeau.backends.llvm.vector_math import INF, NAN

# the recurrence is followed up to its end, one step after the other
STEPS = 8
# B2k / (2k (2k - 1)), the Bernoulli numbers in the asymptotic series
LGAMMA_SERIES = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
HALF_LOG_2_PI = 0.5 * math.log(2 * math.pi)
# Giles' single precision polynomials, for w < 5 in w - 2.5 and else in sqrt(w) - 3
CENTRE = (1.50140941, 0.246640727, -0.00417768164, -0.00125372503, 0.00021858087, -4.39150654e-06,
          -3.5233877e-06, 3.43273939e-07, 2.81022636e-08)
OUTSIDE = (2.83297682, 1.00167406, 0.00943887047, -0.0076224613, 0.00573950773, -0.00367342844,
           0.00134934322, 0.000100950558, -0.000200214257)


def _tangent_parts(e: Emitter, x: Value) -> tuple[Value, Value]:
    """sin(pi r) and cos(pi r), where r is x less the nearest integer."""
    r = e.sub(x, e.unary("roundeven", x))
    parts = vm.trig_parts(e, e.mul(r, math.pi))
    sine, cosine = vm.sin_and_cos(e, *parts[:2])
    odd = e.compare("ne", e.bit_and(parts[2], 1), 0)
    lower = e.compare("slt", parts[2], 0)
    turned = e.select(lower, e.neg(cosine), cosine)
    back = e.select(lower, sine, e.neg(sine))
    return e.select(odd, turned, sine), e.select(odd, back, cosine)


def digamma(e: Emitter, x: Value) -> Value:
    wide = e.convert(x, "f64")
    reflected = e.compare("olt", wide, 0.5)
    y = e.select(reflected, e.sub(1.0, wide), wide)
    total = e.const("f64", 0.0)
    for _ in range(STEPS):
        low = e.compare("olt", y, DIGAMMA_START)
        total = e.select(low, e.sub(total, e.div(1.0, y)), total)
        y = e.select(low, e.add(y, 1.0), y)
    inverse = e.div(1.0, y)
    square = e.mul(inverse, inverse)
    series = e.mul(square, e.polynomial(square, DIGAMMA_SERIES))
    found = e.add(total, e.sub(e.sub(vm.log(e, y), e.mul(inverse, 0.5)), series))
    sine, cosine = _tangent_parts(e, wide)
    found = e.select(reflected, e.sub(found, e.div(e.mul(cosine, math.pi), sine)), found)
    whole = e.bit_and(e.compare("oeq", e.unary("floor", wide), wide), reflected)
    found = e.select(whole, NAN, found)
    found = e.select(e.compare("oeq", wide, 0.0), e.copysign(
        e.const("f64", INF), e.neg(wide)), found)
    found = e.select(e.compare("oeq", wide, INF), INF, found)
    return e.convert(e.select(e.compare("oeq", wide, -INF), NAN, found), x.kind)


def lgamma(e: Emitter, x: Value) -> Value:
    """log |gamma(x)|."""
    wide = e.convert(x, "f64")
    reflected = e.compare("olt", wide, 0.5)
    first = e.select(reflected, e.sub(1.0, wide), wide)
    y, product = first, e.const("f64", 1.0)
    for _ in range(STEPS):
        low = e.compare("olt", y, DIGAMMA_START)
        product = e.select(low, e.mul(product, y), product)
        y = e.select(low, e.add(y, 1.0), y)
    inverse = e.div(1.0, y)
    square = e.mul(inverse, inverse)
    series = e.mul(inverse, e.polynomial(square, LGAMMA_SERIES))
    stirling = e.sub(e.mul(e.sub(y, 0.5), vm.log(e, y)), y)
    found = e.sub(e.add(e.add(stirling, HALF_LOG_2_PI), series), vm.log(e, product))
    sine, _ = _tangent_parts(e, wide)
    mirror = e.sub(vm.log(e, e.div(math.pi, e.unary("fabs", sine))), found)
    found = e.select(reflected, mirror, found)
    whole = e.compare("oeq", e.unary("floor", wide), wide)
    pole = e.bit_and(whole, e.compare("ole", wide, 0.0))
    endless = e.compare("oeq", e.unary("fabs", wide), INF)
    return e.convert(e.select(e.bit_or(pole, endless), INF, found), x.kind)


def erfinv(e: Emitter, x: Value) -> Value:
    wide = e.convert(x, "f64")
    w = e.neg(vm.log(e, e.mul(e.sub(1.0, wide), e.add(wide, 1.0))))
    near = e.polynomial(e.sub(w, 2.5), CENTRE)
    far = e.polynomial(e.sub(e.unary("sqrt", w), 3.0), OUTSIDE)
    y = e.mul(e.select(e.compare("olt", w, 5.0), near, far), wide)
    slope = e.mul(vm.exp(e, e.neg(e.mul(y, y))), 2 / math.sqrt(math.pi))
    y = e.sub(y, e.div(e.sub(vm.erf(e, y), wide), slope))
    one = e.compare("oeq", e.unary("fabs", wide), 1.0)
    y = e.select(one, e.copysign(e.const("f64", INF), wide), y)
    y = e.select(e.compare("oeq", wide, 0.0), wide, y)
    return e.convert(e.select(e.compare("ogt", e.unary("fabs", wide), 1.0), NAN, y), x.kind)
