"""Cholesky factors of random correlation matrices (Lewandowski, Kurowicka and Joe, 2009)."""

from __future__ import annotations

import math
from typing import Any

from flambeau.base.limits import finfo
from flambeau.core.tensor import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.beta import Beta
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import broadcast_all, torch

__all__ = ["LKJCholesky"]


class LKJCholesky(Distribution):
    """Lower Cholesky factors of ``dim`` x ``dim`` correlation matrices.

    The density of a matrix is its determinant to the power of ``concentration`` - 1. Drawn by the
    onion method.

    >>> import flambeau as torch
    >>> torch.distributions.LKJCholesky(3).event_shape
    torch.Size([3, 3])
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Tensor | float = 1.0,
                 validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ValueError("Expected dim to be an integer greater than or equal to 2. Found "
                             f"dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        held = self.concentration
        steps = torch.arange(dim - 1, dtype=held.dtype, device=held.device)
        steps = torch.cat([steps.new_zeros((1,)), steps])
        last = held + 0.5 * (dim - 2)
        self._beta = Beta(steps + 0.5, last.unsqueeze(-1) - 0.5 * steps)
        super().__init__(held.size(), (dim, dim), validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> LKJCholesky:
        new = self._expanded(LKJCholesky, batch_shape, _instance, "concentration")
        new.dim = self.dim
        new._beta = self._beta.expand((*batch_shape, self.dim))
        return new

    def sample(self, sample_shape: Any = ()) -> Tensor:
        lengths = self._beta.sample(sample_shape).unsqueeze(-1)
        normal = torch.randn(self._extended_shape(sample_shape), dtype=lengths.dtype,
                             device=lengths.device).tril(-1)
        directions = normal / normal.norm(dim=-1, keepdim=True)
        directions[..., 0, :].fill_(0.0)  # the first row has none
        below = torch.sqrt(lengths) * directions
        left = 1 - torch.sum(below**2, dim=-1)
        diagonal = torch.clamp(left, min=finfo(below.dtype).tiny).sqrt()
        return below + torch.diag_embed(diagonal)

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        powers = torch.arange(2, self.dim + 1, device=self.concentration.device)
        powers = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - powers
        density = torch.sum(powers * diagonal.log(), dim=-1)
        n = self.dim - 1
        alpha = self.concentration + 0.5 * n
        constant = 0.5 * n * math.log(math.pi)
        norm = constant + torch.mvlgamma(alpha - 0.5, n) - torch.lgamma(alpha) * n
        return density - norm
