"""LLVM text of random numbers: MT19937's words, uniforms made of them, normals made of those."""

from collections.abc import Callable

from flambeau.backends.llvm import conv_text
from flambeau.backends.llvm.conv_text import Writer
from flambeau.backends.llvm.emit import Value
from flambeau.backends.llvm.lanes import spread_item
from flambeau.backends.llvm.loops import Loop
from flambeau.backends.llvm.printer import load_pointers, load_vector, splat_item, store_vector

BLOCK, FAR = 624, 397
LANES = 8
# normals that are made together: as many cosines, then as many sines
GROUP = 2 * LANES
UPPER, LOWER, MATRIX = -(1 << 31), (1 << 31) - 1, 0x9908B0DF - (1 << 32)
# Cephes' logf, sinf and cosf, highest power first
LOG = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
       -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)
LN2_LOW, LN2_HIGH = -2.12194440e-4, 0.693359375
SQRT_HALF, FOUR_OVER_PI, TWO_PI = 0.5**0.5, 1.2732395447351628, 6.283185307179586
QUARTER_PI = (-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)
COS = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
SIN = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)


def words_text() -> str:
    """The kernel: context state, out; begin and end number blocks. The state goes on with them."""
    w = Writer(LANES)
    e = w.e
    state, out = load_pointers(e, 2)
    blocks = Loop(e, "%begin", "%end")
    near = BLOCK - FAR
    _twist(w, state, 0, near, FAR)
    _twist(w, state, near, BLOCK - 1, -near)
    with e.width(1):
        _twist_one(w, state, str(BLOCK - 1), "0", str(FAR - 1))
    line = w.place("i32", out, w.mul(blocks.index, BLOCK))
    items = Loop(e, 0, BLOCK, LANES)
    y = load_vector(e, "i32", state, items.index, None)
    y = e.bit_xor(y, _down(w, y, 11))
    y = e.bit_xor(y, e.bit_and(e.shift_left(y, 7), 0x9D2C5680 - (1 << 32)))
    y = e.bit_xor(y, e.bit_and(e.shift_left(y, 15), 0xEFC60000 - (1 << 32)))
    store_vector(e, e.bit_xor(y, _down(w, y, 18)), line, items.index, None)
    items.close()
    blocks.close()
    return _module(w)


def _twist(w: Writer, state: str, first: int, end: int, apart: int) -> None:
    """Make the state's words anew from `first` to `end`, with those `apart` from them."""
    for lanes in (LANES, 1):
        stop = end - (end - first) % lanes
        with w.e.width(lanes):
            loop = Loop(w.e, first, stop, lanes)
            _twist_one(w, state, loop.index, w.add(loop.index, 1), w.add(loop.index, apart))
            loop.close()
        first = stop


def _twist_one(w: Writer, state: str, at: str, after: str, other: str) -> None:
    e = w.e
    own, following, far = (load_vector(e, "i32", state, i, None) for i in (at, after, other))
    y = e.bit_or(e.bit_and(own, UPPER), e.bit_and(following, LOWER))
    odd = e.sub(0, e.bit_and(following, 1))
    new = e.bit_xor(e.bit_xor(far, _down(w, y, 1)), e.bit_and(odd, MATRIX))
    store_vector(e, new, state, at, None)


def _down(w: Writer, a: Value, by: int) -> Value:
    """Shifted right, with zeros from the left."""
    e = w.e
    return e.value("i32", f"lshr {e.type('i32')} {a.text}, {e.const('i32', by).text}")


def floats_text() -> str:
    """The kernel: context words, which become float32 uniforms; begin and end count them."""
    w = Writer(GROUP)
    (data,) = load_pointers(w.e, 1)
    _each(w, lambda at: store_vector(w.e, _uniform(w, data, at), data, at, None))
    return _module(w)


