"""Samples of the operators of shapes, joining and indexing."""

from __future__ import annotations

import numpy as np

import flambeau
from tests.ops.sample import Sample

RNG = np.random.default_rng(20)
V = RNG.uniform(0.5, 2.0, 4)
A = RNG.uniform(0.5, 2.0, (3, 4))
B = RNG.uniform(0.5, 2.0, (3, 4))
C = RNG.uniform(0.5, 2.0, (2, 3, 4))
ONE = RNG.uniform(0.5, 2.0, (3, 1))
ROWS = np.array([2, 0, 2])
MASK = np.array([[True, False, True, True], [False] * 4, [True, True, False, False]])
GRID = np.array([[0, 2, 1, 0], [1, 1, 2, 2]])
Z = np.array(1.5)


def of(*calls: tuple, **settings: bool) -> list[Sample]:
    """Samples of calls, each a tuple of arguments, the last a dict where there are keywords."""
    found = []
    for call in calls:
        kwargs = call[-1] if call and isinstance(call[-1], dict) else {}
        args = call[:-1] if kwargs else call
        found.append(Sample(args, kwargs, **settings))
    return found


VIEWS = {
    "reshape": of((A, (4, 3)), (A, (-1,)), (Z, (1, 1))),
    "view": of((A, 4, 3), (A, -1), layouts=False) + of((A, flambeau.int64), grad=False,
                                                       layouts=False, dtypes=False),
    "view_as": of((A, B)),
    "reshape_as": of((A, A.reshape(4, 3))),
    "expand": of((ONE, 3, 5), (ONE, 2, -1, 4), (A, 2, 3, 4)),
    "expand_as": of((ONE, A)),
    "broadcast_to": of((ONE, (3, 4))),
    "flatten": of((C,), (C, 1), (C, 0, 1), (Z,)),
    "unflatten": of((A, 1, (2, 2)), (A, -1, (2, -1))),
    "ravel": of((A,)),
    "permute": of((C, (2, 0, 1)), (C, (0, -1, 1))),
    "movedim": of((C, 0, 2), (C, (0, 1), (1, 2))),
    "transpose": of((C, 0, 2), (C, -1, 1)),
    "t": of((A,), (V,)),
    "T": of((A,)),
    "mT": of((C,)),
    "mH": of((C,)),
    "H": of((A,)),
    "adjoint": of((C,)),
    "unsqueeze": of((A, 0), (A, -1), (Z, 0)),
    "squeeze": of((ONE,), (ONE, 1), (ONE, (0, 1)), (A, 0)),
    "select": of((C, 1, 2), (C, -1, -1)),
    "narrow": of((C, 1, 1, 2), (C, -1, -2, 1)),
    "diagonal": of((A,), (A, 1), (C, -1, 1, 2)),
    "unfold": of((A, 1, 2, 1), (A, 0, 2, 2), (A, 1, 3, 1), (Z, 0, 1, 1)),
    "as_strided": of((A, (2, 2), (1, 4)), (A, (2, 2), (1, 2), 3), layouts=False),
    "split": of((A, 2, 1), (A, (1, 3), 1)),
    "chunk": of((A, 2, 1)),
    "unbind": of((A,), (C, 1)),
    "tensor_split": of((A, 3, 1), (A, (1, 3), 1)),
    "hsplit": of((A, 2), (V, 2)),
    "vsplit": of((A, (1, 2))),
    "dsplit": of((C, 2)),
    "split_with_sizes": of((A, (1, 3), 1)),
    "as_strided_copy": of((A, (2, 2), (1, 4)), layouts=False),
    "view_copy": of((A, (4, 3)), layouts=False),
    "select_copy": of((A, 0, 1)),
    "slice_copy": of((A, 1, 1, 4, 2)),
    "narrow_copy": of((A, 1, 1, 2)),
    "diagonal_copy": of((A,)),
    "unbind_copy": of((A,)),
}

REARRANGED = {
    "flip": of((A, (0,)), (C, (0, 2)), (A, (-1,))),
    "fliplr": of((A,)),
    "flipud": of((A,)),
    "roll": of((A, 1, 0), (A, (1, -2), (0, 1)), (A, 3)),
    "rot90": of((A,), (A, 2), (C, -1, (1, 2))),
    "repeat": of((A, 2, 1), (A, 2, 1, 3)),
    "tile": of((A, (2,)), (V, (2, 2))),
    "repeat_interleave": of((A, 2, 0), (A, 3), (A, np.array([1, 0, 2]), 0)),
    "tril": of((A,), (C, 1), (C, -1)),
    "triu": of((A,), (C, 1), (C, -1)),
    "diag": of((V,), (A,), (A, 1), (V, -1)),
    "diagflat": of((A,), (V, 1)),
    "diag_embed": of((A,), (A, 1), (A, -1, 0, 2)),
    "broadcast_tensors": of((A, ONE)),
    "meshgrid": of((V, V[:2], {"indexing": "ij"}), (V, V[:2], {"indexing": "xy"})),
    "cartesian_prod": of((V, V[:2])),
    "combinations": of((V,), (V, 2, True)),
    "sum_to_size": of((A, 3, 1), (C, 4)),
}

