"""The operators, each declared once, by its kind, in the file of its family."""

from flambeau.ops import (
    arithmetic,
    compare,
    complex,
    construct,
    convert,
    copy,
    create,
    extrema,
    functions,
    index,
    join,
    later,
    matmul,
    powers,
    random,
    random_inplace,
    rearrange,
    reduce,
    reduce_extreme,
    shape,
    split,
    transposed,
    views,
    where,
)

__all__ = ["arithmetic", "compare", "complex", "construct", "convert", "copy", "create", "extrema",
           "functions", "index", "join", "later", "matmul", "powers", "random", "random_inplace",
           "rearrange", "reduce", "reduce_extreme", "shape", "split",
           "transposed", "views", "where"]
