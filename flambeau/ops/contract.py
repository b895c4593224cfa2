"""einsum, and what is built like it: distances between rows, the bilinear layer."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from flambeau.backends import products
from flambeau.backends.conversions import laid
from flambeau.base.dtypes import FROM_NUMPY
from flambeau.base.shapes import broadcast
from flambeau.core.dispatch import apply
from flambeau.core.face import public
from flambeau.core.kinds import composite, opaque
from flambeau.core.op import Op
from flambeau.core.tensor import Tensor
from flambeau.ops.arithmetic import conj_of
from flambeau.ops.deviation import vector_norm
from flambeau.ops.where import where

ndarray = np.ndarray
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ELLIPSIS = 52  # labels from here on stand for the dimensions of "..."


def _pair(a: ndarray, ta: tuple, b: ndarray, tb: tuple, keep: set) -> tuple[ndarray, tuple]:
    """Two operands as one, by a batched matrix product; labels not in ``keep`` are summed."""
    a, ta = _summed(a, ta, keep | set(tb))
    b, tb = _summed(b, tb, keep | set(ta))
    batch = [x for x in ta if x in tb and x in keep]
    inner = [x for x in ta if x in tb and x not in keep]
    rows = [x for x in ta if x not in tb]
    columns = [x for x in tb if x not in ta]
    sizes = dict(zip((*ta, *tb), (*a.shape, *b.shape)))
    group = [prod([sizes[x] for x in part]) for part in (batch, rows, inner, columns)]
    left = a.transpose([ta.index(x) for x in (*batch, *rows, *inner)])
    right = b.transpose([tb.index(x) for x in (*batch, *inner, *columns)])
    left = left.reshape(group[0], group[1], group[2])
    right = right.reshape(group[0], group[2], group[3])
    found = np.matmul(left, right) if batch else left[0].dot(right[0])
    labels = (*batch, *rows, *columns)
    return found.reshape([sizes[x] for x in labels]), labels


def _summed(a: ndarray, labels: tuple, keep: set) -> tuple[ndarray, tuple]:
    gone = tuple([i for i, x in enumerate(labels) if x not in keep])
    if not gone:
        return a, labels
    return a.sum(gone, dtype=a.dtype), tuple([x for x in labels if x in keep])


def path_of(arrays: Sequence[ndarray], terms: tuple, target: tuple) -> list:
    """Which operands are contracted one after another, by number; results go behind the others."""
    if len(arrays) == 2:
        return [(0, 1)]
    labels, result = _compact(terms, target)
    operands = [x for a, t in zip(arrays, labels) for x in (a, list(t))]
    return np.einsum_path(*operands, list(result), optimize="greedy")[0][1:]


def _contract(*arrays: ndarray, terms: tuple, target: tuple) -> ndarray:
    """The product of all operands, summed over what ``target`` lacks; labels differ per operand."""
    todo = list(zip(arrays, terms))
    for step in path_of(arrays, terms, target):
        chosen = [todo[i] for i in step]
        todo = [x for i, x in enumerate(todo) if i not in step]
        while len(chosen) > 1:
            (a, ta), (b, tb) = chosen[0], chosen[1]
            rest = [t for _, t in (*chosen[2:], *todo)]
            keep = set(target).union(*rest)
            chosen[:2] = [_pair(a, ta, b, tb, keep)]
        todo.append(chosen[0])
    a, labels = _summed(*todo[0], set(target))
    a = a.transpose([labels.index(x) for x in target])
    if len(arrays) == 2 and all(x in target for term in terms for x in term):
        return laid(a, [_spread_over(*pair, target) for pair in zip(arrays, terms)])
    return np.asarray(a, order="C")


def _spread_over(a: ndarray, term: tuple, target: tuple) -> ndarray:
    """``a`` with its dimensions where ``target`` has them, of size 1 where it has none."""
    place = [x for x in target if x in term]
    turned = a.transpose([term.index(x) for x in place])
    return turned[tuple([slice(None) if x in term else None for x in target])]


def _compact(terms: tuple, target: tuple) -> tuple[list, tuple]:
    """The labels renumbered from 0, as NumPy allows only 52."""
    numbers: dict[int, int] = {}
    renamed = [tuple([numbers.setdefault(x, len(numbers)) for x in t]) for t in terms]
    return renamed, tuple([numbers[x] for x in target])


def _contract_grad(g: Tensor, needs: tuple, inputs: list, terms: tuple, target: tuple) -> list:
    grads: list[Tensor | None] = []
    for i, term in enumerate(terms):
        if not needs[i]:
            grads.append(None)
            continue
        others = [conj_of(t) for k, t in enumerate(inputs) if k != i]
        beside = tuple([t for k, t in enumerate(terms) if k != i])
        grads.append(_einsum([g, *others], (target, *beside), term))
    return grads


def _contract_batch(op: Op, inputs: Any, dims: Any, terms: tuple, target: tuple) -> tuple:
    new = 1 + max((x for t in terms for x in t), default=0)
    lifted = tuple([t if d is None else (*t[:d], new, *t[d:]) for t, d in zip(terms, dims)])
    return _einsum(inputs, lifted, (new, *target)), 0


EINSUM = opaque("einsum", _contract, inputs=("inputs",), joint=_contract_grad,
                params=("terms", "target"), variadic=True, widen=True, batch=_contract_batch,
                node="View")


def _einsum(tensors: Sequence[Tensor], terms: tuple, target: tuple) -> Tensor:
    return apply(EINSUM, tensors, {"terms": terms, "target": target})


def _parse_term(text: str, at: str) -> tuple:
    labels: list = []
    i = 0
    while i < len(text):
        c = text[i]
        if c == ".":
            if text[i:i + 3] != "..." or "..." in labels:
                raise RuntimeError(f"einsum(): found '.' for {at} that is not part of any "
                                   "ellipsis" if text[i:i + 3] != "..." else
                                   f"einsum(): found '.' for {at} for which an ellipsis was "
                                   "already found")
            labels.append("...")
            i += 2
        elif c in LETTERS:
            labels.append(LETTERS.index(c))
        elif c != " ":
            raise RuntimeError(f"einsum(): invalid subscript given at index {i} in the equation "
                               "string, subscripts must be in [a-zA-Z]")
        i += 1
    return tuple(labels)


def _parse(equation: str, count: int) -> tuple[list, tuple | None]:
    left, arrow, right = equation.partition("->")
    parts = left.split(",")
    terms = [_parse_term(p, f"operand {i}") for i, p in enumerate(parts)]
    if len(terms) > count:
        raise RuntimeError("einsum(): fewer operands were provided than specified in the equation")
    if len(terms) < count:
        raise RuntimeError("einsum(): more operands were provided than specified in the equation")
    return terms, _parse_term(right, "the output") if arrow else None


def _expanded(terms: list, tensors: Sequence[Tensor]) -> tuple[list, int]:
    """The terms with "..." replaced by labels counted from the last dimension."""
    found = []
    widest = 0
    for i, (term, t) in enumerate(zip(terms, tensors)):
        rank = t._a.ndim
        named = len(term) - ("..." in term)
        if "..." in term and named <= rank:
            extra = rank - named
            widest = max(widest, extra)
            at = term.index("...")
            fill = [ELLIPSIS + k for k in reversed(range(extra))]
            term = (*term[:at], *fill, *term[at + 1:])
        elif named != rank:
            more = "is more than the number of dimensions" if "..." in term else \
                "does not match the number of dimensions"
            tail = "" if "..." in term else " and no ellipsis was given"
            raise RuntimeError(f"einsum(): the number of subscripts in the equation ({named}) "
                               f"{more} ({rank}) for operand {i}{tail}")
        found.append(term)
    return found, widest


def _output(given: tuple | None, terms: list, widest: int) -> tuple:
    dots = [ELLIPSIS + k for k in reversed(range(widest))]
    if given is None:
        every = [x for t in terms for x in t if x < ELLIPSIS]
        return (*dots, *sorted([x for x in set(every) if every.count(x) == 1]))
    if "..." in given:
        at = given.index("...")
        given = (*given[:at], *dots, *given[at + 1:])
    seen = {x for t in terms for x in t}
    for i, x in enumerate(given):
        if x in given[:i]:
            raise RuntimeError(f"einsum(): output subscript {LETTERS[x]} appears more than once in "
                               "the output")
        if x not in seen:
            raise RuntimeError(f"einsum(): output subscript {LETTERS[x]} does not appear in the "
                               "equation for any input operand")
    return given


def _sizes(terms: list, tensors: Sequence[Tensor]) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for i, (term, t) in enumerate(zip(terms, tensors)):
        own: dict[int, int] = {}
        for x, n in zip(term, t._a.shape):
            if own.setdefault(x, n) != n:
                raise RuntimeError(f"einsum(): subscript {LETTERS[x]} is repeated for operand {i} "
                                   f"but the sizes don't match, {n} != {own[x]}")
            if sizes.get(x, 1) != 1 and n not in (1, sizes[x]):
                name = "..." if x >= ELLIPSIS else LETTERS[x]
                raise RuntimeError(f"einsum(): subscript {name} has size {n} for operand {i} which "
                                   f"does not broadcast with previously seen size {sizes[x]}")
            sizes[x] = max(n, sizes.get(x, n)) if n and sizes.get(x, 1) else 0
    return sizes


def _plain(t: Tensor, term: tuple, sizes: dict, elsewhere: set) -> tuple[Tensor, tuple]:
    """An operand without repeated labels, stretched sizes, or labels of its own to be summed."""
    for x in set(term):
        while term.count(x) > 1:
            i = term.index(x)
            j = term.index(x, i + 1)
            t = t.diagonal(0, i, j)  # type: ignore[attr-defined]
            term = (*term[:i], *term[i + 1:j], *term[j + 1:], x)
    gone = [i for i, x in enumerate(term) if t._a.shape[i] == 1 and sizes[x] != 1]
    if gone:
        t = t.squeeze(gone)  # type: ignore[attr-defined]
        term = tuple([x for i, x in enumerate(term) if i not in gone])
    own = [i for i, x in enumerate(term) if x not in elsewhere]
    if own:
        t = t.sum(own)  # type: ignore[attr-defined]
        term = tuple([x for x in term if x in elsewhere])
    return t, term


@public("torch")
def einsum(*args: Any) -> Tensor:
    """Sums of products by Einstein's notation: an equation and tensors, or tensors each followed
    by its list of labels (and the output's list last).

    >>> import flambeau as torch
    >>> torch.einsum("ij,j->i", torch.ones(2, 3), torch.ones(3))
    tensor([3., 3.])
    """
    if len(args) < 2:
        raise ValueError("einsum(): must specify the equation string and at least one operand, or "
                         "at least one operand and its subscripts list")
    given: tuple | None
    if isinstance(args[0], str):
        tensors = args[1] if len(args) == 2 and isinstance(args[1], (tuple, list)) else args[1:]
        terms, given = _parse(args[0], len(tensors))
    else:
        pairs = len(args) // 2
        tensors = args[0:2 * pairs:2]
        terms = [_labels(x) for x in args[1:2 * pairs:2]]
        given = _labels(args[-1]) if len(args) % 2 else None
    terms, widest = _expanded(terms, tensors)
    out = _output(given, terms, widest)
    sizes = _sizes(terms, tensors)
    plain = []
    for i, (t, term) in enumerate(zip(tensors, terms)):
        elsewhere = set(out).union(*[o for k, o in enumerate(terms) if k != i])
        plain.append(_plain(t, term, sizes, elsewhere))
    if len(plain) == 1:
        t, term = plain[0]
        return t.permute([term.index(x) for x in out])  # type: ignore[attr-defined]
    return _einsum(*_stripped(plain, out))


def _labels(given: Any) -> tuple:
    for x in given:
        if x is not Ellipsis and not 0 <= x < 52:
            raise ValueError("einsum(): not in the range [0, 52)")
    return tuple(["..." if x is Ellipsis else int(x) for x in given])


def _stripped(plain: list, out: tuple) -> tuple:
    """Sum what became an operand's own when a size of 1 was dropped from another."""
    tensors, terms = [t for t, _ in plain], [term for _, term in plain]
    for i, term in enumerate(terms):
        elsewhere = set(out).union(*[o for k, o in enumerate(terms) if k != i])
        own = [k for k, x in enumerate(term) if x not in elsewhere]
        if own:
            tensors[i] = tensors[i].sum(own)
            terms[i] = tuple([x for x in term if x in elsewhere])
    return tensors, tuple(terms), out


def _rowwise(x1: Tensor, x2: Tensor, p: float) -> Tensor:
    return vector_norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1)


