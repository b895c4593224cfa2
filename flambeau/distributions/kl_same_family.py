"""Divergences between two distributions of one family."""

from __future__ import annotations

from math import inf
from typing import Any

from flambeau.autograd.backward import grad
from flambeau.core.tensor import Tensor
from flambeau.distributions.bernoulli import Bernoulli
from flambeau.distributions.beta import Beta
from flambeau.distributions.binomial import Binomial
from flambeau.distributions.categorical import Categorical
from flambeau.distributions.cauchy import Cauchy
from flambeau.distributions.continuous_bernoulli import ContinuousBernoulli
from flambeau.distributions.dirichlet import Dirichlet
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.exponential import Exponential
from flambeau.distributions.gamma import Gamma
from flambeau.distributions.geometric import Geometric
from flambeau.distributions.gumbel import Gumbel
from flambeau.distributions.half_normal import HalfNormal
from flambeau.distributions.independent import Independent
from flambeau.distributions.kl import kl_divergence, register_kl
from flambeau.distributions.laplace import Laplace
from flambeau.distributions.lowrank_multivariate_normal import (
    LowRankMultivariateNormal,
    lowrank_log_det,
    lowrank_mahalanobis,
    solve_capacitance,
)
from flambeau.distributions.multivariate_normal import (
    MultivariateNormal,
    _batch_mahalanobis,
    half_log_det,
)
from flambeau.distributions.normal import Normal
from flambeau.distributions.one_hot_categorical import OneHotCategorical
from flambeau.distributions.pareto import Pareto
from flambeau.distributions.poisson import Poisson
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.uniform import Uniform
from flambeau.distributions.utils import (
    _sum_rightmost,
    euler_constant,
    functional,
    linalg,
    torch,
)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Any, q: Any) -> Tensor:
    softplus = functional.softplus
    one = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    one = one.masked_fill(q.probs == 0, inf).masked_fill(p.probs == 0, 0)
    zero = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    return one + zero.masked_fill(q.probs == 1, inf).masked_fill(p.probs == 1, 0)


@register_kl(Beta, Beta)
def _beta(p: Any, q: Any) -> Tensor:
    p1, p0, q1, q0 = p.concentration1, p.concentration0, q.concentration1, q.concentration0
    total_p, total_q = p1 + p0, q1 + q0
    norm_q = q1.lgamma() + q0.lgamma() + total_p.lgamma()
    norm_p = p1.lgamma() + p0.lgamma() + total_q.lgamma()
    moved = (p1 - q1) * p1.digamma()
    return (norm_q - norm_p + moved + (p0 - q0) * p0.digamma()
            + (total_q - total_p) * total_p.digamma())


@register_kl(Binomial, Binomial)
def _binomial(p: Any, q: Any) -> Tensor:
    if (p.total_count < q.total_count).any():
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is "
                                  "not implemented")
    each = p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p()
    return (p.total_count * each).masked_fill(p.total_count > q.total_count, inf)


@register_kl(Categorical, Categorical)
def _categorical(p: Any, q: Any) -> Tensor:
    each = p.probs * (p.logits - q.logits)
    return each.masked_fill(q.probs == 0, inf).masked_fill(p.probs == 0, 0).sum(-1)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p: Any, q: Any) -> Tensor:
    moved = p.mean * (p.logits - q.logits)
    ours = p._cont_bern_log_norm() + torch.log1p(-p.probs)
    return moved + ours + (-q._cont_bern_log_norm() - torch.log1p(-q.probs))


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Any, q: Any) -> Tensor:
    ours, theirs = p.concentration, q.concentration
    total, other = ours.sum(-1), theirs.sum(-1)
    totals = total.lgamma() - other.lgamma()
    each = (ours.lgamma() - theirs.lgamma()).sum(-1)
    log_mean = ours.digamma() - total.digamma().unsqueeze(-1)
    return totals - each + ((ours - theirs) * log_mean).sum(-1)


@register_kl(Exponential, Exponential)
def _exponential(p: Any, q: Any) -> Tensor:
    ratio = q.rate / p.rate
    return -ratio.log() + ratio - 1


@register_kl(ExponentialFamily, ExponentialFamily)
def _exponential_family(p: Any, q: Any) -> Tensor:
    """The Bregman divergence of the log normalizer."""
    if type(p) is not type(q):
        raise NotImplementedError("The cross KL-divergence between different exponential families "
                                  "cannot                             be computed using Bregman "
                                  "divergences")
    ours, theirs = [n.detach().requires_grad_() for n in p._natural_params], q._natural_params
    log_norm = p._log_normalizer(*ours)
    means = grad(log_norm.sum(), ours, create_graph=True)
    result = q._log_normalizer(*theirs) - log_norm
    for a, b, mean in zip(ours, theirs, means):
        result = result - _sum_rightmost((b - a) * mean, len(q.event_shape))
    return result


@register_kl(Gamma, Gamma)
def _gamma(p: Any, q: Any) -> Tensor:
    rates = q.concentration * (p.rate / q.rate).log()
    norms = torch.lgamma(q.concentration) - torch.lgamma(p.concentration)
    shapes = (p.concentration - q.concentration) * torch.digamma(p.concentration)
    return rates + norms + shapes + (q.rate - p.rate) * (p.concentration / p.rate)


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Any, q: Any) -> Tensor:
    ratio, theirs, ours = p.scale / q.scale, q.loc / q.scale, p.loc / q.scale
    moved = -ratio.log() - theirs + ours
    tail = torch.exp(theirs + (1 + ratio).lgamma() - ours)
    return moved + ratio * euler_constant + tail - (1 + euler_constant)


