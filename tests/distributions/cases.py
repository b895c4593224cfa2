"""Distributions to compare, each as a function of the module ``torch``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

POSITIVE = [[0.3, 1.0, 2.5], [4.0, 0.7, 9.0]]
REAL = [[-1.0, 0.0, 2.0], [0.5, -3.0, 1.5]]
CHANCES = [[0.1, 0.5, 0.8], [0.25, 0.9, 0.4]]
SPD = [[2.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 1.5]]
LOWER = [[1.5, 0.0, 0.0], [0.3, 1.0, 0.0], [-0.2, 0.4, 0.8]]


def leaf(t: Any, values: Any) -> Any:
    return t.tensor(values, requires_grad=True)



def _build(name: str, **values: Any) -> Callable:
    """``name`` with leaf tensors of lists and other values as they are."""
    def make(t: Any) -> tuple[Any, list]:
        given = {k: leaf(t, v) if isinstance(v, list) else v for k, v in values.items()}
        leaves = [v for k, v in given.items() if isinstance(values[k], list)]
        return getattr(t.distributions, name)(**given), leaves
    return make


def _independent(t: Any) -> tuple[Any, list]:
    loc, scale = leaf(t, REAL), leaf(t, POSITIVE)
    return t.distributions.Independent(t.distributions.Normal(loc, scale), 1), [loc, scale]


def _transformed(t: Any) -> tuple[Any, list]:
    d, loc, scale = t.distributions, leaf(t, REAL), leaf(t, POSITIVE)
    chain = [d.AffineTransform(loc, scale), d.SigmoidTransform(), d.AffineTransform(1.0, -2.0)]
    return d.TransformedDistribution(d.Normal(0.0, 1.0), chain), [loc, scale]


def _mixture(t: Any) -> tuple[Any, list]:
    d, loc, scale = t.distributions, leaf(t, REAL), leaf(t, POSITIVE)
    picked = d.Categorical(t.tensor(CHANCES))
    return d.MixtureSameFamily(picked, d.Normal(loc, scale)), [loc, scale]


def _mixture_of_vectors(t: Any) -> tuple[Any, list]:
    d, loc, scale = t.distributions, leaf(t, REAL), leaf(t, POSITIVE)
    parts = d.Independent(d.Normal(loc, scale), 1)
    return d.MixtureSameFamily(d.Categorical(t.tensor([0.3, 0.7])), parts), [loc, scale]


def _relaxed(name: str, **values: Any) -> Callable:
    def make(t: Any) -> tuple[Any, list]:
        temperature = leaf(t, 0.7)
        given = {k: leaf(t, v) for k, v in values.items()}
        found = getattr(t.distributions, name)(temperature, **given)
        return found, [temperature, *given.values()]
    return make


CASES: dict[str, Callable] = {
    "bernoulli": _build("Bernoulli", probs=CHANCES),
    "bernoulli_logits": _build("Bernoulli", logits=REAL),
    "bernoulli_number": _build("Bernoulli", probs=0.3),
    "beta": _build("Beta", concentration1=POSITIVE, concentration0=[2.0, 0.5, 7.0]),
    "beta_numbers": _build("Beta", concentration1=2, concentration0=3.0),
    "binomial": _build("Binomial", total_count=5, probs=CHANCES),
    "binomial_logits": _build("Binomial", total_count=5, logits=REAL),
    "categorical": _build("Categorical", probs=POSITIVE),
    "categorical_logits": _build("Categorical", logits=REAL),
    "cauchy": _build("Cauchy", loc=REAL, scale=POSITIVE),
    "chi2": _build("Chi2", df=POSITIVE),
    "continuous_bernoulli": _build("ContinuousBernoulli", probs=CHANCES),
    "continuous_bernoulli_logits": _build("ContinuousBernoulli", logits=REAL),
    "dirichlet": _build("Dirichlet", concentration=POSITIVE),
    "exponential": _build("Exponential", rate=POSITIVE),
    "fisher_snedecor": _build("FisherSnedecor", df1=POSITIVE, df2=[5.0, 1.0, 3.0]),
    "gamma": _build("Gamma", concentration=POSITIVE, rate=[2.0, 0.5, 7.0]),
    "generalized_pareto": _build("GeneralizedPareto", loc=REAL, scale=POSITIVE,
                                 concentration=[0.0, 0.2, -0.4]),
    "geometric": _build("Geometric", probs=CHANCES),
    "geometric_logits": _build("Geometric", logits=REAL),
    "gumbel": _build("Gumbel", loc=REAL, scale=POSITIVE),
    "half_cauchy": _build("HalfCauchy", scale=POSITIVE),
    "half_normal": _build("HalfNormal", scale=POSITIVE),
    "independent": _independent,
    "inverse_gamma": _build("InverseGamma", concentration=POSITIVE, rate=[2.0, 0.5, 7.0]),
    "kumaraswamy": _build("Kumaraswamy", concentration1=POSITIVE,
                          concentration0=[2.0, 0.5, 7.0]),
    "laplace": _build("Laplace", loc=REAL, scale=POSITIVE),
    "lkj_cholesky": _build("LKJCholesky", dim=3, concentration=[0.5, 2.0]),
    "log_normal": _build("LogNormal", loc=REAL, scale=CHANCES),
    "logistic_normal": _build("LogisticNormal", loc=REAL, scale=POSITIVE),
    "low_rank": _build("LowRankMultivariateNormal", loc=REAL,
                       cov_factor=[[1.0], [0.5], [-0.3]], cov_diag=[0.5, 1.0, 2.0]),
    "mixture": _mixture,
    "mixture_of_vectors": _mixture_of_vectors,
    "multinomial": _build("Multinomial", total_count=6, probs=CHANCES),
    "multivariate_covariance": _build("MultivariateNormal", loc=REAL, covariance_matrix=SPD),
    "multivariate_precision": _build("MultivariateNormal", loc=REAL, precision_matrix=SPD),
    "multivariate_tril": _build("MultivariateNormal", loc=[0.0, 1.0, 2.0],
                                scale_tril=[LOWER, LOWER]),
    "negative_binomial": _build("NegativeBinomial", total_count=3, probs=CHANCES),
    "normal": _build("Normal", loc=REAL, scale=POSITIVE),
    "normal_numbers": _build("Normal", loc=0.0, scale=2.0),
    "one_hot": _build("OneHotCategorical", probs=POSITIVE),
    "one_hot_straight": _build("OneHotCategoricalStraightThrough", logits=REAL),
    "pareto": _build("Pareto", scale=POSITIVE, alpha=[3.0, 1.0, 2.5]),
    "poisson": _build("Poisson", rate=POSITIVE),
    "relaxed_bernoulli": _relaxed("RelaxedBernoulli", probs=CHANCES),
    "relaxed_one_hot": _relaxed("RelaxedOneHotCategorical", logits=REAL),
    "student_t": _build("StudentT", df=[0.5, 1.5, 6.0], loc=REAL, scale=POSITIVE),
    "transformed": _transformed,
    "uniform": _build("Uniform", low=REAL, high=[[2.0, 1.0, 2.5], [1.0, 0.0, 4.0]]),
    "von_mises": _build("VonMises", loc=REAL, concentration=POSITIVE),
    "weibull": _build("Weibull", scale=POSITIVE, concentration=[2.0, 0.5, 7.0]),
    "wishart": _build("Wishart", df=[4.0, 6.0], covariance_matrix=SPD),
}
