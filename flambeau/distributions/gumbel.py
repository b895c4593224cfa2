"""The Gumbel distribution."""

from __future__ import annotations

import math
from typing import Any

from flambeau.base.limits import finfo
from flambeau.core.tensor import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import AffineTransform, ExpTransform
from flambeau.distributions.uniform import Uniform
from flambeau.distributions.utils import broadcast_all, euler_constant, torch

__all__ = ["Gumbel"]


class Gumbel(TransformedDistribution):
    """Gumbel, the limit of maxima, with mode ``loc`` and ``scale`` > 0.

    >>> import flambeau as torch
    >>> torch.distributions.Gumbel(0.0, 1.0).mean
    tensor(0.5772)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Tensor | float, scale: Tensor | float,
                 validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        limits = finfo(self.loc.dtype)
        base = Uniform(torch.full_like(self.loc, limits.tiny),
                       torch.full_like(self.loc, 1 - limits.eps), validate_args=validate_args)
        chain = [ExpTransform().inv, AffineTransform(0, -torch.ones_like(self.scale)),
                 ExpTransform().inv, AffineTransform(loc, -self.scale)]
        super().__init__(base, chain, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Gumbel:
        return self._expanded_over(Gumbel, batch_shape, _instance, "loc scale")

    mean = property(lambda self: self.loc + self.scale * euler_constant)
    mode = property(lambda self: self.loc)
    stddev = property(lambda self: math.pi / math.sqrt(6) * self.scale)
    variance = property(lambda self: self.stddev.pow(2))

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        steps = (self.loc - value) / self.scale
        return steps - steps.exp() - self.scale.log()

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + euler_constant)
