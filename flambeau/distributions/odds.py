"""Distributions over a chance that is given as itself or as its log odds."""

from __future__ import annotations

from typing import Any

from flambeau.base.shapes import Size
from flambeau.core.tensor import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import (
    broadcast_all,
    lazy_property,
    logits_to_probs,
    probs_to_logits,
)

__all__ = ["OddsParameter", "require_one"]


def require_one(probs: Any, logits: Any) -> None:
    """ValueError unless exactly one of the two is given."""
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")


class OddsParameter(Distribution):
    """A distribution with ``probs`` or ``logits``: the one that is not given follows."""

    arg_constraints: Any = {"probs": constraints.unit_interval, "logits": constraints.real}
    _param: Tensor

    def _take(self, probs: Any, logits: Any) -> None:
        require_one(probs, logits)
        (value,) = broadcast_all(logits if probs is None else probs)
        self._hold("logits" if probs is None else "probs", value)

    def _take_count(self, total_count: Any, probs: Any, logits: Any) -> None:
        """As ``_take``, beside a number of trials that broadcasts with the chance."""
        require_one(probs, logits)
        count, value = broadcast_all(total_count, logits if probs is None else probs)
        self.total_count = count.type_as(value)
        self._hold("logits" if probs is None else "probs", value)

    def _hold(self, name: str, value: Tensor) -> None:
        setattr(self, name, value)
        self._param = value

    def _expanded_odds(self, cls: type, batch_shape: Any, _instance: Any, names: str = "") -> Any:
        new = self._expanded(cls, batch_shape, _instance, f"{names} probs logits")
        new._param = self._param.expand(Size(batch_shape))
        return new

    def _new(self, *args: Any, **kwargs: Any) -> Tensor:
        return self._param.new(*args, **kwargs)

    @lazy_property
    def logits(self) -> Tensor:
        """The log odds."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> Tensor:
        """The chances."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter that was given."""
        return self._param.size()
