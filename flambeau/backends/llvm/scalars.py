"""The LLVM target's instruction table: one line for each name in `program.INSTRUCTIONS`."""

from collections.abc import Callable

from flambeau.backends.llvm import gamma_math as gm
from flambeau.backends.llvm import more_math as mm
from flambeau.backends.llvm import vector_math as vm
from flambeau.backends.llvm.emit import FLOATS, Emitter, Value

ORDERED = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}
SIGNED = {"eq": "eq", "ne": "ne", "lt": "slt", "le": "sle", "gt": "sgt", "ge": "sge"}


def _compare(name: str) -> Callable[..., Value]:
    def emit(e: Emitter, a: Value, b: Value) -> Value:
        names = ORDERED if a.kind in FLOATS else SIGNED
        return e.compare(names[name], a, b)

    return emit


def _extreme(name: str) -> Callable[..., Value]:
    """The larger ("gt") or smaller ("lt") of two; NaN where either is."""

    def emit(e: Emitter, a: Value, b: Value) -> Value:
        if a.kind not in FLOATS:
            return e.select(e.compare("s" + name, a, b), a, b)
        # a NaN in b falls through the comparison; one in a is put back
        chosen = e.select(e.compare("o" + name, a, b), a, b)
        return e.select(e.compare("uno", a, a), a, chosen)

    return emit


def _abs(e: Emitter, x: Value) -> Value:
    if x.kind in FLOATS:
        return e.unary("fabs", x)
    return e.select(e.compare("slt", x, 0), e.neg(x), x)


def _relu(e: Emitter, x: Value) -> Value:
    below = e.compare("olt" if x.kind in FLOATS else "slt", x, 0)
    return e.select(below, 0, x)


def _unary(name: str) -> Callable[..., Value]:
    return lambda e, x: e.unary(name, x)


TABLE: dict[str, Callable[..., Value]] = {
    "add": Emitter.add,
    "sub": Emitter.sub,
    "mul": Emitter.mul,
    "div": Emitter.div,
    "neg": Emitter.neg,
    "abs": _abs,
    "square": lambda e, x: e.mul(x, x),
    "relu": _relu,
    "maximum": _extreme("gt"),
    "minimum": _extreme("lt"),
    "fma": Emitter.fma,
    "sqrt": _unary("sqrt"),
    "rsqrt": lambda e, x: e.div(1.0, e.unary("sqrt", x)),
    "reciprocal": lambda e, x: e.div(1.0, x),
    "floor": _unary("floor"),
    "ceil": _unary("ceil"),
    "trunc": _unary("trunc"),
    "round": _unary("roundeven"),
    "exp": vm.exp,
    "decay": vm.decay,
    "one_plus_exp": vm.one_plus_exp,
    "expm1": vm.expm1,
    "log": vm.log,
    "log1p": vm.log1p,
    "tanh": vm.tanh,
    "sigmoid": vm.sigmoid,
    "erf": vm.erf,
    "sin": vm.sin,
    "cos": vm.cos,
    "pow": vm.pow,
    "exp2": mm.exp2,
    "log2": mm.log2,
    "log10": mm.log10,
    "tan": mm.tan,
    "asin": mm.asin,
    "acos": mm.acos,
    "atan": mm.atan,
    "sinh": mm.sinh,
    "cosh": mm.cosh,
    "asinh": mm.asinh,
    "acosh": mm.acosh,
    "atanh": mm.atanh,
    "erfc": mm.erfc,
    "atan2": mm.atan2,
    "copysign": Emitter.copysign,
    "digamma": gm.digamma,
    "lgamma": gm.lgamma,
    "erfinv": gm.erfinv,
    "eq": _compare("eq"),
    "ne": _compare("ne"),
    "lt": _compare("lt"),
    "le": _compare("le"),
    "gt": _compare("gt"),
    "ge": _compare("ge"),
    "logical_and": Emitter.bit_and,
    "logical_or": Emitter.bit_or,
    "logical_not": lambda e, x: e.bit_xor(x, True),
    "select": Emitter.select,
}
