"""The operators, each declared once, by its kind, in the file of its family."""

from flambeau.ops import (
    arithmetic,
    convert,
    copy,
    create,
    matmul,
    reduce,
    shape,
)

__all__ = ["arithmetic", "convert", "copy", "create", "matmul", "reduce", "shape"]
