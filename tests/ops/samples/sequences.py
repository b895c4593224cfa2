"""Samples of padded and packed sequences, and of weights as length times direction."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(57)
STEPS = RNG.normal(size=(3, 2, 4))
PARTS = [RNG.normal(size=(n, 2)) for n in (2, 3, 1)]
DIRECTION = RNG.normal(size=(2, 3, 4))
LENGTHS = {dim: RNG.uniform(0.5, 1.5, tuple(n if i == dim else 1 for i, n in enumerate((2, 3, 4))))
           for dim in range(3)}

SAMPLES = {
    "nn.utils.rnn.pack_padded_sequence": [
        Sample((STEPS, [3, 2])), Sample((STEPS, [2, 1, 1]), {"batch_first": True})],
    "nn.utils.rnn.pad_sequence": [
        Sample((PARTS,)), Sample((PARTS, True, 2.0)), Sample((PARTS, False, 0.0, "left"))],
    "norm_except_dim": [Sample((DIRECTION, 2, dim)) for dim in (0, 1, 2, -1)],
    "_weight_norm": [Sample((DIRECTION, LENGTHS[dim], dim)) for dim in range(3)],
}
