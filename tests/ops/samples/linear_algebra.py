"""Samples of matrix products and linear algebra."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(32)
A = RNG.uniform(-1.0, 1.0, (3, 4))
B = RNG.uniform(-1.0, 1.0, (4, 2))
V = RNG.uniform(-1.0, 1.0, 4)
W = RNG.uniform(-1.0, 1.0, 3)
BATCH = RNG.uniform(-1.0, 1.0, (2, 3, 4))
OTHER = RNG.uniform(-1.0, 1.0, (2, 4, 2))
SQUARE = RNG.uniform(-1.0, 1.0, (3, 3)) + 2 * np.eye(3)
SQUARES = RNG.uniform(-1.0, 1.0, (2, 3, 3)) + 2 * np.eye(3)
SYMMETRIC = SQUARE @ SQUARE.T + np.diag([1.0, 2.0, 3.0])
ROWS = RNG.uniform(-1.0, 1.0, (3, 2))
BIAS = RNG.uniform(-1.0, 1.0, 2)
FREE = {"torch_compare": False, "grad": False}

SAMPLES = {
    "matmul": [Sample(pair) for pair in (
        (A, B), (V, V), (A, V), (W, A), (BATCH, B), (BATCH, OTHER), (BATCH, V), (W, BATCH),
        (A, OTHER), (BATCH[:1], OTHER))],
    "mm": [Sample((A, B))], "bmm": [Sample((BATCH, OTHER))], "mv": [Sample((A, V))],
    "dot": [Sample((V, V[::-1].copy()))], "vdot": [Sample((V, V[::-1].copy()))],
    "outer": [Sample((V, W))], "inner": [Sample((A, BATCH)), Sample((V, V))],
    "nn.functional.linear": [Sample((A, B.T.copy(), BIAS)), Sample((BATCH, B.T.copy(), BIAS)),
                             Sample((V, B.T.copy())), Sample((BATCH, B.T.copy()))],
    "nn.functional.bilinear": [Sample((A, ROWS, RNG.uniform(-1, 1, (5, 4, 2))))],
    "addmm": [Sample((BIAS, A, B)), Sample((ROWS, A, B), {"beta": 0.5, "alpha": 2.0})],
    "addmv": [Sample((W, A, V), {"beta": 0.5, "alpha": 2.0})],
    "addr": [Sample((A, W, V), {"beta": 0.5, "alpha": 2.0})],
    "addbmm": [Sample((ROWS, BATCH, OTHER), {"beta": 0.5, "alpha": 2.0})],
    "baddbmm": [Sample((ROWS, BATCH, OTHER), {"beta": 0.5, "alpha": 2.0})],
    "kron": [Sample((A, B)), Sample((V, B))],
    "tensordot": [Sample((A, B, 1)), Sample((BATCH, OTHER, ([0, 2], [0, 1])))],
    "einsum": [Sample(("ij,jk->ik", A, B)), Sample(("bij,bjk,k->b", BATCH, OTHER, BIAS)),
               Sample(("...ij,j", BATCH, V)), Sample(("ii->i", SQUARE))],
    "cross": [Sample((A, A[::-1].copy()), {"dim": 0})],
    "linalg.cross": [Sample((SQUARES, SQUARES[::-1].copy()))],
    "linalg.multi_dot": [Sample(([A, B, ROWS.T.copy()],), batch=False)],
    "cdist": [Sample((A, BATCH)), Sample((A, A + 1.0, 1.0)), Sample((A, A + 1.0, 3.0))],
    "linalg.det": [Sample((SQUARE,)), Sample((SQUARES,))],
    "linalg.slogdet": [Sample((SQUARES,))], "logdet": [Sample((SYMMETRIC,))],
    "linalg.solve_triangular": [Sample((SQUARE, ROWS), {"upper": True})],
    "linalg.tensorinv": [Sample((RNG.uniform(-1, 1, (4, 2, 2)),), {"ind": 1})],
    "linalg.tensorsolve": [Sample((SQUARE, W))],
    "linalg.inv": [Sample((SQUARES,))],
    "linalg.solve": [Sample((SQUARE, ROWS)), Sample((SQUARES, W)),
                     Sample((SQUARE, A.T.copy()), {"left": False})],
    # only one triangle is read, so slopes of single elements say nothing
    "linalg.cholesky": [Sample((SYMMETRIC,), grad=False)],
    "linalg.eigvalsh": [Sample((SYMMETRIC,), grad=False)],
    "linalg.eigh": [Sample((SYMMETRIC,), **FREE)],
    "linalg.qr": [Sample((SQUARE,), **FREE)], "linalg.svd": [Sample((A,), **FREE)],
    "linalg.svdvals": [Sample((A,)), Sample((BATCH,))],
    "linalg.matrix_norm": [Sample((BATCH, p)) for p in ("fro", "nuc", 2, -2, 1, float("inf"))],
    "linalg.norm": [Sample((A,)), Sample((V, 3)), Sample((A, "nuc"))],
    "linalg.cond": [Sample((SQUARE,)), Sample((SQUARE, 1))],
    "linalg.matrix_rank": [Sample((A,), grad=False)],
    "linalg.pinv": [Sample((A,))],
    "linalg.matrix_power": [Sample((SQUARE, 3)), Sample((SQUARE, -2))],
    "linalg.matrix_exp": [Sample((SQUARE,), atol=1e-8)],
    "linalg.vecdot": [Sample((A, BATCH))], "linalg.vander": [Sample((V,))],
}
