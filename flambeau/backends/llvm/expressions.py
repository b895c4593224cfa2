"""Kernel programs from Python formulas: run one on symbols, and it writes down its steps.

    b = Builder()
    x = b.input("f32")
    program = b.pointwise(x * b.on.sigmoid(x))

A formula written for arrays, with the functions it needs in a namespace `on`, serves unchanged.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from flambeau.backends.llvm import coefficients as table
from flambeau.backends.llvm.program import (
    FLOATS,
    INSTRUCTIONS,
    ROW_REDUCTIONS,
    STORAGE_ONLY,
    Input,
    Output,
    Pointwise,
    Rows,
    Step,
)


class Symbol:
    """A value of a program being built; arithmetic on it appends steps."""

    __slots__ = ("builder", "number", "kind")
    __array_priority__ = 1000

    def __init__(self, builder: Builder, number: int, kind: str) -> None:
        self.builder = builder
        self.number = number
        self.kind = kind

    def _with(self, name: str, other: Any, swapped: bool = False) -> Any:
        if not isinstance(other, (Symbol, int, float)):
            return NotImplemented
        other = self.builder.lift(other, self.kind)
        pair = (other, self) if swapped else (self, other)
        return self.builder.step(name, *pair)

    def __add__(self, other: Any) -> Symbol:
        return self._with("add", other)

    def __radd__(self, other: Any) -> Symbol:
        return self._with("add", other, True)

    def __sub__(self, other: Any) -> Symbol:
        return self._with("sub", other)

    def __rsub__(self, other: Any) -> Symbol:
        return self._with("sub", other, True)

    def __mul__(self, other: Any) -> Symbol:
        return self._with("mul", other)

    def __rmul__(self, other: Any) -> Symbol:
        return self._with("mul", other, True)

    def __truediv__(self, other: Any) -> Symbol:
        return self._with("div", other)

    def __rtruediv__(self, other: Any) -> Symbol:
        return self._with("div", other, True)

    def __pow__(self, other: Any) -> Symbol:
        if type(other) is int and other == 2:
            return self.builder.step("square", self)
        return self._with("pow", other)

    def __neg__(self) -> Symbol:
        return self.builder.step("neg", self)

    def __abs__(self) -> Symbol:
        return self.builder.step("abs", self)

    def __lt__(self, other: Any) -> Symbol:
        return self._with("lt", other)

    def __le__(self, other: Any) -> Symbol:
        return self._with("le", other)

    def __gt__(self, other: Any) -> Symbol:
        return self._with("gt", other)

    def __ge__(self, other: Any) -> Symbol:
        return self._with("ge", other)

    def __and__(self, other: Any) -> Symbol:
        return self._with("logical_and", other)

    def __or__(self, other: Any) -> Symbol:
        return self._with("logical_or", other)

    def __invert__(self) -> Symbol:
        return self.builder.step("logical_not", self)

    def __eq__(self, other: Any) -> Symbol:  # type: ignore[override]
        return self._with("eq", other)

    def __ne__(self, other: Any) -> Symbol:  # type: ignore[override]
        return self._with("ne", other)

    __hash__ = object.__hash__

    def cast(self, kind: str) -> Symbol:
        """The same value as another kind."""
        return self if kind == self.kind else self.builder.make("cast", (self,), kind)

    def __bool__(self) -> bool:
        raise TypeError("a formula for kernels cannot branch on a value: use on.where")


class Builder:
    """Collects inputs and steps; equal steps become one value."""

    def __init__(self) -> None:
        self._inputs: list[Input] = []
        self._steps: list[Step] = []
        self._kinds: dict[int, str] = {}
        self._known: dict[Step, Symbol] = {}
        self.on = Functions(self)

    def input(self, kind: str, layout: str = "array") -> Symbol:
        """Declare the next input (before any step); what is only stored is widened to float32."""
        number = len(self._inputs)
        self._inputs.append(Input(kind, layout))
        return Symbol(self, number, kind)

    def lift(self, value: Any, kind: str) -> Symbol:
        """A Python number as a constant of this kind; a symbol as it is."""
        if isinstance(value, Symbol):
            return value
        return self.make("const", (), kind, value)

    def step(self, name: str, *args: Symbol) -> Symbol:
        """Append an instruction or a reduction along the row."""
        if name == "exp" and self._is_below_peak(args[0]):
            name = "decay"
        signature = INSTRUCTIONS.get(name)
        gives_bool = signature is not None and signature.result == "bool"
        kind = "bool" if gives_bool else args[-1].kind
        return self._append(Step(name, tuple([a.number for a in args])), kind)

    def _is_below_peak(self, x: Symbol) -> bool:
        """Whether a value is what is left of the row's maximum: not above 0."""
        step = self._step_of(x.number)
        if step is None or step.name != "sub":
            return False
        peak = self._step_of(step.args[1])
        return (peak is not None and peak.name in ("row_max", "row_peak")
                and peak.args[0] == step.args[0])

    def _step_of(self, number: int) -> Step | None:
        """The step that makes a value; None of an input."""
        return self._steps[-1 - number] if number < 0 else None

    def make(
        self, name: str, args: tuple[Symbol, ...], kind: str, value: Any = None
    ) -> Symbol:
        """Append a step that says what kind it makes: a constant, a cast, a position."""
        if name == "const" and kind in FLOATS:
            value = float(value)
        return self._append(Step(name, tuple([a.number for a in args]), value, kind), kind)

    def _append(self, step: Step, kind: str) -> Symbol:
        # 0.0 and -0.0 are equal, but not the same constant
        key = step if step.value != 0 else step._replace(value=repr(step.value))  # type: ignore
        found = self._known.get(key)
        if found is None:
            # numbered past all inputs when the program is made
            found = Symbol(self, -1 - len(self._steps), kind)
            self._steps.append(step)
            self._known[key] = found
        return found

    def _number(self, number: int) -> int:
        return number if number >= 0 else len(self._inputs) - 1 - number

    def _finished_steps(self, results: Sequence[int]) -> tuple[Step, ...]:
        uses = Counter([n for step in self._steps for n in step.args])
        uses.update(results)
        steps = [self._joined(step, uses) for step in self._steps]
        return tuple([step._replace(args=tuple([self._number(n) for n in step.args]))
                      for step in steps])

    def _joined(self, step: Step, uses: Counter[int]) -> Step:
        """1 + exp(x) as one instruction, where nobody else needs the power."""
        if step.name != "add":
            return step
        for power, number in (step.args, step.args[::-1]):
            made, one = self._step_of(power), self._step_of(number)
            if (made is not None and made.name == "exp" and uses[power] == 1
                    and one is not None and one.name == "const" and one.value == 1):
                return Step("one_plus_exp", made.args)
        return step

    def pointwise(self, *results: Symbol) -> Pointwise:
        """The program that stores these values of every element."""
        numbers = [result.number for result in results]
        steps = self._finished_steps(numbers)
        return Pointwise(tuple(self._inputs), steps, tuple([self._number(n) for n in numbers]))

    def rows(self, *results: Symbol | tuple[Symbol, str]) -> Rows:
        """The program by rows that stores these values; a pair also says the output's layout."""
        pairs = [r if isinstance(r, tuple) else (r, "array") for r in results]
        outputs = tuple([Output(self._number(value.number), layout) for value, layout in pairs])
        steps = self._finished_steps([value.number for value, _ in pairs])
        return Rows(tuple(self._inputs), steps, outputs)


