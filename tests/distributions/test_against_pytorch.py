"""Every distribution: draws, densities, moments, divergences and gradients as PyTorch's."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import flambeau
from tests.distributions.cases import CASES

pytestmark = pytest.mark.parity
torch = pytest.importorskip("torch")

SHAPES = [(), (4,), (2, 3)]
MOMENTS = ["mean", "mode", "variance", "stddev", "batch_shape", "event_shape", "has_rsample",
           "has_enumerate_support"]
METHODS = ["entropy", "perplexity"]
# PyTorch approximates these gradients, by up to 1e-3
IMPLICIT = {"beta", "beta_numbers", "dirichlet", "gamma", "chi2", "fisher_snedecor",
            "inverse_gamma", "student_t", "lkj_cholesky", "wishart"}


@pytest.fixture(autouse=True)
def arguments_are_checked() -> None:
    """PyTorch stops checking them in a process where something was compiled."""
    torch.distributions.Distribution.set_default_validate_args(True)


def outcome(action: Any) -> Any:
    """What ``action`` gives as plain values, or its error's type and first line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = action()
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        return type(error).__name__, first.replace("flambeau", "torch")
    return found.detach().numpy() if hasattr(found, "detach") else found


def same(ours: Any, theirs: Any, what: str, rtol: float = 2e-5, atol: float = 2e-6) -> None:
    if isinstance(theirs, np.ndarray):
        assert isinstance(ours, np.ndarray), f"{what}: {ours} for {theirs}"
        assert ours.dtype == theirs.dtype, f"{what}: {ours.dtype} for {theirs.dtype}"
        assert ours.shape == theirs.shape, f"{what}: {ours.shape} for {theirs.shape}"
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol, err_msg=what)
    elif isinstance(theirs, tuple) and not hasattr(theirs, "numel"):
        assert ours == theirs, what
    else:
        assert repr(ours).replace("flambeau", "torch") == repr(theirs), what


def pair(name: str) -> list:
    return [(t, *CASES[name](t)) for t in (flambeau, torch)]


@pytest.mark.parametrize("name", CASES)
def test_draws_and_densities(name: str) -> None:
    for shape in SHAPES:
        drawn = []
        for t, d, _ in pair(name):
            t.manual_seed(7)
            drawn.append(outcome(lambda d=d, shape=shape: d.sample(shape)))
        same(*drawn, f"sample {shape}")
        for method in ("log_prob", "cdf"):
            found = [outcome(lambda d=d, t=t, m=method, v=drawn[1]: getattr(d, m)(t.tensor(v)))
                     for t, d, _ in pair(name)]
            same(*found, f"{method} {shape}")


@pytest.mark.parametrize("name", CASES)
def test_moments(name: str) -> None:
    (_, ours, _), (_, theirs, _) = pair(name)
    same(ours, theirs, "repr")
    for attribute in MOMENTS:
        same(outcome(lambda a=attribute: getattr(ours, a)),
             outcome(lambda a=attribute: getattr(theirs, a)), attribute)
    for method in METHODS:
        same(outcome(getattr(ours, method)), outcome(getattr(theirs, method)), method)
    for expand in (True, False):
        same(outcome(lambda e=expand: ours.enumerate_support(e)),
             outcome(lambda e=expand: theirs.enumerate_support(e)), "enumerate_support")
    same(outcome(lambda: ours.icdf(flambeau.tensor([0.1, 0.5, 0.7]))),
         outcome(lambda: theirs.icdf(torch.tensor([0.1, 0.5, 0.7]))), "icdf")
    same(repr(outcome(lambda: ours.support)), repr(outcome(lambda: theirs.support)), "support")
    same(repr(outcome(lambda: ours.arg_constraints)),
         repr(outcome(lambda: theirs.arg_constraints)), "arg_constraints")


@pytest.mark.parametrize("name", CASES)
def test_expanded(name: str) -> None:
    found = []
    for t, d, _ in pair(name):
        wide = d.expand((3, *d.batch_shape))
        t.manual_seed(3)
        drawn = wide.sample((2,))
        found.append([repr(wide).replace("flambeau", "torch"), outcome(lambda d=drawn: d),
                      outcome(lambda w=wide, d=drawn: w.log_prob(d)),
                      outcome(lambda w=wide: w.mean),
                      type(wide).__name__, tuple(wide.batch_shape)])
    for ours, theirs in zip(*found, strict=True):
        same(ours, theirs, "expanded")


