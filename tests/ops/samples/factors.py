"""Samples of factors of matrices, what they solve, and least squares."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(61)
SQUARE = RNG.uniform(-1.0, 1.0, (3, 3)) + 2 * np.eye(3)
SQUARES = RNG.uniform(-1.0, 1.0, (2, 3, 3)) + 2 * np.eye(3)
COMPLEX = SQUARE + 1j * RNG.uniform(-1.0, 1.0, (3, 3))
WIDE = RNG.uniform(-1.0, 1.0, (3, 4))
TALL = RNG.uniform(-1.0, 1.0, (4, 3))
TALLS = RNG.uniform(-1.0, 1.0, (2, 4, 3))
ROWS = RNG.uniform(-1.0, 1.0, (3, 2))
PAIRS = RNG.uniform(-1.0, 1.0, (2, 3, 2))
FOUR = RNG.uniform(-1.0, 1.0, (4, 2))
PIVOTS = np.array([2, 3, 3], np.int32)
SYMMETRIC = SQUARE + SQUARE.T - 3 * np.eye(3)  # not definite
POSITIVE = SQUARE @ SQUARE.T + np.diag([1.0, 2.0, 3.0])
LOW = np.tril(SQUARE)
TAU = RNG.uniform(0.5, 1.5, 3)
TAUS = RNG.uniform(0.5, 1.5, (2, 3))
LDL = np.array([[2.0, 0.0, 0.0], [0.5, 1.0, 0.0], [-0.5, 0.25, 3.0]])
PLAIN = {"grad": False, "dtypes": False}
FREE = {"torch_compare": False, "grad": False}


EVERY_SIDE = [{"left": left, "adjoint": adjoint} for left in (True, False)
              for adjoint in (True, False)]

SAMPLES = {
    "linalg.lu": [Sample((a,)) for a in (SQUARE, WIDE, TALL, SQUARES, COMPLEX)],
    "linalg.lu_factor": [Sample((a,)) for a in (SQUARE, WIDE, TALLS)],
    "linalg.lu_factor_ex": [Sample((a,)) for a in (SQUARE, TALL, COMPLEX)],
    "lu": [Sample((SQUARES,)), Sample((WIDE,), {"get_infos": True})],
    "lu_unpack": [Sample((SQUARE, PIVOTS)), Sample((WIDE, PIVOTS)),
                  Sample((TALL, PIVOTS), {"unpack_pivots": False})],
    "linalg.lu_solve": [Sample((SQUARE, PIVOTS, ROWS if side["left"] else ROWS.T.copy()), side)
                        for side in EVERY_SIDE] + [Sample((COMPLEX, PIVOTS, PAIRS + 0j))],
    "lu_solve": [Sample((ROWS, SQUARE, PIVOTS))],
    # slopes by L are PyTorch's, as if its upper triangle were read as well
    "cholesky_solve": [Sample((ROWS, LOW), fixed=(1,)),
                       Sample((PAIRS, LOW.T.copy(), True), fixed=(1,))],
    # with a real diagonal, as factors have it
    "cholesky_inverse": [Sample((LOW,), **PLAIN), Sample((LOW.T.copy(), True), **PLAIN)],
    "linalg.cholesky_ex": [Sample((POSITIVE,), grad=False), Sample((-POSITIVE,), grad=False)],
    "cholesky": [Sample((POSITIVE, True), grad=False)],
    "linalg.inv_ex": [Sample((SQUARES,))], "inverse": [Sample((COMPLEX,))],
    "linalg.solve_ex": [Sample((SQUARE, ROWS)), Sample((SQUARE, ROWS.T.copy()), {"left": False})],
    "linalg.solve_triangular": [
        Sample((SQUARE, b), {"upper": upper, "left": left, "unitriangular": unit})
        for left, b in ((True, ROWS), (False, ROWS.T.copy())) for upper in (True, False)
        for unit in (True, False)],
    "triangular_solve": [
        Sample((ROWS, SQUARE), {"upper": upper, "transpose": back, "unitriangular": unit})
        for upper in (True, False) for back in (True, False) for unit in (True, False)],
    "geqrf": [Sample((TALL,), grad=False), Sample((WIDE,), grad=False)],
    "linalg.householder_product": [Sample((TALL, TAU)), Sample((TALLS, TAUS)),
                                   Sample((TALL, TAU[:2].copy())),
                                   Sample((COMPLEX, TAU + 0.5j))],
    "orgqr": [Sample((TALL, TAU))],
    "ormqr": [Sample((TALL, TAU, FOUR if left else FOUR.T.copy(), left, back))
              for left in (True, False) for back in (True, False)],
    "linalg.qr": [Sample((TALL,), **FREE), Sample((WIDE,), **FREE)],
    "qr": [Sample((TALL,), **FREE)],
    "linalg.ldl_factor": [Sample((SYMMETRIC,), **PLAIN)],
    "linalg.ldl_factor_ex": [Sample((SYMMETRIC,), {"hermitian": True}, **PLAIN)],
    "linalg.ldl_solve": [Sample((LDL, np.array([1, 2, 3], np.int32), ROWS), **PLAIN),
                         Sample((LDL, np.array([-2, -2, 3], np.int32), ROWS), **PLAIN)],
    "linalg.lstsq": [Sample((a, b)) for a, b in ((TALL, FOUR), (WIDE, ROWS), (SQUARES, PAIRS))] + [
        # singular values have no slope
        Sample((TALL, FOUR), {"driver": d}, grad=d == "gels") for d in ("gels", "gelsd", "gelss")]
        + [Sample((TALL, FOUR[:, 0].copy()))],
    "linalg.eigvals": [Sample((SQUARE,), **FREE)], "linalg.eig": [Sample((SQUARE,), **FREE)],
    "svd": [Sample((TALL,), **FREE), Sample((TALL,), {"compute_uv": False}, **FREE)],
    "pinverse": [Sample((TALL,))],
    "linalg.pinv": [Sample((TALLS,)), Sample((POSITIVE,), {"hermitian": True}, grad=False)],
    "svd_lowrank": [Sample((TALL,), {"q": 2}, **FREE)],
    "pca_lowrank": [Sample((TALL,), {"q": 2}, **FREE)],
    "lobpcg": [Sample((np.diag(np.arange(1.0, 8.0)),), {"k": 2}, **FREE)],
    "linalg.diagonal": [Sample((SQUARES,)), Sample((WIDE,), {"offset": 1})],
    "linalg.matrix_exp": [Sample((COMPLEX,), atol=1e-8), Sample((SQUARES * 3,), atol=1e-8)],
}
