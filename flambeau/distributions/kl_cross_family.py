"""Divergences between distributions of different families."""

from __future__ import annotations

import math
from typing import Any

from flambeau.core.tensor import Tensor
from flambeau.distributions.bernoulli import Bernoulli
from flambeau.distributions.beta import Beta
from flambeau.distributions.binomial import Binomial
from flambeau.distributions.continuous_bernoulli import ContinuousBernoulli
from flambeau.distributions.exponential import Exponential
from flambeau.distributions.gamma import Gamma
from flambeau.distributions.gumbel import Gumbel
from flambeau.distributions.kl import register_kl
from flambeau.distributions.laplace import Laplace
from flambeau.distributions.normal import Normal
from flambeau.distributions.pareto import Pareto
from flambeau.distributions.poisson import Poisson
from flambeau.distributions.uniform import Uniform
from flambeau.distributions.utils import euler_constant, torch

inf, pi = math.inf, math.pi


def _x_log_x(x: Tensor) -> Tensor:
    return torch.xlogy(x, x)


def _register_infinite() -> None:
    """Pairs where p has mass where q has none."""
    bounded = (Beta, ContinuousBernoulli, Pareto, Uniform)
    half_line = (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform)
    for kind, name, others in (
            (Beta, "concentration1", (Pareto,)), (ContinuousBernoulli, "probs", (Pareto,)),
            (Exponential, "rate", bounded), (Gamma, "concentration", bounded),
            (Gumbel, "loc", half_line), (Laplace, "loc", half_line), (Normal, "loc", half_line),
            (Pareto, "scale", (Beta, ContinuousBernoulli, Uniform)),
            (Poisson, "rate", (Bernoulli, Binomial))):
        for other in others:
            register_kl(kind, other)(
                lambda p, q, name=name: torch.full_like(getattr(p, name), inf))


_register_infinite()


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Any, q: Any) -> Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Beta, ContinuousBernoulli)
@register_kl(Uniform, ContinuousBernoulli)
def _to_continuous_bernoulli(p: Any, q: Any) -> Tensor:
    result = (-p.entropy() - p.mean * q.logits - torch.log1p(-q.probs)
              - q._cont_bern_log_norm())
    if not isinstance(p, Uniform):
        return result
    outside = (p.high >= q.support.upper_bound) | (p.low <= q.support.lower_bound)
    return torch.where(outside, torch.ones_like(result) * inf, result)


@register_kl(Beta, Exponential)
def _beta_exponential(p: Any, q: Any) -> Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.mean


@register_kl(Beta, Gamma)
def _beta_gamma(p: Any, q: Any) -> Tensor:
    total = p.concentration1 + p.concentration0
    norm = q.concentration.lgamma() - q.concentration * q.rate.log()
    power = (q.concentration - 1) * (p.concentration1.digamma() - total.digamma())
    return -p.entropy() + norm - power + q.rate * p.concentration1 / total


@register_kl(Beta, Normal)
def _beta_normal(p: Any, q: Any) -> Tensor:
    mean, square = p.mean, q.scale.pow(2)
    spread = mean * (1 - mean) / (p.concentration1 + p.concentration0 + 1)
    moment = (spread + mean.pow(2)) * 0.5 - q.loc * mean + q.loc.pow(2) * 0.5
    return -p.entropy() + 0.5 * (square * 2 * pi).log() + moment / square


@register_kl(Beta, Uniform)
def _beta_uniform(p: Any, q: Any) -> Tensor:
    result = -p.entropy() + (q.high - q.low).log()
    inside = p.support
    return result.masked_fill((q.low > inside.lower_bound) | (q.high < inside.upper_bound), inf)


@register_kl(ContinuousBernoulli, Exponential)
def _continuous_bernoulli_exponential(p: Any, q: Any) -> Tensor:
    return -p.entropy() - torch.log(q.rate) + q.rate * p.mean


@register_kl(ContinuousBernoulli, Normal)
def _continuous_bernoulli_normal(p: Any, q: Any) -> Tensor:
    norm = 0.5 * (math.log(2.0 * pi) + torch.square(q.loc / q.scale)) + torch.log(q.scale)
    moment = p.variance + torch.square(p.mean) - 2.0 * q.loc * p.mean
    return -p.entropy() + norm + moment / (2.0 * torch.square(q.scale))


