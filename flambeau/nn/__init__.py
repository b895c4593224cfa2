"""Neural networks: parameters, functions and modules."""

from flambeau.nn import functional

__all__ = ["functional"]
