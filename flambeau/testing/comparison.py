"""Asserting that tensors, numbers, and nestings of them are close, with errors that say where."""

from __future__ import annotations

import cmath
import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from flambeau.base import dtypes
from flambeau.base.device import (
    sparse_bsc,
    sparse_bsr,
    sparse_coo,
    sparse_csc,
    sparse_csr,
    strided,
)
from flambeau.base.dtypes import dtype, promote_types
from flambeau.core.tensor import Tensor
from flambeau.ops.compare import isclose
from flambeau.ops.create import as_tensor, tensor

__all__ = ["assert_allclose", "assert_close", "default_tolerances"]

TOLERANCES: dict[dtype, tuple[float, float]] = {
    dtypes.float16: (1e-3, 1e-5),
    dtypes.bfloat16: (1.6e-2, 1e-5),
    dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7),
    dtypes.complex64: (1.3e-6, 1e-5),
    dtypes.complex128: (1e-7, 1e-7),
}
_NUMBERS = {int: dtypes.int64, float: dtypes.float64, complex: dtypes.complex128}
_UNSIGNED = (dtypes.uint16, dtypes.uint32, dtypes.uint64)
# The format's name, and the methods of its pointers and of its plain indices.
_COMPRESSED = {
    sparse_csr: ("CSR", "crow_indices", "col_indices"),
    sparse_csc: ("CSC", "ccol_indices", "row_indices"),
    sparse_bsr: ("BSR", "crow_indices", "col_indices"),
    sparse_bsc: ("BSC", "ccol_indices", "row_indices"),
}


class _Options(NamedTuple):
    allow_subclasses: bool
    rtol: float | None
    atol: float | None
    equal_nan: bool
    check_device: bool
    check_dtype: bool
    check_layout: bool
    check_stride: bool


class _Mismatch(Exception):
    """What is wrong, the kind of error it shall be, and the keys that lead to the item."""

    def __init__(self, kind: type[Exception], text: str, path: tuple) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text
        self.path = path

    def error(self, msg: str | Callable[[str], str] | None) -> Exception:
        """The error with the user's message, or with that made of the generated one."""
        if isinstance(msg, str):
            return self.kind(msg)
        text = self.text
        if self.path:
            text += f"\n\nThe failure occurred for item {_keys(self.path)}"
        return self.kind(msg(text) if callable(msg) else text)


def _keys(path: tuple) -> str:
    return "".join([str([key]) for key in path])