def _euclidean_forward(a: ndarray, b: ndarray) -> ndarray:
    square = products.matmul(a, np.swapaxes(b, -1, -2))
    square *= -2
    square += np.square(a).sum(-1)[..., None]
    square += np.square(b).sum(-1)[..., None, :]
    return np.sqrt(np.maximum(square, 0, out=square), out=square)


def _ratio(g: Tensor, out: Tensor) -> Tensor:
    """The gradient over the distance; 0 where that is 0."""
    return g / where(out == 0, float("inf"), out)


def _euclidean_left(g: Tensor, x1: Tensor, x2: Tensor, out: Tensor) -> Tensor:
    ratio = _ratio(g, out)
    return x1 * ratio.sum(-1, keepdim=True) - ratio @ x2


def _euclidean_right(g: Tensor, x1: Tensor, x2: Tensor, out: Tensor) -> Tensor:
    ratio = _ratio(g, out).transpose(-1, -2)
    return x2 * ratio.sum(-1, keepdim=True) - ratio @ x1


# Distances from products of the rows: x1 and x2 have the same batch dimensions.
EUCLIDEAN = composite("euclidean_dist", lambda x1, x2: _rowwise(x1, x2, 2.0), _euclidean_forward,
                      inputs=("x1", "x2"), grads=(_euclidean_left, _euclidean_right),
                      node="EuclideanDist")


