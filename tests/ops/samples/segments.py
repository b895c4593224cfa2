"""Samples of reductions of segments."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(29)
V = RNG.uniform(0.5, 2.0, 6)
A = RNG.uniform(0.5, 2.0, (2, 6, 2))
LENGTHS = np.array([2, 0, 4])
EACH = np.array([[2, 4], [3, 3]])
OFFSETS = np.array([0, 1, 1, 5])

SAMPLES = {"segment_reduce": [
    *[Sample((V, kind), {"lengths": LENGTHS, "initial": 0.25}, dtypes=False, second=False)
      for kind in ("sum", "mean", "max", "min", "prod")],
    *[Sample((A, kind), {"lengths": EACH, "axis": 1}, dtypes=False, second=False)
      for kind in ("sum", "mean", "max", "min", "prod")],
    *[Sample((V, kind), {"offsets": OFFSETS}, dtypes=False, second=False, grad=False)
      for kind in ("sum", "prod")],
]}
