"""Samples of the operations of torch.masked."""

from __future__ import annotations

import math

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(23)
A = RNG.uniform(0.5, 2.0, (3, 4))
B = RNG.uniform(0.5, 2.0, (3, 4))
MASK = np.array([[True, False, True, True], [False, True, True, False], [True, True, False, True]])
ROW = np.array([True, False, True, True])
ALL = {"mask": MASK}


def along(*extra: dict, **settings: bool) -> list[Sample]:
    return [Sample((A,), {**given, "mask": m}, batch=False, **settings)
            for given in extra for m in (MASK, ROW, None) if m is not ROW or given.get("dim") != 0]


OVER = ({}, {"dim": 1}, {"dim": (0, 1), "keepdim": True})
SAMPLES = {
    **{f"masked.{name}": along(*OVER) for name in (
        "sum", "prod", "amax", "amin", "mean", "norm", "logsumexp")},
    **{f"masked.{name}": along(*OVER, {"unbiased": False}, {"dim": 0, "correction": 0.5})
       for name in ("var", "std")},
    **{f"masked.{name}": along({}, {"dim": 1}, {"dim": 0, "keepdim": True}, grad=False)
       for name in ("argmax", "argmin")},
    **{f"masked.{name}": along({"dim": 0}, {"dim": -1}) for name in (
        "cumsum", "cumprod", "softmax", "softmin")},
    "masked.log_softmax": [Sample((A, 1), {}, batch=False), *along({"dim": 1}, grad=False)],
    "masked.median": along({}, {"dim": 0}),
    "masked.normalize": along({"ord": 2.0, "dim": 1}, {"ord": 1.0, "dim": 0}),
    "masked.logaddexp": [
        Sample((A, B), {"input_mask": MASK, "other_mask": np.ones((3, 4), bool)}, grad=False,
               dtypes=False, layouts=False),
        Sample((A, B), {}, batch=False)],
}
SAMPLES["masked.norm"] += [Sample((A,), {"ord": o, "dim": 1, "mask": MASK}, batch=False,
                                  dtypes=o != -math.inf)
                           for o in (1.0, 3.0, math.inf, -math.inf)]
