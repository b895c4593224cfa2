"""The text of tensors, character for character PyTorch's, and the options that shape it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import compress, islice
from typing import Any

import numpy as np

from flambeau.base import dtypes

__all__ = ["format_tensor", "get_printoptions", "printoptions", "set_printoptions", "tensor_str"]

# A tensor of one of these classes prints as "tensor(...)", of another under its class's name.
_PLAIN = frozenset({"Tensor", "Parameter"})


class _Options:
    __slots__ = ("precision", "threshold", "edgeitems", "linewidth", "sci_mode")

    def __init__(self, precision: int = 4, threshold: float = 1000, edgeitems: int = 3) -> None:
        self.precision = precision
        self.threshold = threshold
        self.edgeitems = edgeitems
        self.linewidth = 80
        self.sci_mode: bool | None = None


_OPTIONS = _Options()
_PROFILES = {
    "default": _Options(),
    "short": _Options(precision=2, edgeitems=2),
    "full": _Options(threshold=math.inf),
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print; what is None stays as it is, except ``sci_mode``.

    ``precision`` is the digits after the point (4 at first), ``threshold`` the number of
    elements above which only edges print (1000), ``edgeitems`` the elements at each edge of a
    dimension (3), ``linewidth`` the characters of a line (80). ``profile`` is "default",
    "short" or "full", sets these four first, and is ignored when it is another word.
    ``sci_mode`` True or False forces or forbids powers of ten; None, which any call
    that does not give it restores, lets each tensor decide.

    >>> import flambeau as torch
    >>> torch.set_printoptions(precision=2)
    >>> torch.tensor([1.12345])
    tensor([1.12])
    >>> torch.set_printoptions(profile="default")
    """
    given = {
        "precision": precision,
        "threshold": threshold,
        "edgeitems": edgeitems,
        "linewidth": linewidth,
    }
    preset = None if profile is None else _PROFILES.get(profile)
    for name, value in given.items():
        if value is None and preset is not None:
            value = getattr(preset, name)
        if value is not None:
            setattr(_OPTIONS, name, value)
    _OPTIONS.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The options in force, as a new dict that ``set_printoptions(**options)`` accepts.

    >>> from flambeau.core.printing import get_printoptions
    >>> get_printoptions()["precision"]
    4
    """
    return {name: getattr(_OPTIONS, name) for name in _Options.__slots__}


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """Change the options, as :func:`set_printoptions` does, inside a ``with`` block.

    >>> import flambeau as torch
    >>> from flambeau.core.printing import printoptions
    >>> with printoptions(precision=1):
    ...     print(torch.tensor([1.12345]))
    tensor([1.1])
    """
    before = get_printoptions()
    set_printoptions(**options)
    try:
        yield
    finally:
        set_printoptions(**before)


def tensor_str(t: Any, tangent: str | None = None) -> str:
    """What ``repr`` of a tensor returns; the gradient, if any, is named but not computed.

    >>> import flambeau as torch
    >>> from flambeau.core.printing import tensor_str
    >>> tensor_str(torch.tensor([1.0, 2.5], requires_grad=True))
    'tensor([1.0000, 2.5000], requires_grad=True)'
    """
    name = type(t).__name__
    opening = "tensor(" if name in _PLAIN else f"{name}("
    device = str(t.device)
    if device == "meta":
        body = "..."
    elif 0 in t.shape:
        body = "[]"
    else:
        body = _body(t, len(opening))
    suffixes = _suffixes(t, device)
    if tangent is not None:
        suffixes.append(f"tangent={tangent}")
    return _with_suffixes(opening + body, suffixes, len(opening))


def sparse_str(t: Any) -> str:
    """What ``repr`` of a sparse tensor returns: where its elements are, and which."""
    name = type(t).__name__
    opening = "tensor(" if name in _PLAIN else f"{name}("
    handle, indent = t._a, len(opening)
    coordinates = hasattr(handle, "indices")
    if coordinates:
        parts = [("indices", t._indices())]
    elif str(t.layout).endswith(("csr", "bsr")):
        parts = [("crow_indices", t.crow_indices()), ("col_indices", t.col_indices())]
    else:
        parts = [("ccol_indices", t.ccol_indices()), ("row_indices", t.row_indices())]
    texts = []
    for label, part in [*parts, ("values", handle.value)]:
        shape = tuple(part.shape)
        body = "[]" if 0 in shape else _body(part, indent + len(f"{label}=tensor("))
        size = f", size={shape}" if 0 in shape else ""
        texts.append(f"{label}=tensor({body}{size})")
    suffixes = _suffixes(t, "cpu")
    suffixes = [s for s in suffixes if not s.startswith(("size=", "dtype="))]
    known = [f"size={tuple(t.shape)}", f"nnz={handle.count}"]
    if not _understood(t.dtype, False):
        known.append(f"dtype={t.dtype!r}")
    known.append(f"layout={t.layout!r}")
    whole = opening + (",\n" + " " * indent).join(texts)
    return _with_suffixes(whole, [*known, *suffixes], indent, coordinates)


def format_tensor(t: Any, spec: str) -> str:
    """What ``format`` of a tensor returns: of a 0-dim tensor, its number's format.

    Other tensors, and those of a class derived from Tensor, take an empty ``spec`` only and
    raise TypeError for another.

    >>> import flambeau as torch
    >>> f"{torch.tensor(3.14159):.2f}"
    '3.14'
    """
    if t.shape == () and type(t).__name__ == "Tensor" and str(t.device) != "meta":
        return format(_numbers(t._a, t.dtype)[0], spec)
    return object.__format__(t, spec)


def _suffixes(t: Any, device: str) -> list[str]:
    """What follows the elements, such as ``dtype=torch.float64``, in order."""
    dtype, shape = t.dtype, t.shape
    suffixes = []
    if device != "cpu":
        suffixes.append(f"device='{device}'")
    bare = device == "meta" or 0 in shape
    if _needs_size(shape, device):
        suffixes.append(f"size={tuple(shape)}")
    if not _understood(dtype, bare):
        suffixes.append(f"dtype={dtype!r}")
    grad_fn = _grad_fn_name(t)
    if grad_fn is not None:
        suffixes.append(f"grad_fn=<{grad_fn}>")
    elif t.requires_grad:
        suffixes.append("requires_grad=True")
    return suffixes


def _needs_size(shape: tuple[int, ...], device: str) -> bool:
    """Whether the elements shown may not tell the shape."""
    if device == "meta":
        return True
    if 0 in shape:
        return len(shape) != 1
    return _OPTIONS.edgeitems == 0


def _understood(dtype: Any, bare: bool) -> bool:
    """Whether the reader of the elements knows the dtype; ``bare`` when none is shown."""
    default = dtypes.get_default_dtype()
    if dtype is default:
        return True
    if bare:
        return False
    if dtype.is_complex:
        return dtype is default.to_complex()
    return dtype.name in ("int64", "bool")


def _grad_fn_name(t: Any) -> str | None:
    try:
        node = t.grad_fn
    except RuntimeError:
        # Asking for it is an error where a view's base changed in a forbidden way.
        return "Invalid"
    return None if node is None else node.name()


def _with_suffixes(text: str, suffixes: list[str], indent: int, break_first: bool = False) -> str:
    """Add the suffixes, each on a new line where it does not fit, and the closing bracket.

    The first is on a new line anyway where ``break_first``.
    """
    used = len(text) - text.rfind("\n") + 1
    parts = [text]
    for at, suffix in enumerate(suffixes):
        if break_first and not at or used + len(suffix) + 2 > _OPTIONS.linewidth:
            parts.append(",\n" + " " * indent + suffix)
            used = indent + len(suffix)
        else:
            parts.append(", " + suffix)
            used += len(suffix) + 2
    parts.append(")")
    return "".join(parts)


def _body(t: Any, indent: int) -> str:
    """The elements in brackets, or an ellipsis for those left out."""
    values, dtype = t._a, t.dtype
    if values.ndim == 0:
        return _cells(_numbers(values, dtype), dtype)[0][0]
    edge = _OPTIONS.edgeitems
    long = values.size > _OPTIONS.threshold
    if long and edge == 0:
        return "[...]"
    cut = tuple(long and n > 2 * edge for n in values.shape)
    if long:
        values = _edges(values, cut, edge)
    cells, width = _cells(_numbers(values, dtype), dtype)
    room = _OPTIONS.linewidth - indent - values.ndim + 1
    layout = _Layout(iter(cells), values.shape, cut, max(1, math.floor(room / (width + 2))))
    return layout.text(0, indent)


def _edges(values: np.ndarray, cut: tuple[bool, ...], edge: int) -> np.ndarray:
    """The first and last ``edge`` elements along each dimension in ``cut``, all of others."""
    kept = []
    for size, short in zip(values.shape, cut, strict=True):
        every = range(size)
        kept.append([*every[:edge], *every[-edge:]] if short else list(every))
    return values[np.ix_(*kept)]


class _Layout:
    """The cells of a tensor, read in order as its rows are written."""

    __slots__ = ("cells", "shape", "cut", "per_line")

    def __init__(self, cells: Iterator[str], shape: tuple[int, ...], cut: tuple[bool, ...],
                 per_line: int) -> None:
        self.cells = cells
        self.shape = shape
        self.cut = cut
        self.per_line = per_line

    def text(self, dim: int, indent: int) -> str:
        """The brackets of ``dim`` and those inside, ``indent`` characters from the left."""
        size = self.shape[dim]
        newline = "\n" + " " * (indent + 1)
        inner = len(self.shape) - dim - 1
        if inner:
            parts = [self.text(dim + 1, indent + 1) for _ in range(size)]
            if self.cut[dim]:
                parts.insert(size // 2, "...")
            # One blank line more between blocks for every dimension above a matrix.
            return "[" + ("," + "\n" * (inner - 1) + newline).join(parts) + "]"
        parts = list(islice(self.cells, size))
        if self.cut[dim]:
            parts.insert(size // 2, " ...")
        step = self.per_line
        lines = [", ".join(parts[i : i + step]) for i in range(0, len(parts), step)]
        return "[" + ("," + newline).join(lines) + "]"


def _numbers(values: np.ndarray, dtype: Any) -> list:
    """The elements in order as Python numbers."""
    if dtype.is_floating_point:
        # The types of ml_dtypes make Python floats only by way of a NumPy one.
        values = values.astype(np.float64)
    return values.ravel().tolist()


def _cells(numbers: list, dtype: Any) -> tuple[list[str], int]:
    """The texts of the elements, aligned right, and the width a column is given."""
    if dtype.is_floating_point:
        # Of this one type PyTorch takes a nan for a finite number.
        return _float_cells(numbers, nan_decides=dtype.name == "float8_e8m0fnu")
    if dtype.is_complex:
        return _complex_cells(numbers)
    texts = [str(n) for n in numbers]
    width = max(map(len, texts))
    return [s.rjust(width) for s in texts], width


def _complex_cells(numbers: list[complex]) -> tuple[list[str], int]:
    """Real and imaginary parts choose their styles apart; only the real part is aligned."""
    real, real_width = _float_cells([z.real for z in numbers])
    imag, imag_width = _float_cells([z.imag for z in numbers])
    cells = []
    for left, padded in zip(real, imag, strict=True):
        right = padded.lstrip()
        sign = "" if right[0] == "-" else "+"
        cells.append(f"{left}{sign}{right}j")
    return cells, real_width + imag_width + 1


def _float_cells(numbers: list[float], nan_decides: bool = False) -> tuple[list[str], int]:
    """All in one style: whole ("1."), with decimals ("1.5000") or in powers of ten.

    The numbers that are neither zero nor infinite nor nan decide on style and width; the
    others may stick out.
    """
    decides = [x != 0 and (math.isfinite(x) or nan_decides) for x in numbers]
    deciding = list(compress(numbers, decides))
    whole = all(x.is_integer() for x in deciding)
    if _scientific(deciding, whole):
        texts = list(map(f"{{:.{_OPTIONS.precision}e}}".format, numbers))
    elif whole:
        texts = [f"{x:.0f}." if math.isfinite(x) else str(x) for x in numbers]
    else:
        texts = list(map(f"{{:.{_OPTIONS.precision}f}}".format, numbers))
    width = max(map(len, compress(texts, decides)), default=1)
    return [s.rjust(width) for s in texts], width


def _scientific(deciding: list[float], whole: bool) -> bool:
    """Whether powers of ten serve these numbers better, unless the options say."""
    if not deciding:
        return False
    if _OPTIONS.sci_mode is not None:
        return _OPTIONS.sci_mode
    if any(map(math.isnan, deciding)):
        return False
    sizes = [abs(x) for x in deciding]
    low, high = min(sizes), max(sizes)
    return high / low > 1000 or high > 1e8 or (low < 1e-4 and not whole)
