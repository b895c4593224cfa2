"""``vmap``: a function of single examples, run on a whole batch at once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from flambeau.base.pytree import (
    broadcast_prefix,
    tree_flatten,
    tree_leaves,
    tree_map,
    tree_unflatten,
)
from flambeau.core.dispatch import apply
from flambeau.core.face import FACES
from flambeau.core.levels import BATCHES, LEVEL, Batched, standing
from flambeau.core.op import OPS
from flambeau.core.tensor import Tensor

__all__ = ["vmap"]


def vmap(func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *,
         chunk_size: int | None = None) -> Callable:
    """A function that runs ``func`` on every slice of its inputs along ``in_dims``, at once.

    ``in_dims`` is an int or a nesting of ints and None (not sliced) like the inputs; ``out_dims``
    says where the batch dimension goes in the outputs. ``randomness`` is "error", "same" (the
    same numbers for every slice) or "different". ``chunk_size`` bounds how many slices are
    computed together. Keyword arguments are not sliced. ValueError where dims do not fit.

    >>> import flambeau as torch
    >>> torch.vmap(torch.dot)(torch.ones(2, 3), torch.ones(2, 3))
    tensor([3., 3.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError("Only allowed values for randomness are 'error', 'different', or "
                           f"'same'. Got {randomness}")
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError("vmap: chunk_size should be None or greater than 0. "
                         f"(got {chunk_size})")

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        batch = _Inputs(func, in_dims, args)
        if chunk_size is None or batch.size <= chunk_size:
            return _run(func, batch, batch.leaves, batch.size, out_dims, randomness, kwargs)
        return _run_chunks(func, batch, chunk_size, out_dims, randomness, kwargs)

    return mapped


def name_of(func: Callable) -> str:
    """What errors call a function."""
    return getattr(func, "__name__", None) or repr(func)


class _Inputs:
    """The inputs of a mapped function: leaves, their batch dimensions, the size of the batch."""

    def __init__(self, func: Callable, in_dims: Any, args: tuple) -> None:
        head = f"vmap({name_of(func)}, in_dims={in_dims}, ...)(<inputs>): "
        if not isinstance(in_dims, (int, tuple, list)):
            raise ValueError(f"{head}expected `in_dims` to be int or a (potentially nested) tuple "
                             f"matching the structure of inputs, got: {type(in_dims)}.")
        if not args:
            raise ValueError(f"vmap({name_of(func)})(<inputs>): got no inputs. Maybe you forgot "
                             "to add inputs, or you are trying to vmap over a function with no "
                             "inputs. The latter is unsupported.")
        self.leaves, self.spec = tree_flatten(args)
        prefix = tuple(in_dims) if isinstance(in_dims, list) else in_dims
        dims = broadcast_prefix(prefix, self.spec)
        if dims is None:
            raise ValueError(f"{head}in_dims is not compatible with the structure of `inputs`. "
                             f"in_dims has structure {tree_flatten(in_dims)[1]} but inputs has "
                             f"structure {self.spec}.")
        self.dims = [_checked(head, d, x) for d, x in zip(dims, self.leaves)]
        sizes = [x._a.shape[d] for d, x in zip(self.dims, self.leaves) if d is not None]
        if not sizes:
            raise ValueError("vmap: Expected at least one Tensor to vmap over")
        if any(n != sizes[0] for n in sizes):
            raise ValueError("vmap: Expected all tensors to have the same size in the mapped "
                             f"dimension, got sizes {sizes} for the mapped dimension")
        self.size = sizes[0]


def _checked(head: str, dim: Any, x: Any) -> int | None:
    if dim is None:
        return None
    if not isinstance(dim, int):
        raise ValueError(f"{head}Got in_dim={dim} for an input but in_dim must be either an "
                         "integer dimension or None.")
    if not isinstance(x, Tensor):
        raise ValueError(f"{head}Got in_dim={dim} for an input but the input is of type "
                         f"{type(x)}. We cannot vmap over non-Tensor arguments, please use None "
                         "as the respective in_dim")
    n = x._a.ndim
    if not -n <= dim < n:
        raise ValueError(f"{head}Got in_dim={dim} for some input, but that input is a Tensor of "
                         f"dimensionality {n} so expected in_dim to satisfy -{n} <= in_dim < "
                         f"{n}.")
    return dim % n


def _run(func: Callable, batch: _Inputs, leaves: Sequence[Any], size: int, out_dims: Any,
         randomness: str, kwargs: dict) -> Any:
    with LEVEL as level:
        BATCHES.sizes[level] = size, randomness
        stands = [x if d is None else standing(Batched(level, x, d))
                  for x, d in zip(leaves, batch.dims)]
        outputs = func(*tree_unflatten(stands, batch.spec), **kwargs)
        return unwrap_outputs(func, outputs, out_dims, level, size)


def unwrap_outputs(func: Callable, outputs: Any, out_dims: Any, level: int, size: int) -> Any:
    """The outputs with their batch dimensions visible, at ``out_dims``."""
    found, spec = tree_flatten(outputs)
    dims = _out_dims(func, out_dims, spec)
    parts = [_unwrap(func, x, d, level, size) for x, d in zip(found, dims)]
    return tree_unflatten(parts, spec)


def _out_dims(func: Callable, out_dims: Any, spec: Any) -> list:
    if any(d is not None and not isinstance(d, int) for d in tree_leaves(out_dims)):
        raise ValueError(f"vmap({name_of(func)}, ..., out_dims={out_dims}): `out_dims` must be an "
                         "int, None or a python collection of ints representing where in the "
                         "outputs the vmapped dimension should appear.")
    dims = broadcast_prefix(out_dims, spec)
    if dims is None and isinstance(out_dims, tuple) and len(out_dims) == 1 and spec.is_leaf():
        dims = list(out_dims)
    if dims is None:
        raise ValueError(f"vmap({name_of(func)}, ..., out_dims={out_dims})(<inputs>): out_dims is "
                         "not compatible with the structure of `outputs`. out_dims has structure "
                         f"{tree_flatten(out_dims)[1]} but outputs has structure {spec}.")
    return dims


def _unwrap(func: Callable, x: Any, dim: int | None, level: int, size: int) -> Any:
    if not isinstance(x, Tensor):
        if dim is None:
            return x
        raise ValueError(f"vmap({name_of(func)}, ...): `{name_of(func)}` must only return "
                         f"Tensors, got type {type(x)}. Did you mean to set out_dims= to None "
                         "for output?")
    handle = x._a
    if isinstance(handle, Batched) and handle.level == level:
        if dim is None:
            raise ValueError(f"vmap({name_of(func)}, ...): `{name_of(func)}` can not return a "
                             "BatchedTensor when out_dim is None")
        return handle.value if dim == handle.dim else handle.value.movedim(handle.dim, dim)
    if dim is None:
        return x
    return x.expand(size, *x._a.shape).movedim(0, dim)


def _run_chunks(func: Callable, batch: _Inputs, chunk: int, out_dims: Any, randomness: str,
                kwargs: dict) -> Any:
    runs = []
    for start in range(0, batch.size, chunk):
        n = min(chunk, batch.size - start)
        leaves = [x if d is None else x.narrow(d, start, n)
                  for x, d in zip(batch.leaves, batch.dims)]
        runs.append(_run(func, batch, leaves, n, out_dims, randomness, kwargs))
    parts = [tree_leaves(r) for r in runs]
    spec = tree_flatten(runs[0])[1]
    dims = _out_dims(func, out_dims, spec)
    joined = [xs[0] if d is None else apply(OPS["cat"], xs, {"dim": d % xs[0]._a.ndim})
              for xs, d in zip(zip(*parts), dims)]
    return tree_unflatten(joined, spec)


FACES["torch"]["vmap"] = vmap
__all__ += ["name_of", "tree_map", "unwrap_outputs"]
