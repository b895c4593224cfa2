"""Samples of random functions at probabilities that leave nothing to chance."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

X = np.random.default_rng(5).normal(size=(2, 3, 2, 2))

SAMPLES = {
    **{f"nn.functional.{name}": [Sample((X, 1.0, True))]
       for name in ("dropout", "alpha_dropout", "feature_alpha_dropout", "dropout2d")},
    "nn.functional.dropout1d": [Sample((X[0, :, :, 0], 1.0, True))],
    "nn.functional.dropout3d": [Sample((X, 1.0, True))],
    "dropout": [Sample((X, 1.0, True))],
    "native_dropout": [Sample((X, 1.0, True), torch_compare=False)],
}
