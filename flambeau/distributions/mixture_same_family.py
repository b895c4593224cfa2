"""Mixtures of distributions of one family."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.modes import no_grad
from flambeau.base.shapes import Size
from flambeau.core.tensor import Tensor
from flambeau.distributions import constraints
from flambeau.distributions.categorical import Categorical
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import torch

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """One of several components, which ``mixture_distribution`` picks.

    They lie along the last batch dimension of ``component_distribution``.

    >>> import flambeau as torch
    >>> D = torch.distributions
    >>> normals = D.Normal(torch.tensor([0.0, 4.0]), torch.ones(2))
    >>> D.MixtureSameFamily(D.Categorical(torch.ones(2)), normals).mean
    tensor(2.)
    """

    arg_constraints: Any = {}
    has_rsample = False

    def __init__(self, mixture_distribution: Categorical, component_distribution: Distribution,
                 validate_args: bool | None = None) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(" The Mixture distribution needs to be an  instance of "
                             "torch.distributions.Categorical")
        if not isinstance(component_distribution, Distribution):
            raise ValueError("The Component distribution needs to be an instance of "
                             "torch.distributions.Distribution")
        _require_match(mixture_distribution, component_distribution)
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        self._num_component = mixture_distribution.logits.shape[-1]
        event = component_distribution.event_shape
        self._event_ndims = len(event)
        super().__init__(component_distribution.batch_shape[:-1], event,
                         validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> MixtureSameFamily:
        new = self._get_checked_instance(MixtureSameFamily, _instance)
        shape = Size(batch_shape)
        parts = (*shape, self._num_component)
        new._component_distribution = self._component_distribution.expand(parts)
        new._mixture_distribution = self._mixture_distribution.expand(shape)
        new._num_component, new._event_ndims = self._num_component, self._event_ndims
        return self._expanded(MixtureSameFamily, shape, new, "")

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    @property
    def mixture_distribution(self) -> Categorical:
        """The distribution over the components."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """The components, along the last batch dimension."""
        return self._component_distribution

    def _weighed(self, values: Tensor) -> Tensor:
        chances = self._pad_mixture_dimensions(self.mixture_distribution.probs)
        return torch.sum(chances * values, dim=-1 - self._event_ndims)

    @property
    def mean(self) -> Tensor:
        return self._weighed(self.component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        parts = self.component_distribution
        within = self._weighed(parts.variance)
        return within + self._weighed((parts.mean - self._pad(self.mean)).pow(2.0))

    def cdf(self, x: Tensor) -> Tensor:
        found = self.component_distribution.cdf(self._pad(x))
        return torch.sum(found * self.mixture_distribution.probs, dim=-1)

    def log_prob(self, x: Tensor) -> Tensor:
        self._checked(x)
        found = self.component_distribution.log_prob(self._pad(x))
        chances = torch.log_softmax(self.mixture_distribution.logits, dim=-1)
        return torch.logsumexp(found + chances, dim=-1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            at = len(sample_shape) + len(self.batch_shape)
            event = self.event_shape
            picked = self.mixture_distribution.sample(sample_shape)
            drawn = self.component_distribution.sample(sample_shape)
            index = picked.reshape(picked.shape + (1,) * (len(event) + 1))
            index = index.repeat((1,) * (picked.dim() + 1) + tuple(event))
            return torch.gather(drawn, at, index).squeeze(at)

    def _pad(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1 - self._event_ndims)

    def _pad_mixture_dimensions(self, x: Tensor) -> Tensor:
        own, shape = len(self.mixture_distribution.batch_shape), tuple(x.shape)
        more = 0 if own == 1 else len(self.batch_shape) - own
        return x.reshape(shape[:-1] + (1,) * more + shape[-1:] + (1,) * self._event_ndims)

    def __repr__(self) -> str:
        return (f"MixtureSameFamily(\n  {self.mixture_distribution},\n"
                f"  {self.component_distribution})")


def _require_match(mixture: Categorical, component: Distribution) -> None:
    """ValueError unless the batch shapes broadcast and there is a chance per component."""
    ours, theirs = mixture.batch_shape, component.batch_shape[:-1]
    for a, b in zip(reversed(ours), reversed(theirs)):
        if a != 1 and b != 1 and a != b:
            raise ValueError(f"`mixture_distribution.batch_shape` ({ours}) is not compatible with "
                             f"`component_distribution.batch_shape`({theirs})")
    chances, count = mixture.logits.shape[-1], component.batch_shape[-1]
    if chances != count:
        raise ValueError(f"`mixture_distribution component` ({chances}) does not equal "
                         f"`component_distribution.batch_shape[-1]` ({count})")