@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str) -> None:
    found = []
    for t, d, leaves in pair(name):
        t.manual_seed(11)
        if d.has_rsample and leaves and name != "wishart":  # PyTorch's redraws break its gradient
            value = d.rsample((5,))
            weights = t.arange(value.numel(), dtype=value.dtype).reshape(value.shape).cos()
            drawn = t.autograd.grad((value * weights).sum(), leaves, retain_graph=True,
                                    allow_unused=True)
        else:
            drawn = []
        value = d.sample((5,))
        density = outcome(lambda d=d, v=value: d.log_prob(v))
        if isinstance(density, np.ndarray) and leaves:
            drawn = [*drawn, *t.autograd.grad(d.log_prob(value).sum(), leaves, allow_unused=True)]
        found.append([outcome(lambda g=g: g) for g in drawn])
    rtol, atol = (3e-3, 1e-2) if name in IMPLICIT else (1e-4, 1e-5)
    for index, (ours, theirs) in enumerate(zip(*found, strict=True)):
        same(ours, theirs, f"gradient {index}", rtol, atol)


def test_divergences_of_all_pairs() -> None:
    ours = {name: CASES[name](flambeau)[0] for name in CASES}
    theirs = {name: CASES[name](torch)[0] for name in CASES}
    for p in CASES:
        for q in CASES:
            expected = outcome(lambda p=p, q=q: torch.distributions.kl_divergence(
                theirs[p], theirs[q]))
            if isinstance(expected, tuple) and expected[0] == "IndexError":
                continue  # PyTorch's masks do not broadcast
            found = outcome(lambda p=p, q=q: flambeau.distributions.kl_divergence(
                ours[p], ours[q]))
            same(found, expected, f"kl({p}, {q})", 1e-4, 1e-5)


def test_registered_pairs_are_the_same() -> None:
    from torch.distributions.kl import _KL_REGISTRY as theirs

    from flambeau.distributions.kl import _KL_REGISTRY as ours

    def names(registry: dict) -> set:
        # Other tests may have registered classes of their own.
        return {(p.__name__, q.__name__) for p, q in registry
                if all("tests." not in kind.__module__ for kind in (p, q))}

    assert names(ours) == names(theirs)


BAD = {
    "scale": lambda t: t.distributions.Normal(0.0, -1.0),
    "nan": lambda t: t.distributions.Normal(float("nan"), 1.0),
    "simplex": lambda t: t.distributions.Categorical(t.tensor([-1.0, 0.5])),
    "both": lambda t: t.distributions.Bernoulli(0.5, 0.5),
    "neither": lambda t: t.distributions.Geometric(),
    "zero": lambda t: t.distributions.Geometric(t.tensor([0.0, 0.5])),
    "uniform": lambda t: t.distributions.Uniform(2.0, 1.0),
    "scalar": lambda t: t.distributions.Categorical(t.tensor(0.5)),
    "support": lambda t: t.distributions.Bernoulli(0.5).log_prob(t.tensor(2.0)),
    "event": lambda t: t.distributions.Dirichlet(t.ones(3)).log_prob(t.ones(2)),
    "broadcast": lambda t: t.distributions.Normal(t.zeros(3), 1.0).log_prob(t.ones(2)),
    "not a tensor": lambda t: t.distributions.Normal(0.0, 1.0).log_prob(1.0),
    "string": lambda t: t.distributions.Normal("a", 1.0),
    "covariance": lambda t: t.distributions.MultivariateNormal(t.zeros(2), -t.eye(2)),
    "no matrix": lambda t: t.distributions.MultivariateNormal(t.zeros(2)),
    "lkj": lambda t: t.distributions.LKJCholesky(1),
    "wishart": lambda t: t.distributions.Wishart(t.tensor(0.5), t.eye(2)),
    "independent": lambda t: t.distributions.Independent(t.distributions.Normal(0.0, 1.0), 1),
    "transform": lambda t: t.distributions.TransformedDistribution(
        t.distributions.Normal(0.0, 1.0), 3),
    "total": lambda t: t.distributions.Multinomial(t.tensor(3), t.ones(2)),
    "no rsample": lambda t: t.distributions.Poisson(1.0).rsample(),
    "no registry": lambda t: t.distributions.biject_to(t.distributions.constraints.boolean),
    "cache": lambda t: t.distributions.ExpTransform(cache_size=2),
    "low rank": lambda t: t.distributions.LowRankMultivariateNormal(
        t.zeros(2), t.ones(3, 1), t.ones(2)),
}