def _each(w: Writer, step: Callable[[str], None]) -> None:
    """Take a step at every place from begin to end: vectors, then single items."""
    e = w.e
    whole = w.add("%begin", w.op("and", w.op("sub", "%end", "%begin"), -e.lanes))
    first = "%begin"
    for lanes, stop in ((e.lanes, whole), (1, "%end")):
        with e.width(lanes):
            loop = Loop(e, first, stop, lanes)
            step(loop.index)
            loop.close()
        first = whole


def _uniform(w: Writer, words: str, at: str) -> Value:
    e = w.e
    bits = e.bit_and(load_vector(e, "i32", words, at, None), (1 << 24) - 1)
    return e.mul(e.convert(bits, "f32"), 2.0**-24)


def doubles_text() -> str:
    """The kernel: context out, words, of which two make a float64 uniform; these are counted."""
    w = Writer(LANES)
    e = w.e
    out, words = load_pointers(e, 2)

    def step(at: str) -> None:
        first, second = _pair(w, words, w.mul(at, 2))
        high = e.convert(e.bit_and(first, (1 << 21) - 1), "f64")
        # 53 bits: nothing is rounded
        both = e.add(e.mul(high, 2.0**32), _unsigned(w, second))
        store_vector(e, e.mul(both, 2.0**-53), out, at, None)

    _each(w, step)
    return _module(w)


def _pair(w: Writer, words: str, at: str) -> list[Value]:
    """Words from a place on, every second one, and those between them."""
    e = w.e
    lanes = e.lanes
    if lanes == 1:
        return [load_vector(e, "i32", words, place, None) for place in (at, w.add(at, 1))]
    with e.width(2 * lanes):
        pairs = load_vector(e, "i32", words, at, None)
        wide = e.type("i32")
    parts = []
    for first in (0, 1):
        picks = ", ".join(f"i32 {2 * lane + first}" for lane in range(lanes))
        text = f"shufflevector {wide} {pairs.text}, {wide} poison, <{lanes} x i32> <{picks}>"
        parts.append(e.value("i32", text))
    return parts


def _unsigned(w: Writer, word: Value) -> Value:
    e = w.e
    return e.value("f64", f"uitofp {e.type('i32')} {word.text} to {e.type('f64')}")


def integers_text() -> str:
    """The kernel: context out, words, (span, 1 / span), low; out is low + word % span, counted."""
    w = Writer(LANES)
    e = w.e
    out, words, line, low_word = load_pointers(e, 4)
    low = e.assign(f"ptrtoint ptr {low_word} to i64")

    def step(at: str) -> None:
        span, inverse = (splat_item(e, "f64", line, str(place)) for place in range(2))
        word = _unsigned(w, load_vector(e, "i32", words, at, None))
        # all but the quotient, which may be one off, is exact
        rest = e.sub(word, e.mul(e.unary("floor", e.mul(word, inverse)), span))
        rest = e.select(e.compare("olt", rest, 0.0), e.add(rest, span), rest)
        rest = e.select(e.compare("oge", rest, span), e.sub(rest, span), rest)
        found = e.add(e.convert(e.convert(rest, "i32"), "i64"), spread_item(e, Value(low, "i64")))
        store_vector(e, found, out, at, None)

    _each(w, step)
    return _module(w)


def normals_text() -> str:
    """The kernel: context words, mean and deviation; words become normals, a group at a time.

    Every step is rounded to float32 as in PyTorch's kernel for AVX2, and sums of products once.
    """
    w = Writer(LANES)
    e = w.e
    data, line = load_pointers(e, 2)
    mean, deviation = (splat_item(e, "f32", line, str(at)) for at in range(2))
    groups = Loop(e, "%begin", "%end")
    first = w.mul(groups.index, GROUP)
    second = w.add(first, LANES)
    log = _log(w, e.sub(1.0, _uniform(w, data, first)))
    radius = e.unary("sqrt", e.mul(log, -2.0))
    for found, at in zip(_cos_sin(w, e.mul(_uniform(w, data, second), TWO_PI)), (first, second)):
        store_vector(e, _fma(w, e.mul(radius, found), deviation, mean), data, at, None)
    groups.close()
    return _module(w)