@register_kl(ContinuousBernoulli, Uniform)
def _continuous_bernoulli_uniform(p: Any, q: Any) -> Tensor:
    result = -p.entropy() + (q.high - q.low).log()
    outside = (q.low >= p.support.lower_bound) | (q.high <= p.support.upper_bound)
    return torch.where(outside, torch.ones_like(result) * inf, result)


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Any, q: Any) -> Tensor:
    ratio, shape = q.rate / p.rate, q.concentration
    moved = -shape * torch.log(ratio) + ratio
    return moved + shape.lgamma() + shape * euler_constant - (1 + euler_constant)


@register_kl(Exponential, Gumbel)
def _exponential_gumbel(p: Any, q: Any) -> Tensor:
    scale, loc = p.rate * q.scale, q.loc / q.scale
    tail = torch.exp(loc) * scale / (scale + 1)
    return scale.log() - 1 - loc + tail + scale.reciprocal()


@register_kl(Exponential, Normal)
def _exponential_normal(p: Any, q: Any) -> Tensor:
    square, rates = q.scale.pow(2), p.rate.pow(2)
    norm = 0.5 * torch.log(rates * square * 2 * pi)
    moment = rates.reciprocal() - q.loc / p.rate + q.loc.pow(2) * 0.5
    return norm - 1 + moment / square


@register_kl(Gamma, Exponential)
def _gamma_exponential(p: Any, q: Any) -> Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.concentration / p.rate


@register_kl(Gamma, Gumbel)
def _gamma_gumbel(p: Any, q: Any) -> Tensor:
    shape, scale, loc = p.concentration, p.rate * q.scale, q.loc / q.scale
    own = (shape - 1) * shape.digamma() - shape.lgamma() - shape
    tail = torch.exp(loc) * (1 + scale.reciprocal()).pow(-shape) - loc
    return own + (scale.log() + shape / scale) + tail


@register_kl(Gamma, Normal)
def _gamma_normal(p: Any, q: Any) -> Tensor:
    shape, square, rates = p.concentration, q.scale.pow(2), p.rate.pow(2)
    norm = 0.5 * torch.log(rates * square * 2 * pi) - shape - shape.lgamma()
    moment = 0.5 * (shape.pow(2) + shape) / rates - q.loc * shape / p.rate + 0.5 * q.loc.pow(2)
    return norm + (shape - 1) * shape.digamma() + moment / square


@register_kl(Gumbel, Normal)
def _gumbel_normal(p: Any, q: Any) -> Tensor:
    ratio = p.scale / q.scale
    norm = (ratio / math.sqrt(2 * pi)).log()
    away = ((p.loc + p.scale * euler_constant - q.loc) / q.scale).pow(2) * 0.5
    return -norm + (pi * ratio * 0.5).pow(2) / 3 + away - (euler_constant + 1)


@register_kl(Laplace, Normal)
def _laplace_normal(p: Any, q: Any) -> Tensor:
    square = q.scale.pow(2)
    ratio = p.scale.pow(2) / square
    norm = 0.5 * torch.log(2 * ratio / pi)
    moment = 0.5 * p.loc.pow(2) - p.loc * q.loc + 0.5 * q.loc.pow(2)
    return -norm + ratio + moment / square - 1


@register_kl(Normal, Gumbel)
def _normal_gumbel(p: Any, q: Any) -> Tensor:
    ours, theirs, square = p.loc / q.scale, q.loc / q.scale, (p.scale / q.scale).pow(2)
    tail = torch.exp(-ours + 0.5 * square + theirs)
    return -(square.log() * 0.5) + (ours - theirs) + tail - (0.5 * (1 + math.log(2 * pi)))


