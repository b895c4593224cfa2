"""Matrix products: mm, bmm, mv, dot, matmul in every rank, and the linear layer."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from flambeau.backends import half_products, large, products
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.errors import told
from flambeau.base.shapes import broadcast
from flambeau.core.dispatch import apply, record, saved_hooks
from flambeau.core.face import public, show
from flambeau.core.inplace import overwrite
from flambeau.core.kinds import bilinear, composite
from flambeau.core.modes import INFERENCE, MODES
from flambeau.core.node import LEAF, next_sequence
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor, mark_inference, new_tensor
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.shape import permute, reshape, squeeze, transpose, unsqueeze

ndarray = np.ndarray
dot_of = products.dot
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
C_NAMES = {"bool": "bool", "uint8": "unsigned char", "int8": "signed char", "int16": "short",
           "int32": "int", "int64": "long int", "float16": "c10::Half", "float32": "float",
           "bfloat16": "c10::BFloat16", "float64": "double", "complex64": "c10::complex<float>",
           "complex128": "c10::complex<double>"}


def _front(t: Tensor, dim: int | None) -> Tensor:
    """``t`` with the dimension ``dim`` moved to the front, where there is one."""
    if not dim:
        return t
    return permute(t, [dim, *[i for i in range(t._a.ndim) if i != dim]])


def _batched(compose: Callable) -> Callable:
    """A batching rule that runs ``compose`` on inputs with the batch in front."""

    def batch(op: Op, inputs: Any, dims: Any) -> tuple:
        return compose(*[_front(t, d) for t, d in zip(inputs, dims)], *dims), 0

    return batch


# Three products, closed under differentiation, that need no transposed views.
MM = bilinear("mm", lambda a, b: dot_of(a, b), lambda g, other: mm_nt(g, conj_of(other)),
              lambda g, input: mm_tn(conj_of(input), g),
              batch=_batched(lambda a, b, da, db: matmul(a, b)))
MM_NT = bilinear("mm_nt", lambda a, b: dot_of(a, b.T), lambda g, other: mm_nn(g, conj_of(other)),
                 lambda g, input: mm_tn(g, conj_of(input)), node="Mm",
                 batch=_batched(lambda a, b, da, db: matmul(a, transpose(b, -2, -1))))
MM_TN = bilinear("mm_tn", lambda a, b: dot_of(a.T, b), lambda g, other: mm_nt(conj_of(other), g),
                 lambda g, input: mm_nn(conj_of(input), g), node="Mm",
                 batch=_batched(lambda a, b, da, db: matmul(transpose(a, -2, -1), b)))
MM.halves = half_products.matmul
MM_NT.halves = lambda a, b: half_products.matmul(a, b.T)
MM_TN.halves = lambda a, b: half_products.matmul(a.T, b)


def _product(op: Op, input: Tensor, other: Tensor, r: ndarray) -> Tensor:
    """The tensor over ``r``, the product ``op`` of two matrices, recorded where due."""
    t = new_tensor(Tensor)
    t._a = r
    t._v = None
    t._x = None
    na, nb = input._node, other._node
    if (na is None and nb is None) or not MODES.grad:
        t._node = None
        if INFERENCE:
            mark_inference(t)
        return t
    if saved_hooks or MODES.anomaly:
        record(op, (input, other), {}, t)
        return t
    node = op.node_type()
    node.next = (input if na is LEAF else na, other if nb is LEAF else nb)
    left = None if na is None else other
    right = None if nb is None else input
    node.saved = (left, right)
    va, vb = input._v, other._v
    if va is not None or vb is not None:
        node.versions = (vb[0] if vb and left is not None else 0,
                         va[0] if va and right is not None else 0)
    node.seq = next_sequence()
    node.shape = r.shape
    node.dtype = r.dtype
    t._node = node
    return t


def mm_nn(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of matrices: tensors, or arrays where nothing is recorded."""
    if type(a) is ndarray:
        return dot_of(a, b)
    return _mm(a, b, a._a, b._a)


