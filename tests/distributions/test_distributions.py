"""Distributions against their own definitions, without PyTorch."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd.gradcheck import gradcheck
from flambeau.distributions import (
    Bernoulli,
    Beta,
    Categorical,
    Dirichlet,
    ExpTransform,
    Gamma,
    Gumbel,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    Poisson,
    TanhTransform,
    TransformedDistribution,
    Uniform,
    constraints,
    kl_divergence,
    register_kl,
    transform_to,
)
from tests.distributions.cases import CASES

DISCRETE = ["bernoulli", "binomial", "categorical", "one_hot"]
# (a distribution with a density on the line, the ends of nearly all its mass)
ON_A_LINE = {
    "beta": (Beta(2.0, 3.5), 0, 1), "gamma": (Gamma(2.5, 1.5), 0, 30),
    "normal": (Normal(1.0, 2.0), -30, 30),
    "student": (torch.distributions.StudentT(8.0), -200, 200),
    "weibull": (torch.distributions.Weibull(1.5, 2.0), 0, 20),
    "gumbel": (Gumbel(1.0, 2.0), -15, 80),
    "kumaraswamy": (torch.distributions.Kumaraswamy(2.0, 3.0), 0, 1),
    "von_mises": (torch.distributions.VonMises(torch.tensor(0.5), torch.tensor(2.0)),
                  -np.pi, np.pi),
    "generalized_pareto": (torch.distributions.GeneralizedPareto(0.0, 1.0, -0.3), 0, 3.33),
    "inverse_gamma": (torch.distributions.InverseGamma(6.0, 2.0), 0, 60),
    "continuous_bernoulli": (torch.distributions.ContinuousBernoulli(torch.tensor(0.2)), 0, 1),
}


@pytest.mark.parametrize("name", ON_A_LINE)
def test_density_integrates_to_one_and_gives_the_moments(name: str) -> None:
    d, low, high = ON_A_LINE[name]
    edges = np.linspace(low, high, 200_001)
    x = torch.tensor((edges[1:] + edges[:-1]) / 2)
    step = edges[1] - edges[0]
    d._validate_args = False
    density = d.log_prob(x).exp().double()
    assert float(density.sum() * step) == pytest.approx(1, abs=1e-3)
    if name != "von_mises":  # its variance is the circular one
        mean = float((density * x).sum() * step)
        assert float(d.mean) == pytest.approx(mean, abs=1e-2)
        spread = float((density * (x - mean) ** 2).sum() * step)
        assert float(d.variance) == pytest.approx(spread, rel=2e-2)


@pytest.mark.parametrize("name", DISCRETE)
def test_chances_of_the_support_sum_to_one(name: str) -> None:
    d = CASES[name](torch)[0]
    total = d.log_prob(d.enumerate_support()).exp().sum(0)
    np.testing.assert_allclose(total.detach().numpy(), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["normal", "gumbel", "laplace", "cauchy", "uniform", "pareto",
                                  "weibull", "half_normal", "kumaraswamy"])
def test_icdf_inverts_cdf(name: str) -> None:
    d = CASES[name](torch)[0]
    chance = torch.full(d.batch_shape, 0.3)
    np.testing.assert_allclose(d.cdf(d.icdf(chance)).detach().numpy(), 0.3, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_draws_lie_in_the_support_and_survive_copies(name: str) -> None:
    d = CASES[name](torch)[0]
    if name != "wishart":  # it warns as PyTorch does
        drawn = d.sample((20,))
        assert drawn.shape == (20, *d.batch_shape, *d.event_shape)
        assert not drawn.requires_grad
        # rounding leaves the simplex and the unit rows by more than the constraint allows
        assert name.startswith(("lkj", "dirichlet", "relaxed", "logistic")) or bool(
            d.support.check(drawn).all())
    assert repr(copy.copy(d)) == repr(d)


def test_pickle_keeps_a_distribution() -> None:
    kept = pickle.loads(pickle.dumps(Independent(Normal(torch.zeros(2), torch.ones(2)), 1)))
    assert float(kept.log_prob(torch.zeros(2))) == pytest.approx(-1.8378771)


def test_gradients_of_densities() -> None:
    x = torch.tensor([0.2, 0.5], dtype=torch.float64, requires_grad=True)
    a = torch.tensor([1.5, 3.0], dtype=torch.float64, requires_grad=True)
    for make in (Normal, Gamma, torch.distributions.StudentT, torch.distributions.Weibull):
        assert gradcheck(lambda x, a, make=make: make(a, a + 0.5).log_prob(x), (x, a))
    assert gradcheck(lambda x, a: Beta(a, a + 0.5).log_prob(x), (x, a))


def test_dirichlet_gradient_is_that_of_the_mean() -> None:
    torch.manual_seed(0)
    a = torch.tensor([0.5, 2.0, 4.0], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    (drawn,) = torch.autograd.grad((Dirichlet(a).rsample((10_000,)).mean(0) * weights).sum(), a)
    (exact,) = torch.autograd.grad((Dirichlet(a).mean * weights).sum(), a)
    np.testing.assert_allclose(drawn.numpy(), exact.numpy(), atol=1.5e-2)


@pytest.mark.parametrize(("x", "a", "b"), [(0.3, 2.0, 3.0), (0.9, 0.4, 0.2), (0.02, 30.0, 400.0)])
def test_marginal_slope_keeps_the_probability(x: float, a: float, b: float) -> None:
    special = pytest.importorskip("scipy.special")
    step = 1e-5 * a
    by_shape = (special.betainc(a + step, b, x) - special.betainc(a - step, b, x)) / (2 * step)
    density = x ** (a - 1) * (1 - x) ** (b - 1) / special.beta(a, b)
    found = torch._dirichlet_grad(*[torch.tensor([v], dtype=torch.float64) for v in (x, a, a + b)])
    assert float(found) == pytest.approx(-by_shape / density / (1 - x), rel=1e-4)


def test_divergence_is_the_mean_log_ratio() -> None:
    torch.manual_seed(1)
    pairs = [(Normal(0.0, 1.0), Normal(1.0, 2.0)), (Gamma(2.0, 1.0), Gamma(3.0, 2.0)),
             (Beta(2.0, 3.0), Beta(1.0, 1.5)), (Normal(0.3, 0.7), Gumbel(0.0, 1.0)),
             (Uniform(0.0, 1.0), Normal(0.0, 1.0)), (Poisson(3.0), Poisson(2.0))]
    for p, q in pairs:
        drawn = p.sample((20_000,))
        mean = float((p.log_prob(drawn) - q.log_prob(drawn)).mean())
        assert float(kl_divergence(p, q)) == pytest.approx(mean, abs=0.04)


def test_divergence_of_infinite_and_unknown_pairs() -> None:
    assert float(kl_divergence(Normal(0.0, 1.0), Uniform(0.0, 1.0))) == float("inf")
    with pytest.raises(NotImplementedError, match="p type Uniform and q type Poisson"):
        kl_divergence(Uniform(0.0, 1.0), Poisson(1.0))


def test_ambiguous_divergence_warns() -> None:
    class Mine(Normal):
        pass

    register_kl(Mine, Normal)(lambda p, q: torch.tensor(1.0))
    register_kl(Normal, Mine)(lambda p, q: torch.tensor(2.0))
    with pytest.warns(RuntimeWarning, match=r"Please register_kl\(Mine, Mine\)"):
        assert float(kl_divergence(Mine(0.0, 1.0), Mine(0.0, 1.0))) == 1
    register_kl(Mine, Mine)(lambda p, q: torch.tensor(3.0))
    assert float(kl_divergence(Mine(0.0, 1.0), Mine(0.0, 1.0))) == 3


def test_low_rank_is_the_full_normal() -> None:
    factor, diagonal = torch.tensor([[1.0], [0.5], [-2.0]]), torch.tensor([0.5, 1.0, 2.0])
    low = LowRankMultivariateNormal(torch.zeros(3), factor, diagonal)
    full = MultivariateNormal(torch.zeros(3), low.covariance_matrix)
    x = torch.tensor([0.3, -1.0, 2.0])
    assert float(low.log_prob(x)) == pytest.approx(float(full.log_prob(x)), rel=1e-5)
    assert float(low.entropy()) == pytest.approx(float(full.entropy()), rel=1e-5)
    assert float(kl_divergence(low, full)) == pytest.approx(0, abs=1e-5)


def test_cached_transform_gives_back_the_input() -> None:
    x = torch.tensor([20.0])  # tanh rounds it to 1, which has no inverse
    cached = TanhTransform(cache_size=1)
    assert cached.inv(cached(x)) is x
    plain = TanhTransform()
    assert float(plain.inv(plain(x))) == float("inf")


def test_a_subclass_with_its_own_init_must_expand_itself() -> None:
    class Mine(TransformedDistribution):
        def __init__(self) -> None:
            super().__init__(Normal(0.0, 1.0), ExpTransform())

    with pytest.raises(NotImplementedError, match=r"must also define a custom .expand\(\) method"):
        Mine().expand((2,))


def test_lazy_parameters_keep_their_gradient_without_grad_mode() -> None:
    logits = torch.zeros(2, requires_grad=True)
    with torch.no_grad():
        d = Bernoulli(logits=logits)
        assert d.probs.requires_grad


@pytest.mark.parametrize(("make", "told"), [
    (lambda: Normal(0.0, -1.0), "Expected parameter scale"),
    (lambda: Categorical(torch.tensor([-1.0, 2.0])), "Expected parameter probs"),
    (lambda: Bernoulli(0.5).log_prob(torch.tensor(2.0)), "to be within the support"),
    (lambda: Normal(torch.zeros(3), 1.0).log_prob(torch.zeros(2)), "not broadcastable"),
    (lambda: Dirichlet(torch.tensor(1.0)), "at least one-dimensional"),
])
def test_bad_values_are_refused(make: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()


def test_checks_can_be_turned_off() -> None:
    assert Normal(0.0, -1.0, validate_args=False).scale == -1


@pytest.mark.parametrize("constraint", [
    constraints.positive, constraints.unit_interval, constraints.simplex, constraints.less_than(1),
    constraints.lower_cholesky, constraints.positive_definite, constraints.interval(-1.0, 2.0)])
def test_transform_to_reaches_the_constraint(constraint: Any) -> None:
    torch.manual_seed(2)
    values = transform_to(constraint)(torch.randn(3, 3))
    assert bool(constraint.check(values).all())
