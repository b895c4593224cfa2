"""The inverse gamma distribution."""

from __future__ import annotations

from math import inf
from typing import Any

from flambeau.core.tensor import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.gamma import Gamma
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import PowerTransform
from flambeau.distributions.utils import torch

__all__ = ["InverseGamma"]


class InverseGamma(TransformedDistribution):
    """The reciprocal of a gamma variate of shape ``concentration`` > 0 and ``rate`` > 0.

    >>> import flambeau as torch
    >>> torch.distributions.InverseGamma(3.0, 2.0).mean
    tensor(1.)
    """

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, concentration: Tensor | float, rate: Tensor | float,
                 validate_args: bool | None = None) -> None:
        base = Gamma(concentration, rate, validate_args=validate_args)
        inverse = PowerTransform(-base.rate.new_ones(()))
        super().__init__(base, inverse, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> InverseGamma:
        return self._expanded_over(InverseGamma, batch_shape, _instance)

    @property
    def concentration(self) -> Tensor:
        """The shape of the gamma variate."""
        return self.base_dist.concentration

    @property
    def rate(self) -> Tensor:
        """The rate of the gamma variate."""
        return self.base_dist.rate

    @property
    def mean(self) -> Tensor:
        shape = self.concentration
        return torch.where(shape > 1, self.rate / (shape - 1), inf)

    mode = property(lambda self: self.rate / (self.concentration + 1))

    @property
    def variance(self) -> Tensor:
        shape = self.concentration
        found = self.rate.square() / ((shape - 1).square() * (shape - 2))
        return torch.where(shape > 2, found, inf)

    def entropy(self) -> Tensor:
        shape = self.concentration
        return shape + self.rate.log() + shape.lgamma() - (1 + shape) * shape.digamma()