@pytest.mark.parametrize("name", BAD)
def test_errors(name: str) -> None:
    same(outcome(lambda: BAD[name](flambeau)), outcome(lambda: BAD[name](torch)), name)


def transforms(t: Any) -> dict[str, Any]:
    d = t.distributions
    return {
        "abs": (d.AbsTransform(), (3,)), "exp": (d.ExpTransform(), (3,)),
        "affine": (d.AffineTransform(t.tensor([1.0, 2.0, 3.0]), -2.0), (2, 3)),
        "affine event": (d.AffineTransform(1.0, t.tensor([1.0, -2.0, 3.0]), event_dim=1), (2, 3)),
        "compose": (d.ComposeTransform([d.ExpTransform(), d.PowerTransform(t.tensor(2.0)),
                                        d.SigmoidTransform()]), (3,)),
        "corr": (d.CorrCholeskyTransform(), (2, 6)),
        "cdf": (d.CumulativeDistributionTransform(d.Normal(0.0, 1.0)), (3,)),
        "independent": (d.IndependentTransform(d.TanhTransform(), 1), (2, 3)),
        "lower": (d.LowerCholeskyTransform(), (2, 3, 3)),
        "positive definite": (d.PositiveDefiniteTransform(), (3, 3)),
        "reshape": (d.ReshapeTransform((6,), (2, 3)), (2, 6)),
        "sigmoid": (d.SigmoidTransform(cache_size=1), (3,)),
        "softplus": (d.SoftplusTransform(), (3,)), "softmax": (d.SoftmaxTransform(), (2, 3)),
        "tanh": (d.TanhTransform(), (3,)), "stick": (d.StickBreakingTransform(), (2, 3)),
        "cat": (d.CatTransform([d.ExpTransform(), d.TanhTransform()], 1, [1, 2]), (2, 3)),
        "stack": (d.StackTransform([d.ExpTransform(), d.TanhTransform()], 0), (2, 3)),
        "identity": (d.identity_transform, (3,)),
        "positive": (d.transform_to(d.constraints.greater_than(2.0)), (3,)),
        "interval": (d.biject_to(d.constraints.interval(-1.0, 3.0)), (3,)),
        "simplex": (d.transform_to(d.constraints.simplex), (3,)),
    }


@pytest.mark.parametrize("name", transforms(torch))
def test_transforms(name: str) -> None:
    found = []
    for t in (flambeau, torch):
        transform, shape = transforms(t)[name]
        t.manual_seed(5)
        x = t.randn(shape)
        y = transform(x)
        again = transforms(t)[name][0]
        inverse = transform.inv
        found.append([outcome(action) for action in (
            lambda y=y: y, lambda i=inverse, y=y: i(y),
            lambda f=transform, x=x, y=y: f.log_abs_det_jacobian(x, y),
            lambda i=inverse, x=x, y=y: i.log_abs_det_jacobian(y, x),
            lambda f=transform: repr(f), lambda i=inverse: repr(i), lambda f=transform: f.bijective,
            lambda f=transform: f.sign, lambda f=transform: f.event_dim,
            lambda f=transform: repr(f.domain), lambda f=transform: repr(f.codomain),
            lambda f=transform, s=shape: tuple(f.forward_shape(s)),
            lambda f=transform, y=y: tuple(f.inverse_shape(y.shape)),
            lambda f=transform, a=again: f == a, lambda f=transform: f.inv.inv is f,
            lambda f=transform: f.with_cache()._cache_size)])
    for index, (ours, theirs) in enumerate(zip(*found, strict=True)):
        same(ours, theirs, f"{name} {index}", 1e-4, 1e-5)
