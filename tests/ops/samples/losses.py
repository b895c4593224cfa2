"""Samples of the losses."""

from __future__ import annotations

import numpy as np

from tests.ops.sample import Sample

RNG = np.random.default_rng(41)
X, T = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
LOGS = np.log(RNG.dirichlet(np.ones(4), 3))
P, U = RNG.uniform(0.1, 0.9, (3, 4)), RNG.uniform(0.1, 0.9, (3, 4))
WEIGHT = RNG.uniform(0.5, 1.5, 4)
CLASSES = np.array([1, 3, 0])
SOME = np.array([1, -100, 0])
SIGNS = np.array([1, -1, 1])
SIGN_TABLE = np.where(RNG.normal(size=(3, 4)) > 0, 1, -1)
IMAGE = RNG.normal(size=(2, 3, 2, 2))
LABELS = np.array([[[0, 2], [1, 1]], [[2, 0], [1, 2]]])
SETS = np.array([[2, 0, -1, 1], [1, -1, 0, 0], [3, 1, 2, -1]])
COUNTS = np.array([[0.0, 2, 1, 5], [3, 0, 0, 1], [1, 1, 4, 2]])
FRAMES = np.log(RNG.dirichlet(np.ones(4), (6, 2)))
WORDS = np.array([[1, 2, 2], [3, 1, 0]])
REDUCTIONS = ("none", "mean", "sum")


def each(*args: object, **kwargs: object) -> list[Sample]:
    """A sample for each reduction."""
    return [Sample(args, {"reduction": r, **kwargs}) for r in REDUCTIONS]


def weighted(*args: object, **kwargs: object) -> list[Sample]:
    """As ``each``, not differentiated: PyTorch gives these weights no gradient."""
    return [Sample(args, {"reduction": r, **kwargs}, grad=False) for r in REDUCTIONS]


SAMPLES = {
    "nn.functional.mse_loss": [*each(X, T), *each(X, T, weight=U)],
    "nn.functional.l1_loss": [*each(X, T), *each(X, T, weight=U)],
    "nn.functional.smooth_l1_loss": [*each(X, T), *each(X, T, beta=0.3)],
    "nn.functional.huber_loss": [*each(X, T), *each(X, T, delta=0.7, weight=U)],
    "nn.functional.binary_cross_entropy": [*each(P, U), *weighted(P, U, weight=WEIGHT)],
    "nn.functional.binary_cross_entropy_with_logits": [
        *each(X, U),
        *weighted(X, U, weight=P, pos_weight=WEIGHT),
    ],
    "nn.functional.soft_margin_loss": each(X, SIGN_TABLE),
    "nn.functional.kl_div": [
        *each(LOGS, U),
        Sample((LOGS, U), {"reduction": "batchmean"}),
        *each(LOGS, LOGS[::-1].copy(), log_target=True),
    ],
    "nn.functional.poisson_nll_loss": [
        *each(X, COUNTS),
        Sample((P, COUNTS), {"log_input": False, "full": True}, grad=False),
    ],
    "nn.functional.gaussian_nll_loss": each(X, T, P, full=True),
    "nn.functional.nll_loss": [
        *each(LOGS, CLASSES),
        *each(LOGS, SOME),
        *weighted(LOGS, SOME, WEIGHT),
        *each(IMAGE, LABELS),
        Sample((LOGS[0], np.array(2))),
    ],
    "nn.functional.cross_entropy": [
        *each(X, CLASSES),
        *each(X, SOME, label_smoothing=0.2),
        *weighted(X, SOME, WEIGHT),
        *weighted(X, CLASSES, WEIGHT, label_smoothing=0.2),
        *each(X, U, WEIGHT, label_smoothing=0.1),
        *each(IMAGE, LABELS),
    ],
    "nn.functional.linear_cross_entropy": each(X, np.ascontiguousarray(T), CLASSES % 3),
    "nn.functional.multi_margin_loss": [*each(X, CLASSES), *weighted(X, CLASSES, 2, 1.5, WEIGHT)],
    "nn.functional.multilabel_margin_loss": each(X, SETS),
    "nn.functional.multilabel_soft_margin_loss": [*each(X, U), *each(X, U, WEIGHT)],
    "nn.functional.margin_ranking_loss": each(X[:, 0].copy(), T[:, 0].copy(), SIGNS, 0.5),
    "nn.functional.hinge_embedding_loss": each(X, SIGN_TABLE),
    "nn.functional.cosine_embedding_loss": each(X, T, SIGNS, 0.1),
    "nn.functional.triplet_margin_loss": [*each(X, T, P), *each(X, T, P, swap=True)],
    "nn.functional.triplet_margin_with_distance_loss": each(X, T, P),
    "nn.functional.ctc_loss": [
        Sample(
            (FRAMES, WORDS, (6, 5), (3, 2)),
            {"reduction": r},
            second=False,
            grad=False,
            forward_mode=False,
            batch=False,
        )
        for r in REDUCTIONS
    ],
}
