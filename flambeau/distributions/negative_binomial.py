"""The negative binomial distribution."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.core.tensor import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.gamma import Gamma
from flambeau.distributions.odds import OddsParameter
from flambeau.distributions.utils import functional, lazy_property, torch

__all__ = ["NegativeBinomial"]


class NegativeBinomial(OddsParameter):
    """Successes, of chance ``probs`` < 1, before ``total_count`` failures.

    ``total_count`` >= 0 need not be whole.

    >>> import flambeau as torch
    >>> torch.distributions.NegativeBinomial(2.0, torch.tensor(0.5)).mean
    tensor(2.)
    """

    arg_constraints = {"total_count": constraints.greater_than_eq(0),
                       "probs": constraints.half_open_interval(0.0, 1.0),
                       "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(self, total_count: Tensor | float, probs: Tensor | None = None,
                 logits: Tensor | None = None, validate_args: bool | None = None) -> None:
        self._take_count(total_count, probs, logits)
        super().__init__(self._param.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> NegativeBinomial:
        return self._expanded_odds(NegativeBinomial, batch_shape, _instance, "total_count")

    mean = property(lambda self: self.total_count * torch.exp(self.logits))
    variance = property(lambda self: self.mean / torch.sigmoid(-self.logits))

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @lazy_property
    def _gamma(self) -> Gamma:
        # Not checked: it may have a shape of 0
        return Gamma(self.total_count, torch.exp(-self.logits), validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            return torch.poisson(self._gamma.sample(sample_shape=sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        count, logits, log_sigmoid = self.total_count, self.logits, functional.logsigmoid
        weighed = count * log_sigmoid(-logits) + value * log_sigmoid(logits)
        norm = -torch.lgamma(count + value) + torch.lgamma(1.0 + value) + torch.lgamma(count)
        return weighed - norm.masked_fill(count + value == 0.0, 0.0)
