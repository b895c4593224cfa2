"""The named tuples that functions of several results return."""

from flambeau.core.return_types import ALL

globals().update(ALL)
__all__ = sorted(ALL)