JOINED = {
    "cat": of(([A, B],), ([A, C[0]], 1), ([A, B], -1), ([A, np.empty(0)],)),
    "stack": of(([A, B],), ([A, B], -1)),
    "hstack": of(([A, B],), ([V, V],)),
    "vstack": of(([A, B],), ([V, A],)),
    "dstack": of(([A, B],), ([V, V],)),
    "column_stack": of(([V[:3], A],)),
    "block_diag": of((A, V, ONE), batch=False),
    "atleast_1d": of((Z,)),
    "atleast_2d": of((V,)),
    "atleast_3d": of((A,), (V,)),
}

INDEXED = {
    "__getitem__": of(
        (A, 1), (A, slice(0, 3, 2)), (C, (1, slice(None), 2)), (C, (Ellipsis, 1)), (A, None),
        (A, ROWS), (C, (slice(None), ROWS)), (C, (0, slice(None), [1, 3])), (A, (ROWS, [1, 1, 0])),
        (C, ([0, 1], slice(None), [1, 3])), (A, MASK), (C, (slice(None), MASK)), (A, True),
        (A, GRID % 3)),
    "index_select": of((A, 0, ROWS), (C, 2, ROWS), (C, 1, ROWS)),
    "gather": of((A, 0, GRID), (A, 1, np.array([[3, 0], [1, 1], [2, 2]])), (C, 1, GRID[None])),
    "take": of((A, ROWS * 3)),
    "take_along_dim": of((A, GRID, 0), (A, ROWS)),
    "masked_select": of((A, MASK), batch=True),
    "index_put": of((A, (ROWS[:2],), B[:2]), (A, (ROWS,), B, True), (A, (MASK,), Z),
                    (C, (np.array([0, 1]), ROWS[:2]), B[:2])),
    "index_add": of((A, 0, ROWS, B), (A, 0, ROWS, B, {"alpha": 2.0})),
    "index_copy": of((A, 0, ROWS[:2], B[:2]), (A, 1, ROWS[:2], B[:, :2])),
    "index_fill": of((A, 0, ROWS, 2.5), (A, 1, ROWS, Z)),
    "index_reduce": of(*[(A, 0, ROWS, B, how, {"include_self": own})
                         for how in ("prod", "mean", "amax", "amin") for own in (True, False)]),
    "scatter": of((A, 0, GRID[:1], B), (A, 0, GRID, 2.5), (A, 1, GRID, B[:2], {"reduce": "add"}),
                  (A, 0, GRID, 2.5, {"reduce": "multiply"})),
    "scatter_add": of((A, 0, GRID, B), (A, 1, GRID, B)),
    "scatter_reduce": of(*[(A, 0, GRID, B, how, {"include_self": own}) for own in (True, False)
                           for how in ("sum", "prod", "mean", "amax", "amin")],
                         (A, 0, GRID, B * (B != B[0, 0]), "prod")),
    "put": of((A, ROWS[:2] * 3, V[:2]), (A, ROWS * 3, V[:3], True)),
    "masked_scatter": of((A, MASK, B)),
    "select_scatter": of((A, V, 0, 1)),
    "slice_scatter": of((A, B[:, :2], 1, 0, 4, 2)),
    "diagonal_scatter": of((A, V[:3])),
    "as_strided_scatter": of((A, A[:2, :2], (2, 2), (4, 1)), layouts=False, grad=False),
}

COUNTED = {
    "nonzero": of((MASK,), (MASK, {"as_tuple": True})),
    "argwhere": of((MASK,)),
    "nonzero_static": of((MASK, {"size": 8})),
    "tril_indices": of((3, 4), (3, 4, 1)),
    "triu_indices": of((3, 4), (3, 4, -1)),
    "unravel_index": of((GRID, (2, 3))),
    "broadcast_shapes": of(((3, 1), (4,))),
    "copy_": of((A, B), (A, ONE), grad=False),
}

SAMPLES = {**VIEWS, **REARRANGED, **JOINED, **INDEXED, **COUNTED}
