"""The generalized Pareto distribution."""

from __future__ import annotations

import math
from typing import Any

from flambeau.core.tensor import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import broadcast_all, torch

__all__ = ["GeneralizedPareto"]


class GeneralizedPareto(Distribution):
    """What exceeds a threshold ``loc``, of ``scale`` > 0 and tail index ``concentration``.

    >>> import flambeau as torch
    >>> torch.distributions.GeneralizedPareto(0.0, 1.0, 0.5).mean
    tensor(2.)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive,
                       "concentration": constraints.real}
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, concentration: Any,
                 validate_args: bool | None = None) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> GeneralizedPareto:
        return self._expanded(GeneralizedPareto, batch_shape, _instance,
                              "loc scale concentration")

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        top = self.loc - self.scale / self.concentration
        return constraints.interval(self.loc, torch.where(self.concentration < 0, top, math.inf))

    def _bent(self) -> tuple[Tensor, Tensor]:
        """Where the tail is exponential (index 0), and the index with 1 in those places."""
        shape = self.concentration
        flat = torch.isclose(shape, torch.zeros_like(shape))
        return flat, torch.where(flat, torch.ones_like(shape), shape)

    def _z(self, x: Tensor) -> Tensor:
        return (x - self.loc) / self.scale

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return self.icdf(torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device))

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        z, (flat, index) = self._z(value), self._bent()
        power = 1 / index + torch.ones_like(z)
        tail = torch.where(power == 0, power, power * torch.log1p(index * z))
        return -self.scale.log() - torch.where(flat, z, tail)

    def log_survival_function(self, value: Tensor) -> Tensor:
        """The log of the chance of more than ``value``."""
        self._checked(value)
        z, (flat, index) = self._z(value), self._bent()
        return torch.where(flat, -z, -torch.log1p(index * z) / index)

    def log_cdf(self, value: Tensor) -> Tensor:
        """The log of ``cdf``."""
        return torch.log1p(-torch.exp(self.log_survival_function(value)))

    def cdf(self, value: Tensor) -> Tensor:
        return torch.exp(self.log_cdf(value))

    def icdf(self, value: Tensor) -> Tensor:
        flat, index = self._bent()
        left = torch.log1p(-value)
        bent = self.loc + self.scale / index * torch.expm1(-index * left)
        return torch.where(flat, self.loc - self.scale * left, bent)

    @property
    def mean(self) -> Tensor:
        valid = self.concentration < 1
        index = torch.where(valid, self.concentration, 0.5)
        return torch.where(valid, self.loc + self.scale / (1 - index), math.nan)

    mode = property(lambda self: self.loc)

    @property
    def variance(self) -> Tensor:
        valid = self.concentration < 0.5
        index = torch.where(valid, self.concentration, 0.25)
        found = self.scale**2 / ((1 - index) ** 2 * (1 - 2 * index))
        return torch.where(valid, found, math.nan)

    def entropy(self) -> Tensor:
        found = torch.log(self.scale) + self.concentration + 1
        return torch.broadcast_to(found, self._batch_shape)
