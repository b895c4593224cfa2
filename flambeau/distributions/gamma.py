"""The gamma distribution."""

from __future__ import annotations

from typing import Any

from flambeau.base.limits import finfo
from flambeau.core.face import FACES
from flambeau.core.tensor import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.utils import broadcast_all, torch

__all__ = ["Gamma"]


class Gamma(ExponentialFamily):
    """Gamma of shape ``concentration`` > 0 and ``rate`` > 0, which broadcast.

    ``rsample`` has the implicit gradient of arXiv:1805.08498.

    >>> import flambeau as torch
    >>> torch.distributions.Gamma(3.0, 2.0).mean
    tensor(1.5000)
    """

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, concentration: Tensor | float, rate: Tensor | float,
                 validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Gamma:
        return self._expanded(Gamma, batch_shape, _instance, "concentration rate")

    mean = property(lambda self: self.concentration / self.rate)
    mode = property(lambda self: ((self.concentration - 1) / self.rate).clamp(min=0))
    variance = property(lambda self: self.concentration / self.rate.pow(2))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        drawn = torch._standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        drawn.detach().clamp_(min=finfo(drawn.dtype).tiny)  # the gradient ignores the bound
        return drawn

    def log_prob(self, value: Tensor) -> Tensor:
        value = torch.as_tensor(value, dtype=self.rate.dtype, device=self.rate.device)
        self._checked(value)
        shape, rate = self.concentration, self.rate
        density = torch.xlogy(shape, rate) + torch.xlogy(shape - 1, value) - rate * value
        return density - torch.lgamma(shape)

    def cdf(self, value: Tensor) -> Tensor:
        self._checked(value)
        return FACES["special"]["gammainc"](self.concentration, self.rate * value)

    def entropy(self) -> Tensor:
        shape = self.concentration
        return (shape - self.rate.log() + torch.lgamma(shape)
                + (1.0 - shape) * torch.digamma(shape))

    @property
    def _natural_params(self) -> tuple[Tensor, Tensor]:
        return self.concentration - 1, -self.rate

    def _log_normalizer(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.lgamma(x + 1) + (x + 1) * torch.log(-y.reciprocal())
