"""The Kullback-Leibler divergence between distributions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from flambeau.core.tensor import Tensor
from flambeau.distributions.distribution import Distribution

__all__ = ["kl_divergence", "register_kl"]

_KL_REGISTRY: dict[tuple[type, type], Callable] = {}
_KL_MEMOIZE: dict[tuple[type, type], Any] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Callable], Callable]:
    """A decorator: the function computes ``kl_divergence(p, q)`` for those classes and subclasses.

    The most specific pair is used. Where the order of the arguments decides which that is,
    RuntimeWarning says which pair to register.

    >>> import flambeau as torch
    >>> D = torch.distributions
    >>> class Mine(D.Normal): pass
    >>> @D.register_kl(Mine, D.Normal)
    ... def kl(p, q): return torch.zeros(())
    >>> D.kl_divergence(Mine(0.0, 1.0), D.Normal(3.0, 1.0))
    tensor(0.)
    """
    for name, kind in (("type_p", type_p), ("type_q", type_q)):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {kind}")

    def hold(function: Callable) -> Callable:
        _KL_REGISTRY[type_p, type_q] = function
        _KL_MEMOIZE.clear()
        return function

    return hold


def _most_specific(pairs: list[tuple[type, type]], first: int) -> tuple[type, type]:
    """Of ``pairs`` the one whose class at ``first``, then whose other class, is lowest."""
    def below(a: tuple[type, type], b: tuple[type, type]) -> bool:
        for at in (first, 1 - first):
            if not issubclass(a[at], b[at]):
                return False
            if a[at] is not b[at]:
                return True
        return False

    best = pairs[0]
    for pair in pairs[1:]:
        if below(pair, best):
            best = pair
    return best


def _dispatch_kl(type_p: type, type_q: type) -> Any:
    """The function for two classes, or NotImplemented."""
    pairs = [(p, q) for p, q in _KL_REGISTRY if issubclass(type_p, p) and issubclass(type_q, q)]
    if not pairs:
        return NotImplemented
    by_p, by_q = _most_specific(pairs, 0), _most_specific(pairs, 1)
    found = _KL_REGISTRY[by_p]
    if found is not _KL_REGISTRY[by_q]:
        warnings.warn(f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). Please "
                      f"register_kl({by_p[0].__name__}, {by_q[1].__name__})", RuntimeWarning,
                      stacklevel=2)
    return found


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """``E_p[log p - log q]``, of the batch's shape; NotImplementedError for unknown pairs.

    >>> import flambeau as torch
    >>> D = torch.distributions
    >>> D.kl_divergence(D.Normal(0.0, 1.0), D.Normal(1.0, 1.0))
    tensor(0.5000)
    """
    pair = type(p), type(q)
    if pair not in _KL_MEMOIZE:
        _KL_MEMOIZE[pair] = _dispatch_kl(*pair)
    function = _KL_MEMOIZE[pair]
    if function is NotImplemented:
        raise NotImplementedError(f"No KL(p || q) is implemented for p type "
                                  f"{p.__class__.__name__} and q type {q.__class__.__name__}")
    return function(p, q)