def _cdist_forward(a: ndarray, b: ndarray, p: float) -> ndarray:
    d = np.abs(a[..., :, None, :] - b[..., None, :, :])
    if p == 0:
        return (d != 0).sum(-1).astype(a.dtype)
    if p == 1:
        return d.sum(-1)
    if p == 2:
        return np.sqrt(np.square(d, out=d).sum(-1))
    if p == float("inf"):
        return d.max(-1, initial=0)
    return (d ** p).sum(-1) ** (1 / p)


CDIST = composite("cdist", _rowwise, _cdist_forward, inputs=("x1", "x2"), params=("p",))
CDIST.in_rows = True


@public("torch")
def cdist(x1: Tensor, x2: Tensor, p: float = 2.0,
          compute_mode: str = "use_mm_for_euclid_dist_if_necessary") -> Tensor:
    """The ``p``-norm distances between rows: (..., n, d) and (..., m, d) give (..., n, m)."""
    a, b = x1._a, x2._a
    for name, x in (("X1", a), ("X2", b)):
        if x.dtype.kind in "biuc":
            raise RuntimeError(f"cdist only supports floating-point dtypes, {name} got: "
                               f"{FROM_NUMPY[x.dtype].title}")
    for name, x in (("X1", a), ("X2", b)):
        if x.ndim < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.ndim}D")
    if a.shape[-1] != b.shape[-1]:
        raise RuntimeError("X1 and X2 must have the same number of columns. X1: "
                           f"{a.shape[-1]} X2: {b.shape[-1]}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    batch = broadcast(a.shape[:-2], b.shape[:-2])
    by_product = compute_mode == "use_mm_for_euclid_dist" or (
        compute_mode != "donot_use_mm_for_euclid_dist"
        and (a.shape[-2] > 25 or b.shape[-2] > 25))
    if p != 2 or not by_product or x1.dtype is not x2.dtype or not (a.size and b.size):
        return apply(CDIST, (x1, x2), {"p": float(p)})
    x1, x2 = x1.expand(*batch, *a.shape[-2:]), x2.expand(*batch, *b.shape[-2:])
    return apply(EUCLIDEAN, (x1, x2)).view(*batch, a.shape[-2], b.shape[-2])


@public("nn.functional", "torch")
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x1 @ weight[k] @ x2 + bias[k]`` for each k: (..., n), (..., m), (o, n, m) give (..., o)."""
    a, b, w = input1._a, input2._a, weight._a
    if a.ndim != b.ndim:
        raise RuntimeError("bilinear(): input dimensions do not match: got "
                           f"{a.ndim} and {b.ndim}")
    for i in range(a.ndim - 1):
        if a.shape[i] != b.shape[i]:
            raise RuntimeError(f"bilinear(): input batch dimensions do not match at dim {i}: got "
                               f"{a.shape[i]} and {b.shape[i]}")
    for k, x in ((1, a), (2, b)):
        if x.shape[-1] != w.shape[k]:
            raise RuntimeError(f"bilinear(): input{k} size does not match weight size: got "
                               f"{x.shape[-1]} but expected {w.shape[k]}")
    if bias is not None and bias._a.shape[0] != w.shape[0]:
        raise RuntimeError(f"bilinear(): bias size does not match weight size: got "
                           f"{bias._a.shape[0]} but expected {w.shape[0]}")
    found = einsum("...n,onm,...m->...o", input1, weight, input2)
    return found if bias is None else found + bias


__all__ = ["EINSUM", "bilinear", "cdist", "einsum", "path_of"]