def mm_nt(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b.T`` of matrices: tensors, or arrays where nothing is recorded."""
    if type(a) is ndarray:
        return dot_of(a, b.T)
    x, y = a._a, b._a
    d = x.dtype
    if d is y.dtype and (d is F32 or d is F64):
        return _product(MM_NT, a, b, dot_of(x, y.T))
    return apply(MM_NT, (a, b))


def mm_tn(a: Tensor, b: Tensor) -> Tensor:
    """``a.T @ b`` of matrices: tensors, or arrays where nothing is recorded."""
    if type(a) is ndarray:
        return dot_of(a.T, b)
    x, y = a._a, b._a
    d = x.dtype
    if d is y.dtype and (d is F32 or d is F64):
        return _product(MM_TN, a, b, dot_of(x.T, y))
    return apply(MM_TN, (a, b))


def check_matrices(x: Any, y: Any, rows: int | None = None) -> None:
    """Raise where two matrices cannot be multiplied: shapes, dtypes, bool."""
    if x.shape[-1] != y.shape[0]:
        n = x.shape[0] if rows is None else rows
        raise RuntimeError(told(
            f"mat1 and mat2 shapes cannot be multiplied ({n}x{x.shape[-1]} and "
            f"{y.shape[0]}x{y.shape[1]})", "matmul", (x, y), **_sides(x, y)))
    if x.dtype != y.dtype:
        one, two = (C_NAMES.get(FROM_NUMPY[a.dtype].name, "") for a in (x, y))
        raise RuntimeError(told(f"expected m1 and m2 to have the same dtype, but got: {one} != "
                                f"{two}", "dtype", (x, y), dtype=y.dtype.name))
    _refuse_bool(x)


def _sides(x: Any, y: Any) -> dict[str, Any]:
    """The sizes that should agree, and whether transposing the right side would make them."""
    before = y.shape[-2] if y.ndim > 1 else y.shape[0]
    swapped = y.ndim > 1 and y.shape[-1] == x.shape[-1]
    return {"inner": x.shape[-1], "other": before, "key_fix": "matmul_transpose" * swapped}


def _refuse_bool(x: Any) -> None:
    if x.dtype.kind == "b":
        raise NotImplementedError("\"addmm_impl_cpu_\" not implemented for 'Bool'")


@public(out=True)
def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices, (n, m) and (m, p), of one dtype.

    >>> import flambeau as torch
    >>> torch.mm(torch.ones(2, 3), torch.ones(3, 1))
    tensor([[3.],
            [3.]])
    """
    x, y = _arrays("mm", ("input", "mat2"), input, mat2)
    if x.ndim != 2:
        raise RuntimeError("self must be a matrix")
    if y.ndim != 2:
        raise RuntimeError("mat2 must be a matrix")
    return _mm(input, mat2, x, y)


show(mm, "spmm", "torch")


def _mm(input: Tensor, other: Tensor, x: Any, y: Any) -> Tensor:
    d = x.dtype
    if d is y.dtype and (d is F32 or d is F64):
        try:
            r = dot_of(x, y)
        except ValueError:
            check_matrices(x, y)
            raise
        return _product(MM, input, other, r)
    check_matrices(x, y)
    return apply(MM, (input, other))


def _arrays(name: str, names: tuple[str, ...], *tensors: Any) -> list:
    """The arrays of tensors; TypeError for an argument that is none."""
    for at, (argument, t) in enumerate(zip(names, tensors)):
        if not isinstance(t, Tensor):
            raise TypeError(f"{name}(): argument '{argument}' (position {at + 1}) must be Tensor, "
                            f"not {type(t).__name__}")
    return [t._a for t in tensors]


def _blas_ready(a: ndarray) -> ndarray:
    """``a``, copied where neither of its last two dimensions is dense in memory."""
    if a.itemsize in a.strides[-2:] or a.dtype.kind not in "fc":
        return a
    return np.ascontiguousarray(a)


def _matmul_forward(a: ndarray, b: ndarray) -> ndarray:
    if b.ndim == 2 and a.ndim > 2 and a.dtype.kind in "fc":
        return dot_of(rows_of(a), b).reshape(*a.shape[:-1], b.shape[1])
    return products.matmul(_blas_ready(a), _blas_ready(b))


def rows_of(a: Any) -> Any:
    """An array or tensor with all but its last dimension made one."""
    shape = a.shape
    return a if len(shape) == 2 else a.reshape((prod(shape[:-1]), shape[-1]))


def _matmul_left(g: Tensor, input_shape: tuple, other: Tensor) -> Tensor:
    if other._a.ndim == 2 and len(input_shape) > 2:
        return reshape(mm_nt(rows_of(g), conj_of(other)), input_shape)
    return matmul(g, conj_of(transpose(other, -2, -1)))


def _matmul_right(g: Tensor, other_shape: tuple, input: Tensor) -> Tensor:
    if len(other_shape) == 2 and input._a.ndim > 2:
        return mm_tn(rows_of(conj_of(input)), rows_of(g))
    return matmul(conj_of(transpose(input, -2, -1)), g)


def _matmul_batch(op: Op, inputs: Any, dims: Any) -> tuple:
    rank = max(t._a.ndim - (d is not None) for t, d in zip(inputs, dims))
    fitted = []
    for t, d in zip(inputs, dims):
        t = _front(t, d)
        if d is not None:
            sizes = t._a.shape
            t = reshape(t, (sizes[0], *[1] * (rank - len(sizes) + 1), *sizes[1:]))
        fitted.append(t)
    return matmul(*fitted), 0


BMM = bilinear("bmm", _matmul_forward, _matmul_left, _matmul_right, batch=_matmul_batch)
MATMUL = bilinear("matmul", _matmul_forward, _matmul_left, _matmul_right, batch=_matmul_batch,
                  node="UnsafeView")
BMM.in_rows = MATMUL.in_rows = True
BMM.halves = MATMUL.halves = half_products.matmul


@public(out=True)
def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """The products of matrices in pairs: (b, n, m) and (b, m, p) give (b, n, p)."""
    x, y = _arrays("bmm", ("input", "mat2"), input, mat2)
    if x.ndim != 3:
        raise RuntimeError("batch1 must be a 3D tensor")
    if y.ndim != 3:
        raise RuntimeError("batch2 must be a 3D tensor")
    check_batches(x, y)
    return apply(BMM, (input, mat2))


def check_batches(x: Any, y: Any) -> None:
    """Raise where two batches of matrices cannot be multiplied in pairs."""
    if x.shape[0] != y.shape[0] or x.shape[-1] != y.shape[-2]:
        raise RuntimeError(told(
            f"Expected size for first two dimensions of batch2 tensor to be: [{x.shape[0]}, "
            f"{x.shape[-1]}] but got: [{y.shape[0]}, {y.shape[-2]}].", "matmul", (x, y),
            **_sides(x, y)))
    _check_types(x, y)
    _refuse_bool(x)


def _check_types(x: Any, y: Any) -> None:
    if x.dtype != y.dtype:
        raise RuntimeError(told(f"expected scalar type {FROM_NUMPY[x.dtype].title} but found "
                                f"{FROM_NUMPY[y.dtype].title}", "dtype", (x, y),
                                dtype=y.dtype.name))


MV = bilinear("mv", lambda a, b: a.dot(b), lambda g, vec: outer(g, conj_of(vec)),
              lambda g, input: mv(conj_of(transpose(input, 0, 1)), g), inputs=("input", "vec"),
              batch=_batched(lambda a, v, da, dv: matmul(a, v) if dv is None else squeeze(
                  matmul(a, unsqueeze(v, -1)), -1)))


@public(out=True)
def mv(input: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix (n, m) and a vector (m,)."""
    x, y = _arrays("mv", ("input", "vec"), input, vec)
    if x.ndim != 2 or y.ndim != 1:
        raise RuntimeError(f"vector + matrix @ vector expected, got 1, {x.ndim}, {y.ndim}")
    check_vector(x, y, x.shape[0])
    return apply(MV, (input, vec))


def check_vector(x: Any, y: Any, rows: int) -> None:
    """Raise where matrix ``x`` cannot be multiplied with vector ``y``."""
    if x.shape[1] != y.shape[0]:
        raise RuntimeError(f"size mismatch, got input ({rows}), mat ({x.shape[0]}x{x.shape[1]}), "
                           f"vec ({y.shape[0]})")
    if x.dtype != y.dtype:
        one, two = (FROM_NUMPY[a.dtype].title for a in (x, y))
        raise RuntimeError(f"addmv input tensors must have the same dtype, but got {two}, {one}, "
                           f"and {two}")
    if x.dtype.kind == "b":
        raise NotImplementedError("\"addmv_impl_cpu\" not implemented for 'Bool'")


def _dot_batch(op: Op, inputs: Any, dims: Any) -> tuple:
    a, b = [_front(t, d) for t, d in zip(inputs, dims)]
    return (a.conj() * b if op is VDOT else a * b).sum(-1), 0


DOT = bilinear("dot", lambda a, b: a.dot(b), lambda g, other: g * conj_of(other),
               lambda g, input: g * conj_of(input), batch=_dot_batch)
VDOT = bilinear("vdot", np.vdot, lambda g, other: conj_of(g) * other,
                lambda g, input: g * input, batch=_dot_batch)


def _check_vectors(x: Any, y: Any, name: str) -> None:
    if x.ndim != 1 or y.ndim != 1:
        raise RuntimeError(f"1D tensors expected, but got {x.ndim}D and {y.ndim}D tensors")
    if x.dtype != y.dtype:
        raise RuntimeError(f"{name} : expected both vectors to have same dtype, but found "
                           f"{FROM_NUMPY[x.dtype].title} and {FROM_NUMPY[y.dtype].title}")
    if x.shape != y.shape:
        n, m = x.size, y.size
        raise RuntimeError(f"inconsistent tensor size, expected tensor [{n}] and src [{m}] to "
                           f"have the same number of elements, but got {n} and {m} elements "
                           "respectively")
    if x.dtype.kind == "b":
        raise NotImplementedError("\"dot\" not implemented for 'Bool'")


@public(out=True)
def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """The sum of the products of two vectors of one length and dtype.

    >>> import flambeau as torch
    >>> torch.tensor([1, 2]).dot(torch.tensor([3, 4]))
    tensor(11)
    """
    x, y = _arrays("dot", ("input", "tensor"), input, tensor)
    _check_vectors(x, y, "dot")
    return apply(DOT, (input, tensor))


@public(out=True)
def vdot(input: Tensor, other: Tensor) -> Tensor:
    """The dot product of two vectors, the first conjugated."""
    x, y = _arrays("vdot", ("input", "other"), input, other)
    _check_vectors(x, y, "dot" if x.dtype.kind != "c" else "vdot")
    return apply(VDOT, (input, other))


@public(out=True, aliases=("ger",))
def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """The products of every element of one vector with every element of another.

    >>> import flambeau as torch
    >>> torch.outer(torch.tensor([1, 2]), torch.tensor([3, 4]))
    tensor([[3, 4],
            [6, 8]])
    """
    x, y = _arrays("outer", ("input", "vec2"), input, vec2)
    for a, name in ((x, "self"), (y, "vec2")):
        if a.ndim != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {a.ndim}-D")
    return reshape(input, x.shape[0], 1) * vec2


@public("torch", "Tensor", "linalg", out=True)
def matmul(input: Tensor, other: Tensor) -> Tensor:
    """The matrix product, by rank: dot, matrix-vector, matrix-matrix, or broadcast batches.

    A vector counts as a row on the left and as a column on the right, and the dimension added
    for that is dropped again.

    >>> import flambeau as torch
    >>> torch.matmul(torch.ones(4, 2, 3), torch.ones(3, 5)).shape
    torch.Size([4, 2, 5])
    """
    try:
        x, y = input._a, other._a
    except AttributeError:
        x, y = _arrays("matmul", ("input", "other"), input, other)
    n, m = x.ndim, y.ndim
    if n == 2 and m == 2:
        return _mm(input, other, x, y)
    if n == 1 and m == 1:
        return dot(input, other)
    if n == 2 and m == 1:
        return mv(input, other)
    if not n or not m:
        raise RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {n}D "
                           f"and {m}D")
    if n == 1:
        return squeeze(matmul(unsqueeze(input, 0), other), -2)
    if m == 1:
        if x.shape[-1] != y.shape[0]:
            rows = prod(x.shape[:-1])
            raise RuntimeError(told(
                f"size mismatch, got input ({rows}), mat ({rows}x{x.shape[-1]}), vec "
                f"({y.shape[0]})", "matmul", (x, y), **_sides(x, y)))
        return squeeze(matmul(input, unsqueeze(other, 1)), -1)
    _check_batched(x, y)
    return apply(MATMUL, (input, other))


def _check_batched(x: Any, y: Any) -> None:
    if y.ndim == 2:
        check_matrices(x, y, prod(x.shape[:-1]))
        return
    if x.ndim == 2 and x.shape[-1] != y.shape[-2]:
        raise RuntimeError(told(
            f"mat1 and mat2 shapes cannot be multiplied ({prod(y.shape[:-2])}x{y.shape[-2]} and "
            f"{x.shape[1]}x{x.shape[0]})", "matmul", (x, y), **_sides(x, y)))
    shape = broadcast(x.shape[:-2], y.shape[:-2])
    if x.shape[-1] != y.shape[-2]:
        count = prod(shape)
        raise RuntimeError(told(
            f"Expected size for first two dimensions of batch2 tensor to be: [{count}, "
            f"{x.shape[-1]}] but got: [{count}, {y.shape[-2]}].", "matmul", (x, y),
            **_sides(x, y)))
    _check_types(x, y)
    _refuse_bool(x)


def _operator(self: Tensor, other: Any) -> Any:
    if isinstance(other, Tensor):
        return matmul_(self, other)
    return NotImplemented


def _reflected(self: Tensor, other: Any) -> Any:
    if isinstance(other, np.ndarray):
        return matmul_(Tensor._from_array(other), self)  # type: ignore[attr-defined]
    return matmul_(other, self) if isinstance(other, Tensor) else NotImplemented


def _in_place(self: Tensor, other: Any) -> Any:
    if not isinstance(other, Tensor):
        return NotImplemented
    return overwrite(self, lambda t: matmul_(t, other), (other,))


matmul_ = matmul.__wrapped__  # type: ignore[attr-defined]
Tensor.__matmul__ = _operator  # type: ignore[attr-defined]
Tensor.__rmatmul__ = _reflected  # type: ignore[attr-defined]
Tensor.__imatmul__ = _in_place  # type: ignore[attr-defined]


def _linear_forward(bias: ndarray | None, input: ndarray, weight: ndarray) -> ndarray:
    r = dot_of(rows_of(input) if input.ndim > 2 else input, weight.T)
    if bias is not None and (
            r.size < large.MIN_ITEMS or large.pointwise("add", r, bias, out=r) is None):
        r += bias
    return r.reshape(*input.shape[:-1], weight.shape[0]) if input.ndim > 2 else r


def _linear_compose(bias: Tensor | None, input: Tensor, weight: Tensor) -> Tensor:
    r = matmul(input, transpose(weight, -2, -1))
    return r if bias is None else r + bias


LINEAR = composite(
    "linear", _linear_compose, _linear_forward, inputs=("bias", "input", "weight"),
    grads=(lambda g: g,
           lambda g, input_shape, weight: mm_nn(rows_of(g), conj_of(weight)).reshape(input_shape),
           lambda g, input: mm_tn(rows_of(g), conj_of(rows_of(input)))), node="Addmm")


def _linear_input_grad(g: ndarray, input_shape: tuple, weight: ndarray) -> ndarray:
    if len(input_shape) == 2:
        return dot_of(g, weight)
    return dot_of(rows_of(g), weight).reshape(input_shape)


def _linear_weight_grad(g: ndarray, input: ndarray) -> ndarray:
    return dot_of(g.T, input) if g.ndim == 2 else dot_of(rows_of(g).T, rows_of(input))


LINEAR.on_arrays(lambda g: g, _linear_input_grad, _linear_weight_grad)
LINEAR.halves = half_products.linear
_LINEAR_NODES = {
    (bias, rank): type(f"{name}Backward0", (LINEAR.node_type,), {})
    for bias, rank, name in ((True, 1, "View"), (True, 2, "Addmm"), (True, 3, "View"),
                             (False, 1, "Squeeze"), (False, 2, "Mm"), (False, 3, "UnsafeView"))}


@public("nn.functional", out=True)
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias`` over the last dimension: (..., n), (m, n), (m,) give (..., m).

    >>> import flambeau as torch
    >>> torch.nn.functional.linear(torch.ones(2), torch.ones(3, 2), torch.ones(3))
    tensor([3., 3., 3.])
    """
    try:
        x, w = input._a, weight._a
        b = None if bias is None else bias._a
        d = x.dtype
        plain = ((d is F32 or d is F64) and d is w.dtype and w.ndim == 2 and x.ndim
                 and x.shape[-1] == w.shape[1]
                 and (b is None or b.dtype is d and b.shape == w.shape[:1]))
    except AttributeError:
        _arrays("linear", ("input", "weight", "bias"), input, weight, bias)
        raise
    if not plain:
        return _linear(input, weight, bias)
    t = new_tensor(Tensor)
    t._a = _linear_forward(b, x, w)
    t._node = t._v = t._x = None
    nw, nx = weight._node, input._node
    nb = None if bias is None else bias._node
    if (nw is not None or nx is not None or nb is not None) and MODES.grad:
        if saved_hooks or MODES.anomaly:
            node = record(LINEAR, (bias, input, weight), {}, t)
        else:
            node = LINEAR.node_type()
            node.next = (bias if nb is LEAF else nb, input if nx is LEAF else nx,
                         weight if nw is LEAF else nw)
            _save_linear(node, x.shape, None if nx is None else weight,
                         None if nw is None else input)
            node.seq = next_sequence()
            node.shape = t._a.shape
            node.dtype = d
            t._node = node
        if x.ndim != 2 or b is None:
            node.__class__ = _LINEAR_NODES[b is not None, min(x.ndim, 3)]
    elif INFERENCE:
        mark_inference(t)
    return t


assert LINEAR.slots == ("input_shape", "weight", "input")


def _save_linear(node: Any, shape: tuple, weight: Tensor | None, input: Tensor | None) -> None:
    node.saved = (shape, weight, input)
    vw = None if weight is None else weight._v
    vx = None if input is None else input._v
    if vw is not None or vx is not None:
        node.versions = (0, vw[0] if vw else 0, vx[0] if vx else 0)


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    x, w = input._a, weight._a
    if w.ndim == 1:
        r = matmul(input, weight)
        return r if bias is None else r + bias
    if x.ndim == 0 or w.ndim != 2:
        return matmul(input, transpose(weight, -2, -1)) + (0 if bias is None else bias)
    rows = prod(x.shape[:-1])
    if x.shape[-1] != w.shape[1]:
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x.shape[-1]} and "
            f"{w.shape[1]}x{w.shape[0]})\n\n  The input has {x.shape[-1]} features in its last "
            f"dimension; the layer takes {w.shape[1]}.")
    if bias is None:
        if type(x) is ndarray and type(w) is ndarray:
            check_matrices(rows_of(x), w.T, rows)
    else:
        check_added(x, w, bias._a, (rows, w.shape[0]))
    return apply(LINEAR, (bias, input, weight))