@register_kl(Geometric, Geometric)
def _geometric(p: Any, q: Any) -> Tensor:
    return -p.entropy() - torch.log1p(-q.probs) / p.probs - q.logits


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: Any, q: Any) -> Tensor:
    return _normal(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace(p: Any, q: Any) -> Tensor:
    ratio, apart = p.scale / q.scale, (p.loc - q.loc).abs()
    return -ratio.log() + apart / q.scale + ratio * torch.exp(-apart / p.scale) - 1


def _require_one_size(p: Any, q: Any, told: str, gap: int) -> None:
    if p.event_shape != q.event_shape:
        raise ValueError(f"KL-divergence between two {told} with{' ' * gap}different event shapes "
                         "cannot be computed")


def _square_sum(matrix: Tensor) -> Tensor:
    """The trace of ``A A^T``."""
    return matrix.pow(2).flatten(-2).sum(-1)


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate(p: Any, q: Any) -> Tensor:
    _require_one_size(p, q, "Multivariate Normals", 26)
    ours, theirs = p._unbroadcasted_scale_tril, q._unbroadcasted_scale_tril
    trace = _square_sum(linalg.solve_triangular(theirs, ours, upper=False))
    away = _batch_mahalanobis(theirs, q.loc - p.loc)
    dets = half_log_det(theirs) - half_log_det(ours)
    return dets + 0.5 * (trace + away - p.event_shape[0])


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _low_rank(p: Any, q: Any) -> Tensor:
    _require_one_size(p, q, "Low Rank Multivariate Normals", 26)
    ours, own = p._unbroadcasted_cov_factor, p._unbroadcasted_cov_diag
    diagonal, solved = q._unbroadcasted_cov_diag, solve_capacitance(q)
    trace = ((own / diagonal).sum(-1) + _square_sum(ours * diagonal.rsqrt().unsqueeze(-1))
             - _square_sum(solved * own.sqrt().unsqueeze(-2)) - _square_sum(solved.matmul(ours)))
    away = lowrank_mahalanobis(q, q.loc - p.loc)
    return 0.5 * (lowrank_log_det(q) - lowrank_log_det(p) + trace + away - p.event_shape[0])


@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _multivariate_low_rank(p: Any, q: Any) -> Tensor:
    _require_one_size(p, q, "(Low Rank) Multivariate Normals", 26)
    ours, diagonal = p._unbroadcasted_scale_tril, q._unbroadcasted_cov_diag
    trace = (_square_sum(ours * diagonal.rsqrt().unsqueeze(-1))
             - _square_sum(solve_capacitance(q).matmul(ours)))
    away = lowrank_mahalanobis(q, q.loc - p.loc)
    dets = lowrank_log_det(q) - 2 * half_log_det(ours)
    return 0.5 * (dets + trace + away - p.event_shape[0])


@register_kl(LowRankMultivariateNormal, MultivariateNormal)
def _low_rank_multivariate(p: Any, q: Any) -> Tensor:
    _require_one_size(p, q, "(Low Rank) Multivariate Normals", 26)
    theirs = q._unbroadcasted_scale_tril
    roots = torch.diag_embed(p._unbroadcasted_cov_diag.sqrt())
    parts = (p._unbroadcasted_cov_factor, roots)
    factor, diagonal = [_square_sum(linalg.solve_triangular(theirs, part, upper=False))
                        for part in parts]
    away = _batch_mahalanobis(theirs, q.loc - p.loc)
    dets = 2 * half_log_det(theirs) - lowrank_log_det(p)
    return 0.5 * (dets + (factor + diagonal) + away - p.event_shape[0])


@register_kl(Normal, Normal)
def _normal(p: Any, q: Any) -> Tensor:
    ratio = (p.scale / q.scale).pow(2)
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).pow(2) - 1 - ratio.log())


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: Any, q: Any) -> Tensor:
    return _categorical(p._categorical, q._categorical)


@register_kl(Pareto, Pareto)
def _pareto(p: Any, q: Any) -> Tensor:
    ratio = q.alpha / p.alpha
    result = q.alpha * (p.scale / q.scale).log() + -ratio.log() + ratio - 1
    return result.masked_fill(p.support.lower_bound < q.support.lower_bound, inf)


@register_kl(Poisson, Poisson)
def _poisson(p: Any, q: Any) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: Any, q: Any) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Uniform, Uniform)
def _uniform(p: Any, q: Any) -> Tensor:
    result = ((q.high - q.low) / (p.high - p.low)).log()
    return result.masked_fill((q.low > p.low) | (q.high < p.high), inf)


@register_kl(Independent, Independent)
def _independent(p: Any, q: Any) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return _sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Any, q: Any) -> Tensor:
    """arXiv:1905.10965."""
    apart = ((p.scale + q.scale).pow(2) + (p.loc - q.loc).pow(2)).log()
    return apart - (4 * p.scale * q.scale).log()
