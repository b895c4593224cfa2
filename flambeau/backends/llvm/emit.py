"""An emitter of LLVM text over vectors: each method appends one instruction, returns its value."""

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from flambeau.backends.llvm import host

# the half kinds travel as their bits, small integers without a sign
LLVM_TYPE = {
    "f32": "float",
    "f64": "double",
    "i32": "i32",
    "i64": "i64",
    "bool": "i1",
    "f16": "i16",
    "bf16": "i16",
    "i8": "i8",
    "u8": "i8",
    "i16": "i16",
}
SUFFIX = {**LLVM_TYPE, "f32": "f32", "f64": "f64"}
BITS_OF = {"f32": "i32", "f64": "i64"}
FLOATS = ("f32", "f64")
HALVES = ("f16", "bf16")
# how small integers become larger ones
WIDENED = {"i8": "sext", "u8": "zext", "i16": "sext"}
LEAST = {"i32": -(1 << 31), "i64": -(1 << 63)}


class Value(NamedTuple):
    """A vector in the text being built: what it is called and what its lanes hold."""

    text: str
    kind: str


Operand = Value | float | int


class Emitter:
    """Collects the lines of one function; `lanes` elements travel in every value."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.lines: list[str] = []
        self.declarations: set[str] = set()
        self.block = "entry"
        self._count = 0

    # text

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def label(self, name: str) -> None:
        self.lines.append(name + ":")
        self.block = name

    def fresh(self, stem: str) -> str:
        """Return a name for labels that no other has."""
        self._count += 1
        return f"{stem}{self._count}"

    def assign(self, text: str) -> str:
        self._count += 1
        name = f"%v{self._count}"
        self.line(f"{name} = {text}")
        return name

    @contextmanager
    def width(self, lanes: int) -> Iterator[None]:
        """Values have so many lanes inside."""
        before, self.lanes = self.lanes, lanes
        try:
            yield
        finally:
            self.lanes = before

    def type(self, kind: str) -> str:
        return f"<{self.lanes} x {LLVM_TYPE[kind]}>"

    def const(self, kind: str, number: float | int | bool) -> Value:
        return Value(f"splat ({LLVM_TYPE[kind]} {literal(kind, number)})", kind)

    def value(self, kind: str, text: str) -> Value:
        return Value(self.assign(text), kind)

    def intrinsic(self, name: str, operands: Iterable[Value], kind: str) -> Value:
        """Call `llvm.<name>`, overloaded on the result's vector type."""
        operands = list(operands)
        full = f"@llvm.{name}.v{self.lanes}{SUFFIX[kind]}"
        types = ", ".join(self.type(item.kind) for item in operands)
        self.declarations.add(f"declare {self.type(kind)} {full}({types})")
        passed = ", ".join(f"{self.type(item.kind)} {item.text}" for item in operands)
        return self.value(kind, f"call {self.type(kind)} {full}({passed})")

    def _pair(self, a: Operand, b: Operand) -> tuple[Value, Value]:
        if not isinstance(a, Value):
            assert isinstance(b, Value)
            return self.const(b.kind, a), b
        return a, b if isinstance(b, Value) else self.const(a.kind, b)

    def _binary(self, name: str, a: Operand, b: Operand) -> Value:
        left, right = self._pair(a, b)
        kind = left.kind
        return self.value(kind, f"{name} {self.type(kind)} {left.text}, {right.text}")

    def _numeric(self, name: str, a: Operand, b: Operand) -> Value:
        left, right = self._pair(a, b)
        return self._binary(("f" if left.kind in FLOATS else "") + name, left, right)

    # arithmetic

    def add(self, a: Operand, b: Operand) -> Value:
        return self._numeric("add", a, b)

    def sub(self, a: Operand, b: Operand) -> Value:
        return self._numeric("sub", a, b)

    def mul(self, a: Operand, b: Operand) -> Value:
        return self._numeric("mul", a, b)

    def div(self, a: Operand, b: Operand) -> Value:
        return self._binary("fdiv", a, b)

    def neg(self, a: Value) -> Value:
        if a.kind in FLOATS:
            return self.value(a.kind, f"fneg {self.type(a.kind)} {a.text}")
        return self._binary("sub", 0, a)

    def fma(self, a: Operand, b: Operand, c: Operand) -> Value:
        """a * b + c, in one rounding where the host has it; nothing may rely on which."""
        kind = next(item.kind for item in (a, b, c) if isinstance(item, Value))
        items = [item if isinstance(item, Value) else self.const(kind, item) for item in (a, b, c)]
        return self.intrinsic("fmuladd", items, kind)

    def polynomial(self, x: Value, coefficients: Iterable[float]) -> Value:
        """Horner's rule; coefficients come lowest power first."""
        powers = list(coefficients)
        total: Operand = powers[-1]
        for coefficient in reversed(powers[:-1]):
            total = self.fma(total, x, coefficient)
        assert isinstance(total, Value)
        return total

    def unary(self, name: str, a: Value) -> Value:
        """A float intrinsic of one operand: sqrt, fabs, floor, ceil, trunc, roundeven."""
        return self.intrinsic(name, [a], a.kind)

    def copysign(self, magnitude: Value, sign: Value) -> Value:
        return self.intrinsic("copysign", [magnitude, sign], magnitude.kind)

    # choice

    def compare(self, predicate: str, a: Operand, b: Operand) -> Value:
        """Predicate as LLVM spells it: "olt", "une", "uno" ... on floats, "slt", "eq" on ints."""
        left, right = self._pair(a, b)
        name = "fcmp" if left.kind in FLOATS else "icmp"
        text = f"{name} {predicate} {self.type(left.kind)} {left.text}, {right.text}"
        return self.value("bool", text)

    def select(self, condition: Value, a: Operand, b: Operand) -> Value:
        left, right = self._pair(a, b)
        mask = f"{self.type('bool')} {condition.text}"
        vector = self.type(left.kind)
        text = f"select {mask}, {vector} {left.text}, {vector} {right.text}"
        return self.value(left.kind, text)

    # bits

    def bit_and(self, a: Value, b: Operand) -> Value:
        return self._binary("and", a, b)

    def bit_or(self, a: Value, b: Operand) -> Value:
        return self._binary("or", a, b)

    def bit_xor(self, a: Value, b: Operand) -> Value:
        return self._binary("xor", a, b)

    def shift_left(self, a: Value, by: int) -> Value:
        return self._binary("shl", a, by)

    def shift_right(self, a: Value, by: int) -> Value:
        """Arithmetic: the sign comes in from the left."""
        return self._binary("ashr", a, by)

    def bitcast(self, a: Value, kind: str) -> Value:
        return self.value(kind, f"bitcast {self.type(a.kind)} {a.text} to {self.type(kind)}")

    def convert(self, a: Value, kind: str) -> Value:
        """Value-preserving where it can be; floats lose what is behind the point.

        What is out of an integer's range, or no number, becomes the least integer, as on x86; small
        integers keep the lowest bits of what int32 would hold.
        """
        if a.kind == kind:
            return a
        if a.kind in WIDENED:
            text = f"{WIDENED[a.kind]} {self.type(a.kind)} {a.text} to {self.type('i32')}"
            return self.convert(self.value("i32", text), kind)
        if kind in WIDENED:
            wide = a if a.kind == "i64" else self.convert(a, "i32")
            text = f"trunc {self.type(wide.kind)} {wide.text} to {self.type(kind)}"
            return self.value(kind, text)
        if a.kind in HALVES or kind in HALVES:
            return self._convert_half(a, kind)
        if a.kind in FLOATS and kind in LEAST:
            return self._to_integer(a, kind)
        name = _conversion(a.kind, kind)
        if name == "test":
            return self.compare("une" if a.kind in FLOATS else "ne", a, 0)
        return self.value(kind, f"{name} {self.type(a.kind)} {a.text} to {self.type(kind)}")

    def _to_integer(self, a: Value, kind: str) -> Value:
        least = float(LEAST[kind])
        # float64 has numbers between the least int32 and the next integer below it
        below = ("ogt", least - 1) if (a.kind, kind) == ("f64", "i32") else ("oge", least)
        inside = self.bit_and(self.compare(below[0], a, below[1]), self.compare("olt", a, -least))
        safe = self.select(inside, a, 0.0)
        found = self.value(kind, f"fptosi {self.type(a.kind)} {safe.text} to {self.type(kind)}")
        return self.select(inside, found, LEAST[kind])

    # half kinds: float32 is the only way in and out, with rounding to the nearest even

    def _convert_half(self, a: Value, kind: str) -> Value:
        if "f16" in (a.kind, kind) and host.converts_halves():
            return self._convert_by_host(a, kind)
        if a.kind in HALVES:
            text = f"zext {self.type(a.kind)} {a.text} to {self.type('i32')}"
            bits = self.value("i32", text)
            wide = self._from_half(bits) if a.kind == "f16" else self.shift_left(bits, 16)
            return self.convert(self.bitcast(wide, "f32"), kind)
        bits = self.bitcast(self.convert(a, "f32"), "i32")
        narrow = self._to_half(bits) if kind == "f16" else self._to_bfloat(bits)
        return self.value(kind, f"trunc {self.type('i32')} {narrow.text} to {self.type(kind)}")

    def _convert_by_host(self, a: Value, kind: str) -> Value:
        half, single = f"<{self.lanes} x half>", self.type("f32")
        if a.kind == "f16":
            bits = self.assign(f"bitcast {self.type('f16')} {a.text} to {half}")
            return self.convert(self.value("f32", f"fpext {half} {bits} to {single}"), kind)
        wide = self.convert(a, "f32")
        narrow = self.assign(f"fptrunc {single} {wide.text} to {half}")
        return self.value("f16", f"bitcast {half} {narrow} to {self.type('f16')}")

    def _from_half(self, bits: Value) -> Value:
        body = self.shift_left(self.bit_and(bits, 0x7FFF), 13)
        # the product moves the exponent's bias, and makes denormals normal
        scaled = self.bitcast(self.mul(self.bitcast(body, "f32"), 2.0**112), "i32")
        special = self.compare("sge", self.bit_and(bits, 0x7FFF), 0x7C00)
        body = self.select(special, self.bit_or(body, 0x7F800000), scaled)
        return self.bit_or(body, self.shift_left(self.bit_and(bits, 0x8000), 16))

    def _to_half(self, bits: Value) -> Value:
        body = self.bit_and(bits, 0x7FFFFFFF)
        odd = self.bit_and(self.shift_right(body, 13), 1)
        normal = self.shift_right(self.add(self.add(body, odd), 0xFFF - (112 << 23)), 13)
        # added to 1/2, a small number lies in the low bits, rounded
        small = self.bitcast(self.add(self.bitcast(body, "f32"), 0.5), "i32")
        small = self.sub(small, 126 << 23)
        found = self.select(self.compare("slt", body, 113 << 23), small, normal)
        missing = self.compare("sgt", body, 0x7F800000)
        endless = self.select(missing, self.const("i32", 0x7E00), 0x7C00)
        found = self.select(self.compare("sge", body, 143 << 23), endless, found)
        return self.bit_or(found, self.bit_and(self.shift_right(bits, 16), 0x8000))

    def _to_bfloat(self, bits: Value) -> Value:
        odd = self.bit_and(self.shift_right(bits, 16), 1)
        rounded = self.shift_right(self.add(self.add(bits, odd), 0x7FFF), 16)
        missing = self.compare("sgt", self.bit_and(bits, 0x7FFFFFFF), 0x7F800000)
        return self.select(missing, 0x7FC0, rounded)


def literal(kind: str, number: float | int | bool) -> str:
    """Return `number` as LLVM writes a constant of this kind, rounded to it first."""
    if kind == "bool":
        return "true" if number else "false"
    if kind not in FLOATS:
        return str(int(number))
    exact = float(number)
    if kind == "f32":
        exact = _round_to_single(exact)
    return f"0x{struct.unpack('<Q', struct.pack('<d', exact))[0]:016X}"


def _round_to_single(number: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", number))[0])
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _conversion(source: str, target: str) -> str:
    if target == "bool":
        return "test"
    if source == "bool":
        return "uitofp" if target in FLOATS else "zext"
    if source in FLOATS and target in FLOATS:
        return "fpext" if target == "f64" else "fptrunc"
    if target in FLOATS:
        return "sitofp"
    return "sext" if target == "i64" else "trunc"
