"""Kernel programs: what to compute, as data that no target is named in.

A `Pointwise` program is a list of steps over numbered values. Its inputs take the first numbers,
every step the next one. A `Reduction` puts a pointwise program in front of an associative combine.
`Rows` lets steps reduce a value over its row and go on with the result, in any number of passes.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

ITEM_BYTES = {"f32": 4, "f64": 8, "i32": 4, "i64": 8, "bool": 1, "f16": 2, "bf16": 2}
ITEM_BYTES |= {"i8": 1, "u8": 1, "i16": 2}
# kinds that are stored but not computed in: a cast is all they take
STORAGE_ONLY = frozenset({"f16", "bf16", "i8", "u8", "i16"})
FLOATS = frozenset({"f32", "f64"})
LAYOUTS = frozenset({"array", "scalar", "row", "column"})
COMBINES = frozenset({"sum", "prod", "max", "min"})
# these need hold only for arguments up to TRIG_LIMIT in size, those only for f32
LIMITED = frozenset({"sin", "cos", "tan"})
SINGLE = frozenset({"pow", "digamma", "erfinv", "lgamma"})
TRIG_LIMIT = 2.0**20


class Signature(NamedTuple):
    """How many operands an instruction takes, on which kinds, and what comes out.

    domain: "number" (integers too), "float" or "bool"; result: "same", "bool" or "select".
    """

    arity: int
    domain: str = "float"
    result: str = "same"


INSTRUCTIONS = {
    "add": Signature(2, "number"),
    "sub": Signature(2, "number"),
    "mul": Signature(2, "number"),
    "div": Signature(2),
    "neg": Signature(1, "number"),
    "abs": Signature(1, "number"),
    "square": Signature(1, "number"),
    "relu": Signature(1, "number"),
    "maximum": Signature(2, "number"),
    "minimum": Signature(2, "number"),
    "fma": Signature(3),
    "sqrt": Signature(1),
    "rsqrt": Signature(1),
    "reciprocal": Signature(1),
    "floor": Signature(1),
    "ceil": Signature(1),
    "trunc": Signature(1),
    "round": Signature(1),
    "exp": Signature(1),
    # exp, for arguments that are not above 0; below the normal numbers it may be 0
    "decay": Signature(1),
    "one_plus_exp": Signature(1),
    "expm1": Signature(1),
    "log": Signature(1),
    "log1p": Signature(1),
    "tanh": Signature(1),
    "sigmoid": Signature(1),
    "erf": Signature(1),
    "sin": Signature(1),
    "cos": Signature(1),
    "pow": Signature(2),
    "exp2": Signature(1),
    "log2": Signature(1),
    "log10": Signature(1),
    "tan": Signature(1),
    "asin": Signature(1),
    "acos": Signature(1),
    "atan": Signature(1),
    "sinh": Signature(1),
    "cosh": Signature(1),
    "asinh": Signature(1),
    "acosh": Signature(1),
    "atanh": Signature(1),
    "erfc": Signature(1),
    "atan2": Signature(2),
    "copysign": Signature(2),
    "digamma": Signature(1),
    "lgamma": Signature(1),
    "erfinv": Signature(1),
    "eq": Signature(2, "number", "bool"),
    "ne": Signature(2, "number", "bool"),
    "lt": Signature(2, "number", "bool"),
    "le": Signature(2, "number", "bool"),
    "gt": Signature(2, "number", "bool"),
    "ge": Signature(2, "number", "bool"),
    "logical_and": Signature(2, "bool"),
    "logical_or": Signature(2, "bool"),
    "logical_not": Signature(1, "bool"),
    "select": Signature(3, "number", "select"),
}


def identity(combine: str, kind: str) -> float | int:
    """Return the value that a combine ignores."""
    floating = kind in FLOATS
    if combine == "prod":
        return 1
    if combine == "sum":
        # -0 + x is x for every x, -0 too
        return -0.0 if floating else 0
    if floating:
        return float("inf") if combine == "min" else float("-inf")
    top = (1 << (8 * ITEM_BYTES[kind] - 1)) - 1
    return top if combine == "min" else -top - 1


# steps of `Rows` that turn a value of every element into one of the row. "row_max" and "row_min"
# are NaN where an item is; "row_peak" is a maximum that may pass over NaN, to subtract before exp
ROW_REDUCTIONS = {
    "row_sum": "sum",
    "row_max": "max",
    "row_min": "min",
    "row_peak": "peak",
}
# steps of `Rows` that say where an element stands, and how long its row is, in the kind they name
POSITIONS = frozenset({"column_number", "row_number", "row_length"})


class Input(NamedTuple):
    """One operand: its kind, and how it is laid over the elements.

    "array" has one item an element, "scalar" one in all, "row" one a column, "column" one a row.
    """

    kind: str
    layout: str = "array"


class Step(NamedTuple):
    """One instruction on earlier values; "const", "cast" and positions say the kind they make."""

    name: str
    args: tuple[int, ...] = ()
    value: float | int | bool | None = None
    kind: str | None = None


def told_apart(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Steps that are equal where they do the same: 0.0 and -0.0 are equal, NaN is not to NaN."""
    if not any([type(s.value) is float and (s.value == 0 or s.value != s.value) for s in steps]):
        return steps
    return tuple([s._replace(value=repr(s.value)) if type(s.value) is float else s  # type: ignore
                  for s in steps])