@register_kl(Normal, Laplace)
def _normal_laplace(p: Any, q: Any) -> Tensor:
    apart = p.loc - q.loc
    steps = apart / p.scale
    near = math.sqrt(2 / pi) * p.scale * torch.exp(-0.5 * steps.pow(2))
    far = apart * torch.erf(math.sqrt(0.5) * steps)
    norm = torch.log(p.scale / q.scale)
    return -norm + (near + far) / q.scale - (0.5 * (1 + math.log(0.5 * pi)))


@register_kl(Pareto, Exponential)
def _pareto_exponential(p: Any, q: Any) -> Tensor:
    scale = p.scale * q.rate
    tail = p.alpha * scale / (p.alpha - 1)
    result = (p.alpha / scale).log() - p.alpha.reciprocal() + tail - 1
    return result.masked_fill(p.alpha <= 1, inf)


@register_kl(Pareto, Gamma)
def _pareto_gamma(p: Any, q: Any) -> Tensor:
    log_mean = p.scale.log() + p.alpha.reciprocal()
    norm = q.concentration.lgamma() - q.concentration * q.rate.log()
    power = (1 - q.concentration) * log_mean
    tail = q.rate * p.alpha * p.scale / (p.alpha - 1)
    result = (p.alpha.log() - log_mean) + norm + power + tail - 1
    return result.masked_fill(p.alpha <= 1, inf)


@register_kl(Pareto, Normal)
def _pareto_normal(p: Any, q: Any) -> Tensor:
    part = p.scale / (p.alpha - 1)
    norm = (math.sqrt(2 * pi) * q.scale * p.alpha / p.scale).log()
    spread = p.alpha * part.pow(2) / (p.alpha - 2)
    away = (p.alpha * part - q.loc).pow(2)
    result = norm - p.alpha.reciprocal() + (spread + away) / (2 * q.scale.pow(2)) - 1
    return result.masked_fill(p.alpha <= 2, inf)


@register_kl(Uniform, Beta)
def _uniform_beta(p: Any, q: Any) -> Tensor:
    width, one, zero = p.high - p.low, q.concentration1, q.concentration0
    up = _x_log_x(p.high) - _x_log_x(p.low)
    down = _x_log_x(1 - p.high) - _x_log_x(1 - p.low)
    norm = one.lgamma() + zero.lgamma() - (one + zero).lgamma()
    result = ((zero - 1) * (down + width) / width + norm - torch.log(width)
              - (one - 1) * (up - width) / width)
    outside = (p.high > q.support.upper_bound) | (p.low < q.support.lower_bound)
    return result.masked_fill(outside, inf)


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Any, q: Any) -> Tensor:
    result = q.rate * (p.high + p.low) / 2 - ((p.high - p.low) * q.rate).log()
    return result.masked_fill(p.low < q.support.lower_bound, inf)


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Any, q: Any) -> Tensor:
    width = p.high - p.low
    norm = q.concentration.lgamma() - q.concentration * q.rate.log()
    power = (1 - q.concentration) * (_x_log_x(p.high) - _x_log_x(p.low) - width) / width
    result = -width.log() + norm + power + q.rate * (p.high + p.low) / 2
    return result.masked_fill(p.low < q.support.lower_bound, inf)


@register_kl(Uniform, Gumbel)
def _uniform_gumbel(p: Any, q: Any) -> Tensor:
    scale = q.scale / (p.high - p.low)
    high, low = (p.high - q.loc) / q.scale, (p.low - q.loc) / q.scale
    return (scale.log() + 0.5 * (high + low)) - scale * (torch.exp(-high) - torch.exp(-low))


@register_kl(Uniform, Normal)
def _uniform_normal(p: Any, q: Any) -> Tensor:
    width = p.high - p.low
    norm = (math.sqrt(pi * 2) * q.scale / width).log()
    away = ((p.high + p.low - 2 * q.loc) / 2).pow(2)
    return norm + 0.5 * (width.pow(2) / 12 + away) / q.scale.pow(2)


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Any, q: Any) -> Tensor:
    width = p.high - p.low
    norm = (q.alpha * q.scale.pow(q.alpha) * width).log()
    log_mean = (_x_log_x(p.high) - _x_log_x(p.low) - width) / width
    return (log_mean * (q.alpha + 1) - norm).masked_fill(p.low < q.support.lower_bound, inf)
