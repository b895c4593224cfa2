"""The operators, each declared once, by its kind, in the file of its family."""

from flambeau.ops import (
    arithmetic,
    compare,
    complex,
    construct,
    convert,
    copy,
    create,
    deviation,
    extrema,
    functions,
    matmul,
    polynomials,
    reduce,
    reduce_extreme,
    shape,
    special,
    where,
)

__all__ = ["arithmetic", "compare", "complex", "construct", "convert", "copy", "create",
           "deviation", "extrema", "functions", "matmul", "polynomials", "reduce",
           "reduce_extreme", "shape", "special", "where"]