def default_tolerances(
    *inputs: Tensor | dtype, dtype_precisions: Mapping[dtype, tuple[float, float]] | None = None
) -> tuple[float, float]:
    """The relative and absolute tolerance for tensors (or dtypes): the greatest of theirs.

    >>> import flambeau as torch
    >>> torch.testing.comparison.default_tolerances(torch.float32, torch.float16)
    (0.001, 1e-05)
    """
    known = dtype_precisions or TOLERANCES
    found = []
    for x in inputs:
        if not isinstance(x, (Tensor, dtype)):
            raise TypeError(f"Expected a torch.Tensor or a torch.dtype, but got {type(x)} instead.")
        found.append(known.get(x.dtype if isinstance(x, Tensor) else x, (0.0, 0.0)))
    return max(r for r, _ in found), max(a for _, a in found)


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raise AssertionError unless ``|actual - expected| <= atol + rtol * |expected|`` everywhere.

    Both are tensors, what becomes tensors, numbers, bools, None, or sequences and mappings of
    these. Shapes must agree, and dtypes, layouts and devices (and strides, if ``check_stride``),
    unless switched off. Tolerances depend on the dtypes; give both or neither. NaN equals NaN only
    with ``equal_nan``. ``msg`` replaces the error's text, or makes one of the generated text.

    >>> import flambeau as torch
    >>> torch.testing.assert_close([torch.tensor(1.0), 2], [torch.tensor(1.0), 2])
    >>> torch.testing.assert_close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]))
    Traceback (most recent call last):
    AssertionError: Tensor-likes are not close!
    """
    __tracebackhide__ = True
    options = _Options(
        allow_subclasses,
        rtol,
        atol,
        equal_nan,
        check_device,
        check_dtype,
        check_layout,
        check_stride,
    )
    try:
        comparisons = list(_comparisons(actual, expected, (), options))
    except _Mismatch as found:
        raise found.error(None) from None
    try:
        for compare in comparisons:
            compare()
    except _Mismatch as found:
        failure = found
    else:
        return
    raise failure.error(msg)


def _comparisons(
    actual: Any, expected: Any, path: tuple, options: _Options
) -> Iterator[Callable[[], None]]:
    """What there is to compare, item by item; raises where the nestings differ."""
    if (
        _are(actual, expected, Sequence)
        and not isinstance(actual, str)
        and not isinstance(expected, str)
    ):
        if len(actual) != len(expected):
            raise _Mismatch(
                AssertionError,
                f"The length of the sequences mismatch: {len(actual)} != {len(expected)}",
                path,
            )
        for at in range(len(actual)):
            yield from _comparisons(actual[at], expected[at], (*path, at), options)
    elif _are(actual, expected, Mapping):
        for key in _common_keys(actual, expected, path):
            yield from _comparisons(actual[key], expected[key], (*path, key), options)
    else:
        yield _pair(actual, expected, path, options)


def _are(actual: Any, expected: Any, kind: Any) -> bool:
    return isinstance(actual, kind) and isinstance(expected, kind)


def _common_keys(actual: Mapping, expected: Mapping, path: tuple) -> list:
    have, want = set(actual), set(expected)
    if have != want:
        raise _Mismatch(
            AssertionError,
            "The keys of the mappings do not match:\nMissing keys in the actual "
            f"mapping: {sorted(want - have)}\nAdditional keys in the actual mapping: "
            f"{sorted(have - want)}",
            path,
        )
    with contextlib.suppress(TypeError):
        return sorted(have)
    return list(have)


def _pair(actual: Any, expected: Any, path: tuple, options: _Options) -> Callable[[], None]:
    if actual is None or expected is None:
        return lambda: _compare_identity("None", actual, expected, path)
    if _are(actual, expected, (bool, np.bool_)):
        return lambda: _compare_identity("Booleans", bool(actual), bool(expected), path)
    if _are(actual, expected, (int, float, complex, np.number)):
        a, b = (x.item() if isinstance(x, np.number) else x for x in (actual, expected))
        return _Numbers(a, b, path, options).compare
    related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
    if related and (options.allow_subclasses or type(actual) is type(expected)):
        with contextlib.suppress(Exception):
            a, b = (x if isinstance(x, Tensor) else as_tensor(x) for x in (actual, expected))
            return _Tensors(a, b, path, options).compare
        if _are(actual, expected, Tensor):
            return _Tensors(actual, expected, path, options).compare
    raise _Mismatch(
        TypeError,
        "No comparison pair was able to handle inputs of type "
        f"{type(actual)} and {type(expected)}.",
        path,
    )


def _compare_identity(name: str, actual: Any, expected: Any, path: tuple) -> None:
    if actual is not expected:
        raise _Mismatch(AssertionError, f"{name} mismatch: {actual} is not {expected}", path)


def _tolerances(inputs: Sequence[Any], path: tuple, options: _Options) -> tuple[float, float]:
    rtol, atol = options.rtol, options.atol
    if rtol is None and atol is None:
        return default_tolerances(*inputs)
    if rtol is None or atol is None:
        raise _Mismatch(
            ValueError,
            "Both 'rtol' and 'atol' must be either specified or omitted, "
            f"but got no {'rtol' if rtol is None else 'atol'}.",
            path,
        )
    return rtol, atol


class _Numbers:
    """Two Python numbers."""

    def __init__(self, actual: Any, expected: Any, path: tuple, options: _Options) -> None:
        self.actual, self.expected, self.path, self.options = actual, expected, path, options
        try:
            kinds = [_NUMBERS[type(x)] for x in (actual, expected)]
        except KeyError:
            raise RuntimeError(
                f"Originating a NumberPair() at item {_keys(path)} with\n\n"
                f"{type(actual).__name__}(): {actual}\n\nand\n\n"
                f"{type(expected).__name__}(): {expected}\n\nresulted in an error: a bool is "
                "compared with a bool."
            ) from None
        self.rtol, self.atol = _tolerances(kinds, path, options)

    def compare(self) -> None:
        """Raise where they are not close."""
        a, b = self.actual, self.expected
        if self.options.check_dtype and type(a) is not type(b):
            text = f"The (d)types do not match: {type(a)} != {type(b)}."
            raise _Mismatch(AssertionError, text, self.path)
        if a == b or self.options.equal_nan and cmath.isnan(a) and cmath.isnan(b):
            return
        difference = abs(a - b)
        if cmath.isfinite(difference) and difference <= self.atol + self.rtol * abs(b):
            return
        text = _scalar_text(a, b, self.rtol, self.atol, "Scalars")
        raise _Mismatch(AssertionError, text, self.path)


class _Tensors:
    """Two tensors: first what they are, then their values."""

    def __init__(self, actual: Tensor, expected: Tensor, path: tuple, options: _Options) -> None:
        self.actual, self.expected, self.path, self.options = actual, expected, path, options
        self.rtol, self.atol = _tolerances((actual, expected), path, options)

    def _fail(self, text: str) -> NoReturn:
        raise _Mismatch(AssertionError, text, self.path)

    def compare(self) -> None:
        """Raise where attributes differ or values are not close."""
        self._compare_attributes()
        a, b = self._equalized()
        if a.is_sparse:
            self._compare_coo(a, b)
        elif a.layout in _COMPRESSED:
            self._compare_compressed(a, b)
        else:
            if _is_tiny(a.dtype) and (self.rtol != 0 or self.atol != 0):
                self._fail(
                    f"Rtol={self.rtol} and atol={self.atol} are not supported for bitwise "
                    "comparison of low dimensional floats. Please use rtol=0.0 and "
                    "atol=0.0."
                )
            self._compare_values(a, b)

    def _compare_attributes(self) -> None:
        a, b, o = self.actual, self.expected, self.options
        checks: list[tuple[str, Any, Any]] = [("shape", a.shape, b.shape)]
        if a.layout is not b.layout:
            checks += [("layout", a.layout, b.layout)] * o.check_layout
        elif a.layout is strided and o.check_stride:
            checks.append(("stride()", a.stride(), b.stride()))
        checks += [("device", a.device, b.device)] * o.check_device
        checks += [("dtype", a.dtype, b.dtype)] * o.check_dtype
        for name, have, want in checks:
            if have != want:
                self._fail(f"The values for attribute '{name}' do not match: {have} != {want}.")

    def _equalized(self) -> tuple[Any, Any]:
        """Both in one dtype and one layout."""
        a: Any = self.actual
        b: Any = self.expected
        if a.dtype is not b.dtype:
            both = [dtypes.int64 if t.dtype in _UNSIGNED else t.dtype for t in (a, b)]
            common = promote_types(*both)
            a, b = a.to(common), b.to(common)
        if a.layout is not b.layout:
            a, b = (t if t.layout is strided else t.to_dense() for t in (a, b))
        return a, b

    def _compare_coo(self, a: Any, b: Any) -> None:
        for what, have, want in (
            ("sparse dimensions", a.sparse_dim(), b.sparse_dim()),
            ("specified values", a._nnz(), b._nnz()),
        ):
            if have != want:
                self._fail(
                    f"The number of {what} in {sparse_coo_name()} tensors does not match: "
                    f"{have} != {want}"
                )
        self._compare_values(a._indices(), b._indices(), "Sparse COO indices", exact=True)
        self._compare_values(a._values(), b._values(), "Sparse COO values")

    def _compare_compressed(self, a: Any, b: Any) -> None:
        name, *methods = _COMPRESSED[a.layout]
        if a._nnz() != b._nnz():
            self._fail(
                f"The number of specified values in sparse {name} tensors does not match: "
                f"{a._nnz()} != {b._nnz()}"
            )
        common = promote_types(getattr(a, methods[0])().dtype, getattr(b, methods[0])().dtype)
        for method in methods:
            have, want = (getattr(t, method)().to(common) for t in (a, b))
            self._compare_values(have, want, f"Sparse {name} {method}", exact=True)
        self._compare_values(a.values(), b.values(), f"Sparse {name} values")

    def _compare_values(self, a: Any, b: Any, name: str | None = None, exact: bool = False) -> None:
        rtol, atol = (0, 0) if exact else (self.rtol, self.atol)
        equal_nan = self.options.equal_nan and not exact
        matches = isclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)
        if matches.all():
            return
        if a.ndim == 0:
            self._fail(_scalar_text(a.item(), b.item(), rtol, atol, name or "Scalars"))
        self._fail(_tensor_text(a, b, matches, rtol, atol, name or "Tensor-likes"))


def sparse_coo_name() -> str:
    """What errors call the layout of coordinates."""
    return f"sparse {sparse_coo.__repr__().split('_')[-1].upper()}"


def _is_tiny(d: dtype) -> bool:
    return d.is_floating_point and d.itemsize == 1


def _mismatch_text(
    name: str, extra: str, differences: Sequence[tuple], rtol: float, atol: float
) -> str:
    equality = rtol == 0 and atol == 0
    lines = [f"{name} are not {'equal' if equality else 'close'}!", "", extra]
    for kind, value, index, allowed in differences:
        line = (
            f"{kind.title()} difference: {value}"
            if index is None
            else f"Greatest {kind} difference: {value} at index {index}"
        )
        lines.append(line if equality else f"{line} (up to {allowed} allowed)")
    return "\n".join(lines)


def _scalar_text(actual: Any, expected: Any, rtol: float, atol: float, name: str) -> str:
    absolute = abs(actual - expected)
    relative = float("inf") if expected == 0 else absolute / abs(expected)
    return _mismatch_text(
        name,
        f"Expected {expected} but got {actual}.",
        [("absolute", absolute, None, atol), ("relative", relative, None, rtol)],
        rtol,
        atol,
    )


def _tensor_text(a: Tensor, b: Tensor, matches: Tensor, rtol: float, atol: float, name: str) -> str:
    count = matches.numel()
    wrong = count - int(matches.sum())
    extra = f"Mismatched elements: {wrong} / {count} ({wrong / count:.1%})"
    if _is_tiny(a.dtype):
        first = tuple((~matches).nonzero()[0].tolist())
        return (
            f"{name} are not 'equal'!\n\n{extra}\nThe first mismatched element is at index {first}."
        )
    if a.dtype.category < dtypes.FLOAT:
        a, b = a.to(dtypes.int64), b.to(dtypes.int64)
    absolute = (a - b).abs().masked_fill(matches, 0)
    relative = (absolute / b.abs()).masked_fill(matches, 0)
    found = []
    for kind, differences, allowed in (("absolute", absolute, atol), ("relative", relative, rtol)):
        greatest, at = differences.flatten().max(0)
        index = tuple(int(i) for i in np.unravel_index(int(at), a.shape))
        found.append((kind, greatest.item(), index, allowed))
    return _mismatch_text(name, extra, found, rtol, atol)


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """The deprecated form of ``assert_close``: any dtype, NaN equal to NaN, wider tolerances."""
    warnings.warn(
        "`torch.testing.assert_allclose()` is deprecated since 1.12 and will be removed "
        "in a future release. Please use `torch.testing.assert_close()` instead. You can "
        "find detailed upgrade instructions in "
        "https://github.com/pytorch/pytorch/issues/61844.",
        FutureWarning,
        stacklevel=2,
    )
    if not isinstance(actual, Tensor):
        actual = tensor(actual)
    if not isinstance(expected, Tensor):
        expected = tensor(expected, dtype=actual.dtype)
    if rtol is None and atol is None:
        rtol, atol = default_tolerances(
            actual,
            expected,
            dtype_precisions={
                dtypes.float16: (1e-3, 1e-3),
                dtypes.float32: (1e-4, 1e-5),
                dtypes.float64: (1e-5, 1e-8),
            },
        )
    assert_close(
        actual,
        expected,
        rtol=rtol,
        atol=atol,
        equal_nan=equal_nan,
        check_dtype=False,
        msg=msg or None,
    )
