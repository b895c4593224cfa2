"""The geometric distribution."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.base.limits import finfo
from flambeau.core.tensor import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.odds import OddsParameter
from flambeau.distributions.utils import broadcast_all, functional, torch

__all__ = ["Geometric"]


class Geometric(OddsParameter):
    """How many trials of chance ``probs`` (or log odds ``logits``) fail before one succeeds.

    >>> import flambeau as torch
    >>> torch.distributions.Geometric(0.25).mean
    tensor(3.)
    """

    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None,
                 validate_args: bool | None = None) -> None:
        self._take(probs, logits)
        super().__init__(self._param.size(), validate_args=validate_args)
        if self._validate_args and probs is not None and not (self.probs > 0).all():
            value = self.probs
            raise ValueError(
                f"Expected parameter probs ({type(value).__name__} of shape "
                f"{tuple(value.shape)}) of distribution {self!r} to be positive but found "
                f"invalid values:\n{value.data[~(value > 0)]}")

    def expand(self, batch_shape: Any, _instance: Any = None) -> Geometric:
        return self._expanded_odds(Geometric, batch_shape, _instance)

    mean = property(lambda self: 1.0 / self.probs - 1.0)
    mode = property(lambda self: torch.zeros_like(self.probs))
    variance = property(lambda self: (1.0 / self.probs - 1.0) / self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            u = self.probs.new_empty(shape).uniform_(finfo(self.probs.dtype).tiny, 1)
            return (u.log() / (-self.probs).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        value, chance = broadcast_all(value, self.probs)
        chance = chance.masked_fill((chance == 1) & (value == 0), 0)  # 0 * log 0 is 0
        return value * (-chance).log1p() + self.probs.log()

    def entropy(self) -> Tensor:
        return functional.binary_cross_entropy_with_logits(
            self.logits, self.probs, reduction="none") / self.probs
