"""Kernel programs: what to compute, as data that no target is named in.

A `Pointwise` program is a list of steps over numbered values. Its inputs take the first numbers,
every step the next one. A `Reduction` puts a pointwise program in front of an associative combine.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

ITEM_BYTES = {"f32": 4, "f64": 8, "i32": 4, "i64": 8, "bool": 1}
FLOATS = frozenset({"f32", "f64"})
LAYOUTS = frozenset({"array", "scalar", "row", "column"})
COMBINES = frozenset({"sum", "prod", "max", "min"})
# sin and cos need hold only for arguments up to here in size
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
    "expm1": Signature(1),
    "log": Signature(1),
    "log1p": Signature(1),
    "tanh": Signature(1),
    "sigmoid": Signature(1),
    "erf": Signature(1),
    "sin": Signature(1),
    "cos": Signature(1),
    "pow": Signature(2),
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


class Input(NamedTuple):
    """One operand: its kind, and how it is laid over the elements.

    "array" has one item an element, "scalar" one in all, "row" one a column, "column" one a row.
    """

    kind: str
    layout: str = "array"


class Step(NamedTuple):
    """One instruction on earlier values; "const" and "cast" also say the kind they make."""

    name: str
    args: tuple[int, ...] = ()
    value: float | int | bool | None = None
    kind: str | None = None


@dataclass(frozen=True)
class Pointwise:
    """For every element, run the steps and store the values that `outputs` numbers.

    `kinds` holds the kind of every value; `by_rows` says whether an input is laid over rows or
    columns, so that a kernel walks a matrix. Raises ValueError where a step does not fit.

    >>> Pointwise((Input("f32"), Input("f32", "scalar")), (Step("mul", (0, 1)),), (2,)).kinds
    ('f32', 'f32', 'f32')
    """

    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    kinds: tuple[str, ...] = field(init=False, compare=False, repr=False)
    by_rows: bool = field(init=False, compare=False, repr=False)
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
        # programs are looked up at every call
        object.__setattr__(self, "_hash", hash((self.inputs, self.steps, self.outputs)))

    def __hash__(self) -> int:
        return self._hash


@dataclass(frozen=True)
class Reduction:
    """Combine the one output of `prologue` (whose inputs are arrays) in the kind `accumulate`."""

    prologue: Pointwise
    combine: str
    accumulate: str

    def __post_init__(self) -> None:
        if self.combine not in COMBINES:
            raise ValueError(f"unknown combine {self.combine!r}")
        if any(item.layout != "array" for item in self.prologue.inputs):
            raise ValueError("a reduction's inputs are whole arrays")
        if len(self.prologue.outputs) != 1 or self.accumulate not in ITEM_BYTES:
            raise ValueError("a reduction combines one value, in a known kind")


def _result_kind(step: Step, found: list[str]) -> str:
    if step.name in ("const", "cast"):
        if step.kind not in ITEM_BYTES:
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
    return (kind == "bool") == (domain == "bool")
