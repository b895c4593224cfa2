"""Between vectors and single items: spreading, numbering and combining lanes.

A `Value` here is a vector of the emitter's lanes, or, where that is said, an item: its text then
names a scalar.
"""

from collections.abc import Callable, Sequence

from flambeau.backends.llvm.emit import FLOATS, LLVM_TYPE, Emitter, Value
from flambeau.backends.llvm.program import ITEM_BYTES
from flambeau.backends.llvm.scalars import TABLE


def _peak(e: Emitter, a: Value, b: Value) -> Value:
    """The larger of two; b where a is NaN. One instruction on most hosts."""
    return e.select(e.compare("ogt" if a.kind in FLOATS else "sgt", a, b), a, b)


def _log_sum(e: Emitter, a: Value, b: Value) -> Value:
    """log(exp(a) + exp(b)); infinities that are equal stay what they are."""
    larger = TABLE["maximum"](e, a, b)
    apart = e.neg(e.unary("fabs", e.sub(a, b)))
    total = e.add(larger, TABLE["log1p"](e, TABLE["decay"](e, apart)))
    return e.select(e.compare("oeq", e.unary("fabs", larger), float("inf")), larger, total)


COMBINE: dict[str, Callable[..., Value]] = {
    "sum": TABLE["add"],
    "prod": TABLE["mul"],
    "max": TABLE["maximum"],
    "min": TABLE["minimum"],
    "peak": _peak,
    "logsum": _log_sum,
}


def halves(e: Emitter, value: Value) -> list[Value]:
    """Return the lower and the upper half of the lanes."""
    wide, half = e.type(value.kind), e.lanes // 2
    parts = []
    for first in (0, half):
        picks = ", ".join(f"i32 {lane}" for lane in range(first, first + half))
        text = f"shufflevector {wide} {value.text}, {wide} poison, <{half} x i32> <{picks}>"
        parts.append(e.value(value.kind, text))
    return parts


def pick(e: Emitter, parts: Sequence[Value], step: int) -> Value:
    """Return every `step`-th lane of as many vectors, taken as one after the other."""
    if step == 1:
        return parts[0]
    kind, lanes = parts[0].kind, e.lanes
    text = "poison"
    for number, part in enumerate(parts):
        # lanes of the result that this part has
        picks = [lane * step - number * lanes for lane in range(lanes)]
        places = ", ".join(f"i32 {at + lanes if 0 <= at < lanes else lane}"
                           for lane, at in enumerate(picks))
        mask = f"<{lanes} x i32> <{places}>"
        text = e.assign(f"shufflevector {e.type(kind)} {text}, {e.type(kind)} {part.text}, {mask}")
    return Value(text, kind)


def fold_lanes(e: Emitter, combine: str, total: Value) -> Value:
    """Combine the lanes in halves down to one; returns an item."""
    lanes = e.lanes
    while lanes > 1:
        with e.width(lanes):
            parts = halves(e, total)
        lanes //= 2
        with e.width(lanes):
            total = COMBINE[combine](e, *parts)
    with e.width(1):
        return first_item(e, total)


def first_item(e: Emitter, value: Value) -> Value:
    """Return the first lane as an item."""
    return e.value(value.kind, f"extractelement {e.type(value.kind)} {value.text}, i64 0")


def in_first_lane(e: Emitter, item: Value) -> Value:
    """Return a vector that has an item in its first lane, and nothing in the others."""
    typed = f"{LLVM_TYPE[item.kind]} {item.text}"
    return e.value(item.kind, f"insertelement {e.type(item.kind)} poison, {typed}, i64 0")


def spread_item(e: Emitter, item: Value) -> Value:
    """Return a vector that has an item in every lane."""
    return spread_first(e, in_first_lane(e, item), e.lanes)


def spread_first(e: Emitter, value: Value, lanes: int) -> Value:
    """Return a vector of the emitter's lanes that all hold the first lane of one of `lanes`."""
    vector = f"<{lanes} x {LLVM_TYPE[value.kind]}>"
    zeros = f"<{e.lanes} x i32> zeroinitializer"
    return e.value(value.kind, f"shufflevector {vector} {value.text}, {vector} poison, {zeros}")


def numbers_from(e: Emitter, first: str, kind: str) -> Value:
    """Return first, first + 1, ... in the lanes, for `first` an i64 that 32 bits hold."""
    item = Value(e.assign(f"trunc i64 {first} to i32"), "i32")
    steps = ", ".join(f"i32 {lane}" for lane in range(e.lanes))
    return e.convert(e.add(spread_item(e, item), Value(f"<{steps}>", "i32")), kind)


def least(e: Emitter, a: str, b: str) -> str:
    """Return the smaller of two i64."""
    less = e.assign(f"icmp slt i64 {a}, {b}")
    return e.assign(f"select i1 {less}, i64 {a}, i64 {b}")


def add_item(e: Emitter, item: Value, base: str) -> None:
    """Add a floating item to the one that lies at ``base``."""
    stored, align = LLVM_TYPE[item.kind], ITEM_BYTES[item.kind]
    old = e.assign(f"load {stored}, ptr {base}, align {align}")
    store_item(e, Value(e.assign(f"fadd {stored} {old}, {item.text}"), item.kind), base, "0")


def store_item(e: Emitter, item: Value, base: str, index: str) -> None:
    """Write an item where a number of its kind lies `index` items behind `base`."""
    stored, text = LLVM_TYPE[item.kind], item.text
    if item.kind == "bool":
        stored, text = "i8", e.assign(f"zext i1 {text} to i8")
    place = e.assign(f"getelementptr {stored}, ptr {base}, i64 {index}")
    e.line(f"store {stored} {text}, ptr {place}, align {ITEM_BYTES[item.kind]}")