def check_added(x: Any, y: Any, added: Any, shape: tuple[int, ...]) -> None:
    """Raise where ``added`` cannot be added to the product of ``x`` and ``y``, of ``shape``."""
    if x.dtype != y.dtype:
        raise RuntimeError(f"mat1 and mat2 must have the same dtype, but got "
                           f"{FROM_NUMPY[x.dtype].title} and {FROM_NUMPY[y.dtype].title}")
    if added.dtype != y.dtype:
        raise RuntimeError(f"self and mat2 must have the same dtype, but got "
                           f"{FROM_NUMPY[added.dtype].title} and {FROM_NUMPY[y.dtype].title}")
    check_expands(added.shape, shape)


def check_expands(have: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Raise where a tensor of shape ``have`` does not broadcast to ``shape``."""
    lead = len(shape) - len(have)
    for i, n in reversed(list(enumerate(have))):
        if lead < 0 or n not in (1, shape[i + lead]):
            want = shape[max(i + lead, 0)]
            raise RuntimeError(
                f"The expanded size of the tensor ({want}) must match the existing size ({n}) at "
                f"non-singleton dimension {max(i + lead, 0)}.  Target sizes: {list(shape)}.  "
                f"Tensor sizes: {list(have)}")


__all__ = ["BMM", "LINEAR", "MATMUL", "MM", "MM_NT", "MM_TN", "bmm", "check_added",
           "check_batches", "check_expands", "check_matrices", "check_vector", "dot", "linear",
           "matmul", "mm", "mm_nt", "mm_tn", "mv", "outer", "rows_of", "vdot"]
