"""Operations on tensors some of whose elements a mask hides."""

from __future__ import annotations

from typing import NoReturn

from flambeau.base.missing import missing_attribute
from flambeau.masked.elements import (
    cumprod,
    cumsum,
    log_softmax,
    logaddexp,
    normalize,
    softmax,
    softmin,
)
from flambeau.masked.reductions import (
    amax,
    amin,
    argmax,
    argmin,
    logsumexp,
    mean,
    median,
    norm,
    prod,
    std,
    sum,
    var,
)

__all__ = ["amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp",
           "logsumexp", "mean", "median", "norm", "normalize", "prod", "softmax", "softmin", "std",
           "sum", "var"]


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, __all__)