def shuffle_text() -> str:
    """The kernel: context order, words; begin and end count all but the last of the order.

    Every item changes places with one from its own place on, which a word chooses.
    """
    w = Writer(1)
    e = w.e
    order, words = load_pointers(e, 2)
    items = Loop(e, "%begin", "%end")
    left = w.op("sub", w.add("%end", 1), items.index)
    at = e.assign(f"load i32, ptr {w.place('i32', words, items.index)}")
    chosen = e.assign(f"urem i32 {at}, {e.assign(f'trunc i64 {left} to i32')}")
    other = w.add(items.index, e.assign(f"zext i32 {chosen} to i64"))
    places = [w.place("i64", order, place) for place in (items.index, other)]
    own, found = (e.assign(f"load i64, ptr {place}") for place in places)
    e.line(f"store i64 {found}, ptr {places[0]}")
    e.line(f"store i64 {own}, ptr {places[1]}")
    items.close()
    return _module(w)


def _fma(w: Writer, a: Value, b: Value | float, c: Value | float) -> Value:
    """a * b + c, rounded once."""
    e = w.e
    items = [x if isinstance(x, Value) else e.const("f32", x) for x in (a, b, c)]
    return e.intrinsic("fma", items, "f32")


def _horner(w: Writer, x: Value, coefficients: tuple[float, ...]) -> Value:
    total: Value = w.e.const("f32", coefficients[0])
    for coefficient in coefficients[1:]:
        total = _fma(w, total, x, coefficient)
    return total


def _log(w: Writer, x: Value) -> Value:
    """The logarithm of normal numbers above 0."""
    e = w.e
    bits = e.bitcast(x, "i32")
    exponent = e.sub(_down(w, bits, 23), 126)
    half = e.bit_or(e.bit_and(bits, (1 << 23) - 1), 126 << 23)
    mantissa = e.bitcast(half, "f32")
    small = e.compare("olt", mantissa, SQRT_HALF)
    power = e.convert(e.select(small, e.sub(exponent, 1), exponent), "f32")
    x = e.sub(e.select(small, e.add(mantissa, mantissa), mantissa), 1.0)
    square = e.mul(x, x)
    y = e.mul(_horner(w, x, LOG), x)
    y = _fma(w, y, square, e.mul(power, LN2_LOW))
    y = _fma(w, square, -0.5, y)
    return _fma(w, power, LN2_HIGH, e.add(x, y))


def _cos_sin(w: Writer, x: Value) -> tuple[Value, Value]:
    """The cosine and the sine of numbers from 0 on."""
    e = w.e
    octant = e.convert(e.mul(x, FOUR_OVER_PI), "i32")
    octant = e.bit_and(e.add(octant, 1), -2)
    turns = e.convert(octant, "f32")
    for part in QUARTER_PI:
        x = _fma(w, turns, part, x)
    square = e.mul(x, x)
    cos = e.mul(_horner(w, square, COS), square)
    cos = e.add(_fma(w, cos, square, e.mul(square, -0.5)), 1.0)
    sin = _fma(w, e.mul(_horner(w, square, SIN), square), x, x)
    swapped = e.compare("ne", e.bit_and(octant, 2), 0)
    below = e.compare("eq", e.bit_and(e.sub(octant, 2), 4), 0)
    behind = e.compare("ne", e.bit_and(octant, 4), 0)
    first, second = e.select(swapped, sin, cos), e.select(swapped, cos, sin)
    return e.select(below, e.neg(first), first), e.select(behind, e.neg(second), second)


def _module(w: Writer) -> str:
    function = w.function("void @kernel(ptr %context, i64 %begin, i64 %end)")
    return conv_text.module([(function, w.e.declarations)], 4 * LANES)


__all__ = ["BLOCK", "GROUP", "doubles_text", "floats_text", "integers_text", "normals_text",
           "shuffle_text", "words_text"]
