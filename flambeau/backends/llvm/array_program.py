"""Kernel programs that go beyond single elements: scans, moves at indices, contractions.

They are data as those of `program` are, which name no target. Arrays are (batch, rows, columns).
"""

from dataclasses import dataclass

from flambeau.backends.llvm.program import FLOATS, ITEM_BYTES, STORAGE_ONLY, Pointwise

# what a scan's running total is of; an extreme also has the place that it is from
TOTALS = frozenset({"sum", "prod", "logsum"})
EXTREMES = frozenset({"max", "min"})
MOVES = frozenset({"put", "add", "count"})
CONTRACTED = {"f32": "f32", "f64": "f64", "f16": "f32", "bf16": "f32"}


@dataclass(frozen=True)
class Scan:
    """Running totals along rows or columns of items of `kind`, in the kind `accumulate`.

    "logsum" is the logarithm of a sum of exponentials. Running extremes ("max", "min") are followed
    by the place of each, the last of equal ones; after NaN there is only NaN. Raises ValueError
    where kinds do not fit.
    """

    kind: str
    combine: str
    accumulate: str

    def __post_init__(self) -> None:
        if self.combine not in TOTALS | EXTREMES:
            raise ValueError(f"unknown combine {self.combine!r}")
        if self.kind not in ITEM_BYTES or self.accumulate not in ITEM_BYTES:
            raise ValueError(f"unknown kinds {self.kind}, {self.accumulate}")
        if self.accumulate in STORAGE_ONLY or self.accumulate == "bool":
            raise ValueError(f"a kernel does not accumulate in {self.accumulate}")
        if self.combine == "logsum" and self.accumulate not in FLOATS:
            raise ValueError("logarithms are floats")

    @property
    def has_places(self) -> bool:
        return self.combine in EXTREMES


@dataclass(frozen=True)
class Gather:
    """The rows of every batch that an index of int64 names; with `each`, an item for every index.

    The index is (count) or (batch, count, columns), the result (batch, count, columns).
    """

    kind: str
    each: bool

    def __post_init__(self) -> None:
        if self.kind not in ITEM_BYTES:
            raise ValueError(f"unknown kind {self.kind!r}")


@dataclass(frozen=True)
class Scatter:
    """Rows or items brought to where an index names, in the order of the index along the rows.

    how: "put" (what is written twice keeps the last), "add", or "count", which adds 1 and has no
    items to read. Index and items lie as in `Gather`.
    """

    kind: str
    how: str
    each: bool

    def __post_init__(self) -> None:
        if self.kind not in ITEM_BYTES or self.how not in MOVES:
            raise ValueError(f"unknown kind or move: {self.kind}, {self.how}")
        if self.how != "put" and (self.kind in STORAGE_ONLY or self.kind == "bool"):
            raise ValueError(f"a kernel does not accumulate in {self.kind}")


@dataclass(frozen=True)
class Contraction:
    """Products of matrices, (batch, m, k) by (batch, k, n), of any strides, summed in order of k.

    Items are of `kind`; sums are of `accumulate`. `epilogue` takes a sum, its first input, to the
    one output that is stored; its other inputs lie over the result, taken as (batch * m, n). Raises
    ValueError where kinds do not fit.
    """

    kind: str
    epilogue: Pointwise | None = None

    def __post_init__(self) -> None:
        if self.kind not in CONTRACTED:
            raise ValueError(f"no products of {self.kind}")
        if self.epilogue is None:
            return
        inputs = self.epilogue.inputs
        if not inputs or inputs[0] != (self.accumulate, "array"):
            raise ValueError(f"an epilogue begins with sums of {self.accumulate}")
        if len(self.epilogue.outputs) != 1:
            raise ValueError("an epilogue has one output")

    @property
    def accumulate(self) -> str:
        return CONTRACTED[self.kind]