@dataclass(frozen=True)
class Pointwise:
    """For every element, run the steps and store the values that `outputs` numbers.

    `kinds` holds the kind of every value; `by_rows` says whether an input is laid over rows or
    columns, so that a kernel walks a matrix. Raises ValueError where a step does not fit.

    >>> Pointwise((Input("f32"), Input("f32", "scalar")), (Step("mul", (0, 1)),), (2,)).kinds
    ('f32', 'f32', 'f32')
    """

    inputs: tuple[Input, ...]
    steps: tuple[Step, ...] = field(compare=False)
    outputs: tuple[int, ...]
    kinds: tuple[str, ...] = field(init=False, compare=False, repr=False)
    by_rows: bool = field(init=False, compare=False, repr=False)
    told: tuple[Step, ...] = field(init=False, repr=False)
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        found = [item.kind for item in self.inputs]
        for item in self.inputs:
            if item.kind not in ITEM_BYTES or item.layout not in LAYOUTS:
                raise ValueError(f"unknown input {item}")
        for step in self.steps:
            found.append(_result_kind(step, found))
        if not self.outputs or not all(0 <= number < len(found) for number in self.outputs):
            raise ValueError(f"outputs {self.outputs} name no value")
        by_rows = any(item.layout in ("row", "column") for item in self.inputs)
        object.__setattr__(self, "kinds", tuple(found))
        object.__setattr__(self, "by_rows", by_rows)
        object.__setattr__(self, "told", told_apart(self.steps))
        # programs are looked up at every call
        object.__setattr__(self, "_hash", hash((self.inputs, self.told, self.outputs)))

    def __hash__(self) -> int:
        return self._hash


class Output(NamedTuple):
    """What is stored of a value of `Rows`.

    "array": one item an element; "column": one a row, of a value that is the same all along it;
    "row": one a column, the sum over all rows.
    """

    value: int
    layout: str = "array"


