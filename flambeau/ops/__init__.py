"""The operators, each declared once, by its kind, in the file of its family."""

from flambeau.ops import (
    arithmetic,
    convert,
    copy,
    construct,
    create,
    matmul,
    reduce,
    shape,
)

__all__ = ["arithmetic", "construct", "convert", "copy", "create", "matmul", "reduce", "shape"]
