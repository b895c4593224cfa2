"""Student's t distribution."""

from __future__ import annotations

import math
from typing import Any

from flambeau.core.tensor import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.chi2 import Chi2
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import _standard_normal, broadcast_all, torch

__all__ = ["StudentT"]


class StudentT(Distribution):
    """Student's t of ``df`` > 0 degrees of freedom, moved by ``loc`` and scaled by ``scale`` > 0.

    >>> import flambeau as torch
    >>> torch.distributions.StudentT(4.0).variance
    tensor(2.)
    """

    arg_constraints = {"df": constraints.positive, "loc": constraints.real,
                       "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, df: Tensor | float, loc: Tensor | float = 0.0,
                 scale: Tensor | float = 1.0, validate_args: bool | None = None) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> StudentT:
        new = self._expanded(StudentT, batch_shape, _instance, "df loc scale")
        new._chi2 = self._chi2.expand(batch_shape)
        return new

    mean = property(lambda self: self.loc.masked_fill(self.df <= 1, math.nan))
    mode = property(lambda self: self.loc)

    @property
    def variance(self) -> Tensor:
        finite = self.df > 2
        df = self.df.masked_fill(~finite, 3)  # any that has a variance
        found = self.scale.pow(2) * df / (df - 2)
        found = torch.where(finite, found, math.inf)
        return found.masked_fill(self.df <= 1, math.nan)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        normal = _standard_normal(shape, self.df.dtype, self.df.device)
        length = self._chi2.rsample(sample_shape)
        return self.loc + self.scale * (normal * torch.rsqrt(length / self.df))

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        steps, df = (value - self.loc) / self.scale, self.df
        scales = self.scale.log() + 0.5 * df.log() + 0.5 * math.log(math.pi)
        normalizer = scales + torch.lgamma(0.5 * df) - torch.lgamma(0.5 * (df + 1.0))
        return -0.5 * (df + 1.0) * torch.log1p(steps**2.0 / df) - normalizer

    def entropy(self) -> Tensor:
        df, half, more = self.df, 0.5 * self.df, 0.5 * (self.df + 1)
        log_beta = torch.lgamma(half) + math.lgamma(0.5) - torch.lgamma(more)
        moved = more * (torch.digamma(more) - torch.digamma(half))
        return self.scale.log() + moved + 0.5 * df.log() + log_beta
