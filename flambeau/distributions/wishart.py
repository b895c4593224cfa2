"""The Wishart distribution."""

from __future__ import annotations

import math
import warnings
from typing import Any

from flambeau.base.limits import finfo
from flambeau.base.shapes import Size
from flambeau.core.tensor import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.chi2 import Chi2
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.multivariate_normal import half_log_det, one_matrix, scale_tril_of
from flambeau.distributions.utils import Numbers, lazy_property, linalg, torch

__all__ = ["Wishart"]


_LOG_2 = math.log(2)
_REDRAWS = 10


def _mvdigamma(x: Tensor, p: int) -> Tensor:
    if not x.gt((p - 1) / 2).all():
        raise AssertionError("Wrong domain for multivariate digamma function.")
    steps = torch.arange(p, dtype=x.dtype, device=x.device).div(2)
    return torch.digamma(x.unsqueeze(-1) - steps.expand((*x.shape, -1))).sum(-1)


class Wishart(ExponentialFamily):
    """Scatter matrices of ``df`` > p - 1 normal vectors of size p.

    One of ``covariance_matrix``, ``precision_matrix`` or ``scale_tril`` (..., p, p) is given.
    Drawn by Bartlett's decomposition.

    >>> import flambeau as torch
    >>> torch.distributions.Wishart(torch.tensor(3.0), torch.eye(2)).mean
    tensor([[3., 0.],
            [0., 3.]])
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, df: Any, covariance_matrix: Tensor | None = None,
                 precision_matrix: Tensor | None = None, scale_tril: Tensor | None = None,
                 validate_args: bool | None = None) -> None:
        name, matrix = one_matrix(AssertionError, covariance_matrix=covariance_matrix,
                                  precision_matrix=precision_matrix, scale_tril=scale_tril)
        if matrix.dim() < 2:
            raise ValueError("scale_tril must be at least two-dimensional, with optional leading "
                             "batch dimensions")
        batch = self._take_df(df, matrix)
        setattr(self, name, matrix.expand((*batch, -1, -1)))
        super().__init__(batch, matrix.shape[-2:], validate_args=validate_args)
        self._hold_factor(scale_tril_of(name, matrix))

    def _take_df(self, df: Any, matrix: Tensor) -> Size:
        """Hold the degrees of freedom; the batch's shape."""
        if isinstance(df, Numbers):
            batch = Size(matrix.shape[:-2])
            self.df = torch.tensor(df, dtype=matrix.dtype, device=matrix.device)
        else:
            batch = torch.broadcast_shapes(matrix.shape[:-2], df.shape)
            self.df = df.expand(batch)
        p = matrix.shape[-1]
        if self.df.le(p - 1).any():
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {p - 1}.")
        if self.df.lt(p).any():
            warnings.warn("Low df values detected. Singular samples are highly likely to occur for "
                          "ndim - 1 < df < ndim.", stacklevel=3)
        return batch

    def _hold_factor(self, lower: Tensor) -> None:
        self._unbroadcasted_scale_tril = lower
        steps = torch.arange(lower.shape[-1], dtype=lower.dtype, device=lower.device)
        dfs = self.df.unsqueeze(-1) - steps.expand((*self._batch_shape, -1))
        self._batch_dims = [-(x + 1) for x in range(len(self._batch_shape))]
        self._dist_chi2 = Chi2(df=dfs)

    @property
    def arg_constraints(self) -> dict[str, Any]:
        return {"covariance_matrix": constraints.positive_definite,
                "precision_matrix": constraints.positive_definite,
                "scale_tril": constraints.lower_cholesky,
                "df": constraints.greater_than(self.event_shape[-1] - 1)}

    def expand(self, batch_shape: Any, _instance: Any = None) -> Wishart:
        names = "covariance_matrix precision_matrix scale_tril"
        new = self._expanded(Wishart, batch_shape, _instance, names, self.event_shape)
        new.df = self.df.expand(Size(batch_shape))
        new._hold_factor(self._unbroadcasted_scale_tril.expand((*batch_shape, *self.event_shape)))
        return new

    def _over_batch(self, matrix: Tensor) -> Tensor:
        return matrix.expand(self._batch_shape + self._event_shape)

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance."""
        return self._over_batch(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance of the vectors."""
        lower = self._unbroadcasted_scale_tril
        return self._over_batch(lower @ lower.mT)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        lower = self._unbroadcasted_scale_tril
        unit = torch.eye(self._event_shape[-1], device=lower.device, dtype=lower.dtype)
        return self._over_batch(torch.cholesky_solve(unit, lower))

    def _by_matrix(self, factor: Tensor) -> Tensor:
        return factor.view((*self._batch_shape, 1, 1))

    @property
    def mean(self) -> Tensor:
        return self._by_matrix(self.df) * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self.df - self.covariance_matrix.shape[-1] - 1
        return self._by_matrix(factor.masked_fill(factor <= 0, math.nan)) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        whole = self.covariance_matrix
        own = whole.diagonal(dim1=-2, dim2=-1)
        outer = own.unsqueeze(-1) * own.unsqueeze(-2)
        return self._by_matrix(self.df) * (whole.pow(2) + outer)

    def _bartlett_sampling(self, sample_shape: Any = ()) -> Tensor:
        p = self._event_shape[-1]
        roots = self._dist_chi2.rsample(sample_shape).sqrt()
        noise = roots.clamp(min=finfo(roots.dtype).eps).diag_embed(dim1=-2, dim2=-1)
        i, j = torch.tril_indices(p, p, offset=-1)
        below = (*sample_shape, *self._batch_shape, p * (p - 1) // 2)
        noise[..., i, j] = torch.randn(below, dtype=noise.dtype, device=noise.device)
        lower = self._unbroadcasted_scale_tril @ noise
        return lower @ lower.mT

    def rsample(self, sample_shape: Any = (), max_try_correction: int | None = None) -> Tensor:
        shape = Size(sample_shape)
        sample = self._bartlett_sampling(shape)
        # PyTorch's first test is the wrong way round: good samples are drawn again, with a warning
        singular = self._any_batch(self.support.check(sample))
        if singular.any():
            warnings.warn("Singular sample detected.", stacklevel=2)
            tries = _REDRAWS if max_try_correction is None else max_try_correction
            self._redraw(sample, singular, tries)
        return sample

    def _any_batch(self, flags: Tensor) -> Tensor:
        return flags.amax(self._batch_dims) if self._batch_shape else flags

    def _redraw(self, sample: Tensor, singular: Tensor, tries: int) -> None:
        """Draw again, into ``sample``, where it is singular."""
        for _ in range(tries):
            again = self._bartlett_sampling(singular[singular].shape)
            sample[singular] = again
            left = singular.clone()  # the assignment above may need ``singular`` for its gradient
            left[singular] = self._any_batch(~self.support.check(again))
            singular = left
            if not singular.any():
                return

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        nu, p, lower = self.df, self._event_shape[-1], self._unbroadcasted_scale_tril
        trace = torch.cholesky_solve(value, lower).diagonal(dim1=-2, dim2=-1).sum(dim=-1)
        norm = -nu * (p * _LOG_2 / 2 + half_log_det(lower)) - torch.mvlgamma(nu / 2, p=p)
        return norm + (nu - p - 1) / 2 * linalg.slogdet(value).logabsdet - trace / 2

    def entropy(self) -> Tensor:
        nu, p = self.df, self._event_shape[-1]
        scale = (p + 1) * (p * _LOG_2 / 2 + half_log_det(self._unbroadcasted_scale_tril))
        moved = (nu - p - 1) / 2 * _mvdigamma(nu / 2, p=p)
        return scale + torch.mvlgamma(nu / 2, p=p) - moved + nu * p / 2

    @property
    def _natural_params(self) -> tuple[Tensor, Tensor]:
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, x: Tensor, y: Tensor) -> Tensor:
        p = self._event_shape[-1]
        half = y + (p + 1) / 2
        scale = -linalg.slogdet(-2 * x).logabsdet + _LOG_2 * p
        return half * scale + torch.mvlgamma(half, p=p)
