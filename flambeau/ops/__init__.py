"""The operators, each declared once, by its kind, in the file of its family."""

from flambeau.ops import (
    activation,
    arithmetic,
    class_loss,
    compare,
    complex,
    construct,
    convert,
    copy,
    create,
    deviation,
    extrema,
    functions,
    loss,
    matmul,
    piecewise,
    polynomials,
    reduce,
    reduce_extreme,
    scan,
    shape,
    softmax,
    special,
    where,
)

__all__ = ["activation", "arithmetic", "class_loss", "compare", "complex", "construct", "convert",
           "copy", "create", "deviation", "extrema", "functions", "loss", "matmul", "piecewise",
           "polynomials", "reduce", "reduce_extreme", "scan", "shape", "softmax", "special",
           "where"]
