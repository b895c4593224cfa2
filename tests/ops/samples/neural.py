"""Samples of activations, softmax, normalisation, embeddings and attention."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(31)
X = np.array([[-1.7, 0.3, 2.6, -0.2], [1.2, -0.6, -2.4, 0.8]])  # away from every kink
WIDE = np.array([[-4.5, -1.3, 0.4], [7.1, 2.2, -3.6]])
BLOCK = RNG.normal(size=(2, 4, 3))
PER_CHANNEL = RNG.uniform(0.5, 1.5, 4)
SHIFT = RNG.normal(size=4)
LAST, LAST_SHIFT = RNG.uniform(0.5, 1.5, 3), RNG.normal(size=3)
MEAN, VAR = RNG.normal(size=4), RNG.uniform(0.5, 1.5, 4)
TABLE = RNG.normal(size=(6, 3))
ROWS = np.array([0, 2, 2, 5, 1])
PAIRS = np.array([[0, 2], [5, 2]])
STARTS = np.array([0, 2, 2])
Q, K, V = (RNG.normal(size=(1, 2, n, 4)) for n in (3, 5, 5))
MASK = np.array([[True, False, True, True, False], [True] * 5, [False, True] * 2 + [True]])
BIAS = RNG.normal(size=(3, 5))
SEQUENCE = RNG.normal(size=(3, 2, 4))
IN_WEIGHT, IN_BIAS = RNG.normal(size=(12, 4)), RNG.normal(size=12)
OUT_WEIGHT, OUT_BIAS = RNG.normal(size=(4, 4)), RNG.normal(size=4)
HEADS = (4, 2, IN_WEIGHT, IN_BIAS, None, None, False, 0.0, OUT_WEIGHT, OUT_BIAS)


def of(*arrays: np.ndarray, **kwargs: object) -> list[Sample]:
    """A sample of one argument for each array, all with the same keywords."""
    return [Sample((a,), kwargs) for a in arrays]


ACTIVATIONS = {
    "relu": of(X),
    "threshold": [Sample((X, 0.1, -7.0))],
    "prelu": [Sample((X, np.array([0.3]))), Sample((X, PER_CHANNEL))],
    "nn.functional.relu": [*of(X), *of(X, inplace=False)],
    "nn.functional.relu6": of(WIDE),
    "nn.functional.leaky_relu": [*of(X), Sample((X, 0.3))],
    "nn.functional.elu": [*of(X), Sample((X, 1.5))],
    "nn.functional.selu": of(X),
    "nn.functional.celu": [*of(X), Sample((X, 1.5))],
    "nn.functional.gelu": [*of(X), *of(X, approximate="tanh")],
    "nn.functional.silu": of(X, X + 1j),
    "nn.functional.mish": of(X),
    "nn.functional.softplus": [*of(X), Sample((X, 2.0, 1.5))],
    "nn.functional.logsigmoid": of(X),
    "nn.functional.softsign": of(X),
    "nn.functional.tanhshrink": of(X),
    "nn.functional.hardtanh": [*of(X), Sample((X, -0.4, 2.0))],
    "nn.functional.hardsigmoid": of(WIDE),
    "nn.functional.hardswish": of(WIDE),
    "nn.functional.softshrink": [*of(X), Sample((X, 1.0))],
    "nn.functional.hardshrink": [*of(X), Sample((X, 1.0))],
    "nn.functional.glu": [*of(X), Sample((X, 0))],
    "nn.functional.rrelu": of(X),
    "rrelu": [Sample((X,), {"training": True}, torch_compare=False, grad=False, batch=False,
                     dtypes=False)],
}

SOFTMAX = {
    "softmax": [Sample((X, 0)), Sample((BLOCK, 1))],
    "log_softmax": [Sample((X, -1)), Sample((BLOCK, 1))],
    "nn.functional.softmin": [Sample((X, 1))],
}

NORMS = {
    "nn.functional.layer_norm": [Sample((BLOCK, (3,), LAST, LAST_SHIFT)), Sample((BLOCK, (4, 3)))],
    "native_layer_norm": [Sample((BLOCK, (3,), LAST, LAST_SHIFT, 1e-5), grad=False)],
    "nn.functional.rms_norm": [Sample((BLOCK, (3,), LAST)), Sample((BLOCK, (4, 3)))],
    "nn.functional.group_norm": [Sample((BLOCK, 2, PER_CHANNEL, SHIFT)), Sample((BLOCK, 4))],
    "nn.functional.batch_norm": [
        Sample((BLOCK, None, None, PER_CHANNEL, SHIFT, True)),
        Sample((BLOCK, None, None), {"training": True}),
        Sample((BLOCK, MEAN, VAR, PER_CHANNEL, SHIFT), grad=False)],
    "nn.functional.instance_norm": [
        Sample((BLOCK,)), Sample((BLOCK, None, None, PER_CHANNEL, SHIFT))],
    "nn.functional.local_response_norm": [Sample((BLOCK, 3)), Sample((BLOCK, 2, 0.1))],
    "nn.functional.normalize": [Sample((BLOCK,)), Sample((BLOCK, 3.0, 2))],
}

DISTANCES = {
    "cosine_similarity": [Sample((X, X[::-1].copy())), Sample((BLOCK, BLOCK + 1, 2))],
    "pairwise_distance": [Sample((X, X + BIAS[:2, :4])), Sample((X, X * 2, 3.0))],
    "pdist": [Sample((TABLE,)), Sample((TABLE, 1.0)), Sample((TABLE, 3.0))],
}

EMBEDDINGS = {
    "nn.functional.embedding": [
        Sample((ROWS, TABLE)), Sample((PAIRS, TABLE), {"padding_idx": 2}, grad=False),
        Sample((ROWS, TABLE), {"scale_grad_by_freq": True}, grad=False)],
    "nn.functional.embedding_bag": [
        Sample((ROWS, TABLE, STARTS), {"mode": m}) for m in ("sum", "mean", "max")] + [
        Sample((PAIRS, TABLE), {"mode": "sum", "per_sample_weights": BIAS[:2, :2]}),
        Sample((PAIRS, TABLE), {"padding_idx": 2})],
    "nn.functional.one_hot": [Sample((ROWS,)), Sample((PAIRS, 7))],
}

ATTENTION = {
    "nn.functional.scaled_dot_product_attention": [
        Sample((Q, K, V)), Sample((Q, K, V), {"attn_mask": MASK}),
        Sample((Q, K, V, BIAS), {"scale": 0.3}), Sample((Q[0], K[0], V[0]), {"is_causal": True})],
    "nn.functional.multi_head_attention_forward": [
        Sample((SEQUENCE, SEQUENCE, SEQUENCE, *HEADS)),
        Sample((SEQUENCE, SEQUENCE, SEQUENCE, *HEADS), {"need_weights": False})],
}

SAMPLES = {**ACTIVATIONS, **SOFTMAX, **NORMS, **DISTANCES, **EMBEDDINGS, **ATTENTION}
