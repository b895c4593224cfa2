"""Samples of histograms and of what tells tensors apart."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(63)
POINTS = RNG.uniform(-1.0, 1.0, (7, 2))
WEIGHT = RNG.uniform(0.5, 1.5, 7)
EDGES = np.array([-0.5, 0.0, 0.25, 0.75])
NUMBERS = np.array([[3, -1, 4], [1, 5, -9]])

SAMPLES = {
    "histogram": [Sample((POINTS, 3), grad=False), Sample((POINTS, EDGES), grad=False),
                  Sample((WEIGHT, 4), {"range": (0.0, 2.0), "weight": WEIGHT, "density": True},
                         grad=False)],
    "histogramdd": [Sample((POINTS, [2, 3]), grad=False), Sample((POINTS, 3), grad=False),
                    Sample((POINTS, [EDGES, EDGES]), {"weight": WEIGHT}, grad=False),
                    Sample((POINTS, [2, 2]), {"range": (-1.0, 1.0, 0.0, 1.0), "density": True},
                           grad=False)],
    "hash_tensor": [Sample((NUMBERS,)), Sample((POINTS, 0), grad=False),
                    Sample((POINTS,), {"dim": (0, 1), "keepdim": True}, grad=False)],
}
