"""The CUDA C target's instruction table: one line for each name in `program.INSTRUCTIONS`.

Floats use CUDA's full-precision functions (`expf`, `erff`, ...), whose errors of a few units in
the last place its programming guide lists. The short-cuts (`__expf`, `__sinf`, ...), whose errors
grow with the argument, are never used. Integers wrap around, for which they go through unsigned.
"""

import math
from collections.abc import Callable

from flambeau.backends.cuda_c.values import C_TYPE, convert, literal
from flambeau.backends.llvm.program import FLOATS

# (kind of the operands, the last one's for select; names of the operands) -> expression
Printer = Callable[..., str]


def _operator(sign: str) -> Printer:
    def text(kind: str, a: str, b: str) -> str:
        if kind in FLOATS:
            return f"{a} {sign} {b}"
        wide = "unsigned " + C_TYPE[kind]
        return f"({C_TYPE[kind]})(({wide}){a} {sign} ({wide}){b})"

    return text


_add, _sub, _mul = _operator("+"), _operator("-"), _operator("*")


def _compare(sign: str) -> Printer:
    return lambda kind, a, b: f"{a} {sign} {b}"


def _extreme(sign: str) -> Printer:
    """The larger (">") or smaller ("<") of two; NaN where either is."""

    def text(kind: str, a: str, b: str) -> str:
        missing = f"{a} != {a} || " if kind in FLOATS else ""
        return f"({missing}{a} {sign} {b}) ? {a} : {b}"

    return text


def _call(name: str) -> Printer:
    """A function of CUDA's math library, which has an f behind its name in float32."""

    def text(kind: str, *args: str) -> str:
        return f"{name}{'f' if kind == 'f32' else ''}({', '.join(args)})"

    return text


def _one(kind: str) -> str:
    return "1.0f" if kind == "f32" else "1.0"


def _neg(kind: str, x: str) -> str:
    return f"-{x}" if kind in FLOATS else _sub(kind, "0", x)


def _abs(kind: str, x: str) -> str:
    return _call("fabs")(kind, x) if kind in FLOATS else f"{x} < 0 ? {_neg(kind, x)} : {x}"


def _sigmoid(kind: str, x: str) -> str:
    """By an exponential that does not overflow, so that small results are precise, too."""
    small, one = _call("exp")(kind, f"-{_abs(kind, x)}"), _one(kind)
    return f"({x} < 0 ? {small} : {one}) / ({one} + {small})"


def _digamma(kind: str, x: str) -> str:
    """The one function that CUDA's library lacks: by float64, in `values.DIGAMMA_FUNCTION`."""
    return convert(f"digamma_f64({convert(x, kind, 'f64')})", "f64", kind)


TABLE: dict[str, Printer] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": lambda kind, a, b: f"{a} / {b}",
    "neg": _neg,
    "abs": _abs,
    "square": lambda kind, x: _mul(kind, x, x),
    "relu": lambda kind, x: f"{x} < 0 ? 0 : {x}",
    "maximum": _extreme(">"),
    "minimum": _extreme("<"),
    "fma": _call("fma"),
    "sqrt": _call("sqrt"),
    "rsqrt": lambda kind, x: f"{_one(kind)} / {_call('sqrt')(kind, x)}",
    "reciprocal": lambda kind, x: f"{_one(kind)} / {x}",
    "floor": _call("floor"),
    "ceil": _call("ceil"),
    "trunc": _call("trunc"),
    "round": _call("rint"),
    "exp": _call("exp"),
    "decay": _call("exp"),
    "one_plus_exp": lambda kind, x: f"{_one(kind)} + {_call('exp')(kind, x)}",
    "expm1": _call("expm1"),
    "log": _call("log"),
    "log1p": _call("log1p"),
    "tanh": _call("tanh"),
    "sigmoid": _sigmoid,
    "erf": _call("erf"),
    "sin": _call("sin"),
    "cos": _call("cos"),
    "pow": _call("pow"),
    "exp2": _call("exp2"),
    "log2": _call("log2"),
    "log10": _call("log10"),
    "tan": _call("tan"),
    "asin": _call("asin"),
    "acos": _call("acos"),
    "atan": _call("atan"),
    "sinh": _call("sinh"),
    "cosh": _call("cosh"),
    "asinh": _call("asinh"),
    "acosh": _call("acosh"),
    "atanh": _call("atanh"),
    "erfc": _call("erfc"),
    "atan2": _call("atan2"),
    "copysign": _call("copysign"),
    "digamma": _digamma,
    "lgamma": _call("lgamma"),
    "erfinv": _call("erfinv"),
    "eq": _compare("=="),
    "ne": _compare("!="),
    "lt": _compare("<"),
    "le": _compare("<="),
    "gt": _compare(">"),
    "ge": _compare(">="),
    "logical_and": lambda kind, a, b: f"{a} && {b}",
    "logical_or": lambda kind, a, b: f"{a} || {b}",
    "logical_not": lambda kind, x: f"!{x}",
    "select": lambda kind, condition, a, b: f"{condition} ? {a} : {b}",
}

def _log_sum(kind: str, a: str, b: str) -> str:
    """log(exp(a) + exp(b)); infinities that are equal stay what they are."""
    larger, size = f"({_extreme('>')(kind, a, b)})", _call("fabs")
    apart = size(kind, f"{a} - {b}")
    total = f"{larger} + {_call('log1p')(kind, _call('exp')(kind, '-' + apart))}"
    return f"{size(kind, larger)} == {literal(kind, math.inf)} ? {larger} : {total}"


# how reductions and scans bring an item and the total before it together; a "peak" passes over
# items that are NaN
COMBINE: dict[str, Printer] = {
    "sum": _add,
    "prod": _mul,
    "max": TABLE["maximum"],
    "min": TABLE["minimum"],
    "logsum": _log_sum,
    "peak": lambda kind, item, total: f"{item} > {total} ? {item} : {total}",
}
