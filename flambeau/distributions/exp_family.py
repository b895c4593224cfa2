"""Exponential families: the entropy follows from the log normalizer (Nielsen and Nock, 2010)."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.backward import grad
from flambeau.core.tensor import Tensor
from flambeau.distributions.distribution import Distribution

__all__ = ["ExponentialFamily"]


class ExponentialFamily(Distribution):
    """A distribution with density ``exp(<t(x), theta> - F(theta) + k(x))``."""

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise NotImplementedError

    # Each family names its own parameters; the types leave that open.
    def _log_normalizer(self, *natural_params: Any, **named: Any) -> Tensor:
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self) -> Any:
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The Bregman divergence of the log normalizer."""
        result = -self._mean_carrier_measure
        params = [p.detach().requires_grad_() for p in self._natural_params]
        log_normal = self._log_normalizer(*params)
        gradients = grad(log_normal.sum(), params, create_graph=True)
        result = result + log_normal
        for param, g in zip(params, gradients):
            result = result - (param * g).reshape((*self._batch_shape, -1)).sum(-1)
        return result
