"""Samples of reductions, scans, sorting and search."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(31)
A = RNG.permutation(np.linspace(-1.6, 2.1, 12)).reshape(3, 4)
P = RNG.permutation(np.linspace(0.5, 2.4, 12)).reshape(3, 4)
C = RNG.permutation(np.linspace(-2.0, 2.3, 24)).reshape(2, 3, 4)
V = RNG.permutation(np.linspace(0.4, 2.0, 5))
HOLES = np.where(np.arange(12).reshape(3, 4) % 5 == 2, np.nan, A)
ZERO = np.where(np.arange(12).reshape(3, 4) == 5, 0.0, A)
Z = np.array(1.5)
MASK = np.array([[True, False, True], [False] * 3])
INTS = np.array([3, 1, 3, 2, 2, 2])


def over(*extra: tuple, **settings: bool) -> list[Sample]:
    """Reductions of everything, of one dimension, kept and not, and the calls ``extra``."""
    calls = [((A,), {}), ((C, 1), {}), ((C, -1), {"keepdim": True}), *extra]
    return [Sample(args, kwargs, **settings) for args, kwargs in calls]


DIMS = (((C, (0, 2)), {}), ((Z,), {}))

SAMPLES = {
    "sum": over(*DIMS), "mean": over(*DIMS), "nansum": [Sample((HOLES,)), Sample((HOLES, 1))],
    "nanmean": [Sample((HOLES,)), Sample((HOLES, 1))],
    "prod": over() + [Sample((ZERO, 1)), Sample((ZERO,))],
    "var": over(*DIMS[:1], ((A,), {"correction": 0}), ((A, 0, False), {})),
    "std": over(*DIMS[:1], ((A,), {"unbiased": False})),
    "var_mean": over(*DIMS[:1]), "std_mean": over(*DIMS[:1]),
    "amax": over(*DIMS), "amin": over(*DIMS),
    "aminmax": [Sample((A,)), Sample((A,), {"dim": 1})],
    "max": [Sample((A,)), Sample((C, 1)), Sample((C, -1, True)), Sample((A, P))],
    "min": [Sample((A,)), Sample((C, 1)), Sample((C, -1, True)), Sample((A, P))],
    "argmax": over(grad=False), "argmin": over(grad=False),
    "any": [Sample((MASK,)), Sample((MASK, 1)), Sample((A, (0, 1)))],
    "all": [Sample((MASK,)), Sample((MASK, 1)), Sample((A, (0, 1)))],
    "count_nonzero": [Sample((ZERO,)), Sample((ZERO, 1))],
    "logsumexp": [Sample((A, 1)), Sample((C, (0, 2), True))],
    "norm": [Sample((A,)), Sample((A, 1, 1)), Sample((A, 3.0, 0, True))],
    "linalg.vector_norm": [Sample((A, p, 1)) for p in (0.5, 1, 1.5, 2, 3, float("inf"))],
    "dist": [Sample((A, P)), Sample((A, P, 3.0))],
    "trace": [Sample((A,))], "renorm": [Sample((A, 2.0, 0, 1.0))],
    "cumsum": [Sample((A, 0)), Sample((C, -1))],
    "cumprod": [Sample((A, 0)), Sample((C, -1)), Sample((ZERO, 1))],
    "cummax": [Sample((A, 0)), Sample((C, -1))], "cummin": [Sample((A, 0)), Sample((C, -1))],
    "logcumsumexp": [Sample((A, 0)), Sample((C, -1))],
    "diff": [Sample((A,)), Sample((A, 2)), Sample((A,), {"dim": 0, "prepend": P})],
    "trapezoid": [Sample((A,)), Sample((A, np.sort(V)[:4])), Sample((A,), {"dx": 0.5, "dim": 0})],
    "cumulative_trapezoid": [Sample((A,)), Sample((A,), {"dim": 0})],
    "gradient": [Sample((P,)), Sample((P,), {"dim": 0, "spacing": 0.5, "edge_order": 2})],
    "sort": [Sample((A,)), Sample((C, 1, True))], "msort": [Sample((A,))],
    "argsort": [Sample((A,)), Sample((C, 1, True))],
    "topk": [Sample((A, 2)), Sample((C, 2, 1, False))],
    "kthvalue": [Sample((A, 2)), Sample((C, 1, 1, True), dtypes=False)],
    "median": [Sample((A,)), Sample((A, 1)), Sample((C, 1, True))],
    "nanmedian": [Sample((HOLES,)), Sample((HOLES, 1))],
    "mode": [Sample((A, 1)), Sample((INTS,))],
    "quantile": [Sample((A, 0.4)), Sample((A, 0.3, 1, True)), Sample((C, np.array([0.2, 0.7]), 1))],
    "nanquantile": [Sample((HOLES, 0.4, 1))],
    "unique": [Sample((INTS,), {"return_inverse": True, "return_counts": True}, batch=False)],
    "unique_consecutive": [Sample((INTS,), {"return_counts": True}, batch=False)],
    "searchsorted": [Sample((np.sort(V), A), grad=False)],
    "bucketize": [Sample((A, np.sort(V)), grad=False)],
    "isin": [Sample((INTS, np.array([1, 2])))],
    "histc": [Sample((A, 4, -1, 1), grad=False)],
    "histogram": [Sample((A, 4), grad=False, batch=False)],
    "bincount": [Sample((INTS,), {"minlength": 6}, batch=False)],
    "cov": [Sample((A,)), Sample((A,), {"correction": 0})],
    "corrcoef": [Sample((A,), atol=1e-8)],
}
