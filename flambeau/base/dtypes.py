"""PyTorch's dtypes over NumPy's and ml_dtypes', their promotion, and the default dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.base import naming

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

__all__ = [
    "ALL",
    "FROM_NUMPY",
    "as_dtype",
    "dtype",
    "from_numpy",
    "get_default_dtype",
    "promote_types",
    "set_default_dtype",
]

BOOL, INT, FLOAT, COMPLEX = range(4)


class dtype:
    """An element type; one object per type, compared by identity.

    ``np`` is the NumPy dtype that holds it and ``compute`` the one its arithmetic runs in
    (float32 for the half types, which round once at the end, as PyTorch does). Where ``held``
    is None ml_dtypes has ``np``, and is imported when it is first asked for.

    >>> import flambeau as torch
    >>> torch.float32.itemsize, torch.int64.is_signed, torch.complex64.to_real().itemsize
    (4, True, 4)
    """

    __slots__ = (
        "name",
        "np",
        "compute",
        "itemsize",
        "category",
        "is_floating_point",
        "is_complex",
        "is_signed",
        "title",
        "rank",
    )

    np: np.dtype

    def __init__(self, name: str, held: DTypeLike | None, category: int, title: str,
                 rank: int, itemsize: int = 1) -> None:
        self.name = name
        if held is not None:
            self.np = np.dtype(held)
            itemsize = self.np.itemsize
        self.itemsize = itemsize
        self.category = category
        self.is_floating_point = category == FLOAT
        self.is_complex = category == COMPLEX
        self.is_signed = category != BOOL and not name.startswith("uint")
        self.title = title
        self.rank = rank
        narrow = category == FLOAT and self.itemsize < 4
        self.compute = np.dtype(np.float32) if narrow else self.np

    def __getattr__(self, name: str) -> Any:
        if name == "np":
            _import_ml_dtypes()
        return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        return f"{naming.prefix()}.{self.name}"

    def __reduce__(self) -> tuple:
        return _by_name, (self.name,)

    def __copy__(self) -> dtype:
        return self

    def __deepcopy__(self, memo: dict) -> dtype:
        return self

    def to_real(self) -> dtype:
        """The real dtype of the same precision."""
        return {complex64: float32, complex128: float64}.get(self, self)

    def to_complex(self) -> dtype:
        """The complex dtype of the same precision."""
        return {float64: complex128}.get(self, self if self.is_complex else complex64)


def _by_name(name: str) -> dtype:
    return BY_NAME[name]


bool_ = dtype("bool", np.bool_, BOOL, "Bool", 0)
uint8 = dtype("uint8", np.uint8, INT, "Byte", 1)
int8 = dtype("int8", np.int8, INT, "Char", 1)
int16 = dtype("int16", np.int16, INT, "Short", 2)
int32 = dtype("int32", np.int32, INT, "Int", 3)
int64 = dtype("int64", np.int64, INT, "Long", 4)
uint16 = dtype("uint16", np.uint16, INT, "UInt16", 2)
uint32 = dtype("uint32", np.uint32, INT, "UInt32", 3)
uint64 = dtype("uint64", np.uint64, INT, "UInt64", 4)
float8_e4m3fn = dtype("float8_e4m3fn", None, FLOAT, "Float8_e4m3fn", 0)
float8_e5m2 = dtype("float8_e5m2", None, FLOAT, "Float8_e5m2", 0)
float8_e4m3fnuz = dtype("float8_e4m3fnuz", None, FLOAT, "Float8_e4m3fnuz", 0)
float8_e5m2fnuz = dtype("float8_e5m2fnuz", None, FLOAT, "Float8_e5m2fnuz", 0)
float8_e8m0fnu = dtype("float8_e8m0fnu", None, FLOAT, "Float8_e8m0fnu", 0)
float16 = dtype("float16", np.float16, FLOAT, "Half", 1)
bfloat16 = dtype("bfloat16", None, FLOAT, "BFloat16", 1, itemsize=2)
float32 = dtype("float32", np.float32, FLOAT, "Float", 2)
float64 = dtype("float64", np.float64, FLOAT, "Double", 3)
complex64 = dtype("complex64", np.complex64, COMPLEX, "ComplexFloat", 2)
complex128 = dtype("complex128", np.complex128, COMPLEX, "ComplexDouble", 3)

ALL = (
    bool_,
    uint8,
    int8,
    int16,
    int32,
    int64,
    uint16,
    uint32,
    uint64,
    float8_e4m3fn,
    float8_e5m2,
    float8_e4m3fnuz,
    float8_e5m2fnuz,
    float8_e8m0fnu,
    float16,
    bfloat16,
    float32,
    float64,
    complex64,
    complex128,
)
BY_NAME = {d.name: d for d in ALL}
NARROW = (float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz, float8_e8m0fnu, bfloat16)
# Those of ml_dtypes are here once an array of theirs can be.
FROM_NUMPY = {d.np: d for d in ALL if d not in NARROW}
ALIASES = {
    "float": float32,
    "double": float64,
    "half": float16,
    "short": int16,
    "int": int32,
    "long": int64,
    "cfloat": complex64,
    "cdouble": complex128,
}
_WIDE_UNSIGNED = (uint16, uint32, uint64)


def _import_ml_dtypes() -> None:
    import ml_dtypes  # At start-up it would cost six milliseconds that few programs need.

    for d in NARROW:
        held = np.dtype(getattr(ml_dtypes, d.name))
        FROM_NUMPY[held] = d
        d.np = held


def from_numpy(held: np.dtype) -> dtype:
    """The dtype that holds a NumPy dtype; TypeError (PyTorch's text) where there is none."""
    found = FROM_NUMPY.get(held)
    if found is None and held.type.__module__ == "ml_dtypes":
        _import_ml_dtypes()
        found = FROM_NUMPY.get(held)
    if found is None:
        supported = (
            "float64, float32, float16, complex64, complex128, int64, int32, int16, "
            "int8, uint64, uint32, uint16, uint8, and bool"
        )
        raise TypeError(
            f"can't convert np.ndarray of type {held.type.__module__}."
            f"{held.type.__name__}. The only supported types are: {supported}."
        )
    return found


def _promote(a: dtype, b: dtype) -> dtype:
    if a is b:
        return a
    if "float8" in a.name or "float8" in b.name:
        raise RuntimeError(
            "Promotion for Float8 Types is not supported, attempted to promote "
            f"{a.title} and {b.title}"
        )
    if a.category != b.category and not (a.category + b.category <= INT and _wide(a, b)):
        low, high = (a, b) if a.category < b.category else (b, a)
        if high.category == COMPLEX and low is float64:
            return complex128
        return high
    if _wide(a, b):
        raise RuntimeError(
            "Promotion for uint16, uint32, uint64 types is not supported, "
            f"attempted to promote {a.title} and {b.title}"
        )
    if a.category == INT and a.rank == b.rank:
        return int16  # uint8 with int8
    if {a, b} == {float16, bfloat16}:
        return float32
    return a if a.rank > b.rank else b


def _wide(a: dtype, b: dtype) -> bool:
    return a in _WIDE_UNSIGNED or b in _WIDE_UNSIGNED


_PROMOTED: dict[tuple[dtype, dtype], dtype] = {}


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype that holds both kinds and precisions, by PyTorch's table.

    >>> import flambeau as torch
    >>> torch.promote_types(torch.int32, torch.float16).itemsize
    2
    """
    key = (type1, type2)
    found = _PROMOTED.get(key)
    if found is None:
        for at, given in enumerate(key, 1):
            if not isinstance(given, dtype):
                raise TypeError(f"promote_types(): argument 'type{at}' (position {at}) must be "
                                f"torch.dtype, not {type(given).__name__}")
        found = _PROMOTED[key] = _promote(type1, type2)
    return found


class _Default:
    real = float32


# Called when the default dtype is set.
ON_DEFAULT: list[Callable[[], None]] = []


def get_default_dtype() -> dtype:
    """The dtype of floating tensors made from Python numbers."""
    return _Default.real


def set_default_dtype(d: dtype) -> None:
    """Make ``d``, a floating dtype, the one that Python floats become."""
    if not isinstance(d, dtype):
        raise TypeError(
            "invalid dtype object: only floating-point types are supported as the default type"
        )
    if not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    _Default.real = d
    for tell in ON_DEFAULT:
        tell()


def default_for(category: int) -> dtype:
    """The dtype a Python number of this category takes."""
    if category == FLOAT:
        return _Default.real
    if category == COMPLEX:
        return _Default.real.to_complex()
    return int64 if category == INT else bool_


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether values of ``from_`` may be written into ``to``: kinds may only widen.

    >>> import flambeau as torch
    >>> torch.can_cast(torch.float64, torch.float32), torch.can_cast(torch.float32, torch.int64)
    (True, False)
    """
    if from_.category == COMPLEX or from_.category == FLOAT:
        return to.category >= from_.category
    return not (from_.category != BOOL and to.category == BOOL)


def category_of(value: object) -> int:
    """The category of a Python or NumPy number."""
    if isinstance(value, (bool, np.bool_)):
        return BOOL
    if isinstance(value, (int, np.integer)):
        return INT
    if isinstance(value, (float, np.floating)):
        return FLOAT
    return COMPLEX


_PYTHON_TYPES: dict[Any, dtype] = {bool: bool_, int: int64, float: float64, complex: complex128}


def as_dtype(value: Any, name: str) -> dtype | None:
    """The dtype meant by an argument of function ``name``: a dtype, a Python type or None."""
    if value is None or isinstance(value, dtype):
        return value
    found = _PYTHON_TYPES.get(value) if isinstance(value, type) else None
    if found is None:
        raise TypeError(
            f"{name}(): argument 'dtype' must be {naming.prefix()}.dtype, not "
            f"{type(value).__name__}"
        )
    return found
