"""Multivariate normals whose covariance is of low rank plus a diagonal."""

from __future__ import annotations

import math
from typing import Any

from flambeau.core.tensor import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.multivariate_normal import _batch_mahalanobis, _batch_mv
from flambeau.distributions.utils import _standard_normal, lazy_property, linalg, torch

__all__ = ["LowRankMultivariateNormal"]


def _plus_unit(matrix: Tensor) -> Tensor:
    return matrix + torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)


def _weighed(factor: Tensor, diagonal: Tensor) -> Tensor:
    """``W^T D^-1``."""
    return factor.mT / diagonal.unsqueeze(-2)


class LowRankMultivariateNormal(Distribution):
    """Normal vectors of covariance ``cov_factor @ cov_factor.T + diag(cov_diag)``.

    ``loc`` and ``cov_diag`` > 0 are (..., n), ``cov_factor`` is (..., n, m). Only m x m matrices
    are factored: the capacitance ``I + W^T D^-1 W`` of the matrix determinant lemma.

    >>> import flambeau as torch
    >>> D = torch.distributions
    >>> D.LowRankMultivariateNormal(torch.zeros(2), torch.ones(2, 1), torch.ones(2)).variance
    tensor([2., 2.])
    """

    arg_constraints = {"loc": constraints.real_vector,
                       "cov_factor": constraints.independent(constraints.real, 2),
                       "cov_diag": constraints.independent(constraints.positive, 1)}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor,
                 validate_args: bool | None = None) -> None:
        _require_shapes(loc, cov_factor, cov_diag)
        try:
            whole = torch.broadcast_tensors(loc.unsqueeze(-1), cov_factor, cov_diag.unsqueeze(-1))
        except RuntimeError as error:
            raise ValueError(f"Incompatible batch shapes: loc {loc.shape}, cov_factor "
                             f"{cov_factor.shape}, cov_diag {cov_diag.shape}") from error
        self.loc, self.cov_factor, self.cov_diag = whole[0][..., 0], whole[1], whole[2][..., 0]
        self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag = cov_factor, cov_diag
        capacitance = torch.matmul(_weighed(cov_factor, cov_diag), cov_factor)
        self._capacitance_tril = linalg.cholesky(_plus_unit(capacitance))
        super().__init__(self.loc.shape[:-1], loc.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> LowRankMultivariateNormal:
        new = self._expanded(LowRankMultivariateNormal, batch_shape, _instance, "loc cov_diag",
                             self.event_shape)
        new.cov_factor = self.cov_factor.expand((*new.loc.shape, self.cov_factor.shape[-1]))
        new._unbroadcasted_cov_factor = self._unbroadcasted_cov_factor
        new._unbroadcasted_cov_diag = self._unbroadcasted_cov_diag
        new._capacitance_tril = self._capacitance_tril
        return new

    mean = property(lambda self: self.loc)
    mode = property(lambda self: self.loc)

    @lazy_property
    def variance(self) -> Tensor:  # type: ignore[override]
        found = self._unbroadcasted_cov_factor.pow(2).sum(-1) + self._unbroadcasted_cov_diag
        return found.expand(self._batch_shape + self._event_shape)

    def _over_batch(self, matrix: Tensor) -> Tensor:
        return matrix.expand((*self._batch_shape, *self._event_shape, *self._event_shape))

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance."""
        root = self._unbroadcasted_cov_diag.sqrt().unsqueeze(-1)
        scaled = self._unbroadcasted_cov_factor / root
        inner = linalg.cholesky(_plus_unit(torch.matmul(scaled, scaled.mT)))
        return self._over_batch(root * inner)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        factor = self._unbroadcasted_cov_factor
        diagonal = torch.diag_embed(self._unbroadcasted_cov_diag)
        return self._over_batch(torch.matmul(factor, factor.mT) + diagonal)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance, by the Woodbury identity."""
        solved = solve_capacitance(self)
        diagonal = torch.diag_embed(self._unbroadcasted_cov_diag.reciprocal())
        return self._over_batch(diagonal - solved.mT @ solved)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        held, where = self.loc.dtype, self.loc.device
        inner = _standard_normal((*shape[:-1], self.cov_factor.shape[-1]), held, where)
        alone = _standard_normal(shape, held, where)
        return (self.loc + _batch_mv(self._unbroadcasted_cov_factor, inner)
                + self._unbroadcasted_cov_diag.sqrt() * alone)

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        away = lowrank_mahalanobis(self, value - self.loc)
        constant = self._event_shape[0] * math.log(2 * math.pi)
        return -0.5 * (constant + lowrank_log_det(self) + away)

    def entropy(self) -> Tensor:
        constant = self._event_shape[0] * (1.0 + math.log(2 * math.pi))
        return (0.5 * (constant + lowrank_log_det(self))).expand(self._batch_shape)


def _require_shapes(loc: Tensor, cov_factor: Tensor, cov_diag: Tensor) -> None:
    if loc.dim() < 1:
        raise ValueError("loc must be at least one-dimensional.")
    event = loc.shape[-1:]
    if cov_factor.dim() < 2:
        raise ValueError("cov_factor must be at least two-dimensional, with optional leading "
                         "batch dimensions")
    if cov_factor.shape[-2:-1] != event:
        raise ValueError(f"cov_factor must be a batch of matrices with shape {event[0]} x m")
    if cov_diag.shape[-1:] != event:
        raise ValueError(f"cov_diag must be a batch of vectors with shape {event}")


def solve_capacitance(d: LowRankMultivariateNormal) -> Tensor:
    """``L^-1 W^T D^-1`` with L the capacitance's Cholesky factor."""
    weighed = _weighed(d._unbroadcasted_cov_factor, d._unbroadcasted_cov_diag)
    return linalg.solve_triangular(d._capacitance_tril, weighed, upper=False)


def lowrank_log_det(d: LowRankMultivariateNormal) -> Tensor:
    """The log of the covariance's determinant, by the matrix determinant lemma."""
    inner = d._capacitance_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return 2 * inner + d._unbroadcasted_cov_diag.log().sum(-1)


def lowrank_mahalanobis(d: LowRankMultivariateNormal, x: Tensor) -> Tensor:
    """``x^T S^-1 x`` with S the covariance, by the Woodbury identity."""
    diagonal = d._unbroadcasted_cov_diag
    inner = _batch_mv(_weighed(d._unbroadcasted_cov_factor, diagonal), x)
    return (x.pow(2) / diagonal).sum(-1) - _batch_mahalanobis(d._capacitance_tril, inner)
