"""Embeddings and gathers whose gradients are sparse."""

from __future__ import annotations

import numpy as np

from flambeau.core.face import public
from flambeau.core.op import OPS, Op
from flambeau.core.sparse_tensor import Coo, run
from flambeau.core.tensor import Tensor, wrap
from flambeau.ops import embedding as dense
from flambeau.ops.sparse.parts import with_values

__all__: list[str] = []


def _row_grad(values: Tensor, index: Tensor, rows: int, padding_idx: int) -> Tensor:
    """The gradient of a table: ``values`` has that of each row that ``index`` named."""
    at = np.ascontiguousarray(index._a.reshape(-1), np.int64)
    if padding_idx >= 0:
        kept = np.flatnonzero(at != padding_idx)
        values, at = values.index_select(0, wrap(kept)), at[kept]
    width = values._a.shape[1]
    return with_values(values, Coo(at[None], values._a, (rows, width), at.size < 2))


def _embedding_grad(g: Tensor, weight_shape: tuple, index: Tensor, padding_idx: int,
                    scale_grad_by_freq: bool) -> Tensor:
    if scale_grad_by_freq:
        raise RuntimeError("embedding_backward: scale_grad_by_freq not supported with sparse "
                           "gradients")
    values = g.reshape(-1, weight_shape[1])
    return _row_grad(values, index, weight_shape[0], padding_idx)


EMBEDDING = Op("sparse_embedding", dense.EMBEDDING.forward, ("weight", "index"), kind="sparse",
               params=("padding_idx", "scale_grad_by_freq"), node="Embedding",
               formulas=(_embedding_grad, None))


@public("sparse", name="_embedding")
def embedding(weight: Tensor, indices: Tensor, padding_idx: int,
              scale_grad_by_freq: bool) -> Tensor:
    """As ``torch.embedding``, with a sparse gradient."""
    return run(EMBEDDING, (weight, indices), {
        "padding_idx": padding_idx, "scale_grad_by_freq": scale_grad_by_freq})


def _bag_grad(g: Tensor, weight_shape: tuple, scale: Tensor, index: Tensor, bag: Tensor,
              padding_idx: int) -> Tensor:
    values = g.index_select(0, bag) * scale.unsqueeze(1)
    return _row_grad(values, index, weight_shape[0], padding_idx)


def _scale_grad(g: Tensor, weight: Tensor, index: Tensor, bag: Tensor) -> Tensor:
    return (weight.index_select(0, index) * g.index_select(0, bag)).sum(1)


EMBEDDING_BAG = Op(
    "sparse_embedding_bag",
    lambda weight, scale, index, bag, count, padding_idx: dense.EMBEDDING_BAG.forward(
        weight, scale, index, bag, count, False),
    ("weight", "scale", "index", "bag"), kind="sparse", node="EmbeddingBag",
    params=("count", "padding_idx"), formulas=(_bag_grad, _scale_grad, None, None))


@public("sparse", name="_embedding_bag")
def embedding_bag(weight: Tensor, scale: Tensor, index: Tensor, bag: Tensor, count: int,
                  padding_idx: int) -> Tensor:
    """Sums of scaled rows of ``weight`` in bags, with a sparse gradient."""
    return run(EMBEDDING_BAG, (weight, scale, index, bag),
               {"count": count, "padding_idx": padding_idx})


def _gather_grad(g: Tensor, input_shape: tuple, index: Tensor, dim: int) -> Tensor:
    at = index._a
    places = np.indices(at.shape).reshape(at.ndim, -1)
    if at.ndim:
        places[dim] = at.reshape(-1)
    values = g.reshape(-1)
    return with_values(values, Coo(places, values._a, input_shape, places.shape[1] < 2))


GATHER = Op("sparse_gather", lambda a, index, dim: OPS["gather"].forward(a, index, dim),
            ("input", "index"), kind="sparse", params=("dim",), node="Gather",
            formulas=(_gather_grad, None))


@public("sparse", name="_gather")
def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """As ``torch.gather``, with a sparse gradient."""
    return run(GATHER, (input, index), {"dim": dim})