@dataclass(frozen=True)
class Rows:
    """For every row of a matrix, run the steps, some of which reduce values over the row.

    Steps are those of `Pointwise`, and ROW_REDUCTIONS and POSITIONS. `kinds` holds the kind of
    every value, `by_element` whether it differs along a row. Raises ValueError where a step does
    not fit.

    >>> exp = (Step("row_peak", (0,)), Step("sub", (0, 1)), Step("exp", (2,)))
    >>> softmax = (*exp, Step("row_sum", (3,)), Step("div", (3, 4)))
    >>> Rows((Input("f32"),), softmax, (Output(5),)).by_element
    (True, False, True, True, False, True)
    """

    inputs: tuple[Input, ...]
    steps: tuple[Step, ...] = field(compare=False)
    outputs: tuple[Output, ...]
    kinds: tuple[str, ...] = field(init=False, compare=False, repr=False)
    by_element: tuple[bool, ...] = field(init=False, compare=False, repr=False)
    told: tuple[Step, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        kinds = [item.kind for item in self.inputs]
        wide = [item.layout in ("array", "row") for item in self.inputs]
        for item in self.inputs:
            if item.kind not in ITEM_BYTES or item.layout not in LAYOUTS:
                raise ValueError(f"unknown input {item}")
        for step in self.steps:
            kinds.append(_row_kind(step, kinds, wide))
            reduces = step.name in ROW_REDUCTIONS
            along = step.name == "column_number" or any(wide[number] for number in step.args)
            wide.append(along and not reduces)
        for output in self.outputs:
            _check_output(output, kinds, wide)
        if not self.outputs or not any(wide):
            raise ValueError("a program by rows has an output, and a value of every element")
        object.__setattr__(self, "kinds", tuple(kinds))
        object.__setattr__(self, "by_element", tuple(wide))
        object.__setattr__(self, "told", told_apart(self.steps))


def _row_kind(step: Step, kinds: list[str], wide: list[bool]) -> str:
    if step.name in POSITIONS:
        if step.args or step.kind not in ("f32", "f64", "i32", "i64"):
            raise ValueError(f"{step} makes no number")
        return step.kind
    if step.name not in ROW_REDUCTIONS:
        return _result_kind(step, kinds)
    if len(step.args) != 1 or not 0 <= step.args[0] < len(kinds):
        raise ValueError(f"{step} reduces one earlier value")
    (number,) = step.args
    if not wide[number] or not _in_domain(kinds[number], "number"):
        raise ValueError(f"{step} has nothing to reduce along a row")
    return kinds[number]


def _check_output(output: Output, kinds: list[str], wide: list[bool]) -> None:
    number, layout = output
    if not 0 <= number < len(kinds) or layout not in ("array", "column", "row"):
        raise ValueError(f"unknown output {output}")
    if wide[number] if layout == "column" else layout == "row" and not wide[number]:
        raise ValueError(f"{output} is laid over what its value does not differ along")
    if layout == "row" and kinds[number] not in FLOATS:
        raise ValueError("only floats are summed over rows")


@dataclass(frozen=True)
class Reduction:
    """Combine the one output of `prologue` (whose inputs are arrays) in the kind `accumulate`.

    `step`: how many items apart the inputs' items of a row lie.
    """

    prologue: Pointwise
    combine: str
    accumulate: str
    step: int = 1

    def __post_init__(self) -> None:
        if self.combine not in COMBINES:
            raise ValueError(f"unknown combine {self.combine!r}")
        if any(item.layout != "array" for item in self.prologue.inputs):
            raise ValueError("a reduction's inputs are whole arrays")
        if len(self.prologue.outputs) != 1 or self.accumulate not in ITEM_BYTES:
            raise ValueError("a reduction combines one value, in a known kind")

    def with_step(self, step: int) -> "Reduction":
        """The same of items that lie so far apart."""
        return replace(self, step=step)


def _result_kind(step: Step, found: list[str]) -> str:
    if step.name in ("const", "cast"):
        if step.kind not in ITEM_BYTES or step.name == "const" and step.kind in STORAGE_ONLY:
            raise ValueError(f"{step} makes no known kind")
        return step.kind
    signature = INSTRUCTIONS.get(step.name)
    if signature is None:
        raise ValueError(f"unknown instruction {step.name!r}")
    if not all(0 <= number < len(found) for number in step.args):
        raise ValueError(f"{step} uses a value that does not exist yet")
    kinds = [found[number] for number in step.args]
    if len(kinds) != signature.arity:
        raise ValueError(f"{step.name} takes {signature.arity} operands, not {len(kinds)}")
    if signature.result == "select":
        if kinds.pop(0) != "bool":
            raise ValueError("select starts with a bool")
    if len(set(kinds)) != 1 or not _in_domain(kinds[0], signature.domain):
        raise ValueError(f"{step.name} does not take {kinds}")
    return "bool" if signature.result == "bool" else kinds[0]


def _in_domain(kind: str, domain: str) -> bool:
    if domain == "float":
        return kind in FLOATS
    return kind not in STORAGE_ONLY and (kind == "bool") == (domain == "bool")