def widened(symbol: Symbol) -> Symbol:
    """What can be computed with: float32 for kinds that are only stored."""
    return symbol.cast("f32") if symbol.kind in STORAGE_ONLY else symbol


class Functions:
    """The functions that formulas are written in: instructions by name, and what is made of them.

    Each is made when it is first asked for.
    """

    def __init__(self, b: Builder) -> None:
        self._builder = b

    def __getattr__(self, name: str) -> Callable[..., Any]:
        step = _REDUCES.get(name, name)
        if name in _MADE:
            made: Callable[..., Any] = functools.partial(_MADE[name], self._builder)
        elif step in INSTRUCTIONS or step in ROW_REDUCTIONS:
            made = _function(self._builder, step)
        else:
            raise AttributeError(f"kernels have no function {name!r}")
        setattr(self, name, made)
        return made


def _function(b: Builder, name: str) -> Callable[..., Symbol]:
    def function(*args: Any) -> Symbol:
        kind = next(a.kind for a in args if isinstance(a, Symbol))
        return b.step(name, *[b.lift(a, kind) for a in args])

    return function


def _length(b: Builder, kind: str) -> Symbol:
    return b.make("row_length", (), kind)


def _column(b: Builder, kind: str) -> Symbol:
    return b.make("column_number", (), kind)


def _conj(b: Builder, x: Symbol) -> Symbol:
    return x


def _where(b: Builder, condition: Symbol, first: Any, second: Any) -> Symbol:
    kind = next(a.kind for a in (first, second) if isinstance(a, Symbol))
    return b.step("select", condition, b.lift(first, kind), b.lift(second, kind))


def _clip(b: Builder, x: Symbol, low: Any, high: Any) -> Symbol:
    if low is not None:
        x = b.step("maximum", x, b.lift(low, x.kind))
    return x if high is None else b.step("minimum", x, b.lift(high, x.kind))


def _normal_density(b: Builder, x: Symbol) -> Symbol:
    return b.on.decay(-0.5 * (x * x)) * (1 / math.sqrt(2 * math.pi))


def _normal_cdf(b: Builder, x: Symbol) -> Symbol:
    """The normal distribution function; float32 shares its exponential with the density."""
    on = b.on
    if x.kind != "f32":
        return 0.5 * (1.0 + on.erf(x * math.sqrt(0.5)))
    t = on.reciprocal(1.0 + table.NORMAL_SCALE * on.abs(x))
    total = table.NORMAL[-1]
    for coefficient in table.NORMAL[-2::-1]:
        total = on.fma(total, t, coefficient)
    tail = 0.5 * (total * t) * on.decay(-0.5 * (x * x))
    return on.where(x < 0, tail, 1.0 - tail)


def _sign(b: Builder, x: Symbol) -> Symbol:
    # 0 of NaN, too
    above = _where(b, x > 0, b.lift(1.0, x.kind), 0.0)
    return _where(b, x < 0, b.lift(-1.0, x.kind), above)


def _softplus(b: Builder, z: Symbol) -> Symbol:
    return b.on.maximum(z, 0.0) + b.on.log1p(b.on.decay(-b.on.abs(z)))


_REDUCES = {"sum": "row_sum", "max": "row_max", "min": "row_min", "peak": "row_peak"}
_MADE: dict[str, Callable[..., Symbol]] = {
    "length": _length, "column": _column, "where": _where, "clip": _clip, "conj": _conj,
    "normal_density": _normal_density, "normal_cdf": _normal_cdf, "sign": _sign,
    "softplus": _softplus}
