"""Schedules: the learning rates of an optimizer as functions of time, or of a measure."""

from __future__ import annotations

from typing import Any

from flambeau.base.missing import missing_attribute
from flambeau.optim.lr_scheduler import base, combined, cyclic, simple
from flambeau.optim.lr_scheduler.base import EPOCH_DEPRECATION_WARNING, LRScheduler
from flambeau.optim.lr_scheduler.combined import (
    ChainedScheduler,
    ReduceLROnPlateau,
    SequentialLR,
)
from flambeau.optim.lr_scheduler.cyclic import (
    CosineAnnealingWarmRestarts,
    CyclicLR,
    OneCycleLR,
)
from flambeau.optim.lr_scheduler.simple import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)

__all__ = ["ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
           "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR",
           "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR",
           "StepLR"]


class _LRScheduler(LRScheduler):
    """The base's name in older programs."""


for _name in __all__:
    globals()[_name].__module__ = __name__


def __getattr__(name: str) -> Any:
    raise missing_attribute(__name__, name, globals())
