"""Sparse tensors: making them, converting them, and the operators that take them."""

from flambeau.ops.sparse import (
    arithmetic,
    compressed,
    convert,
    copies,
    gradients,
    make,
    parts,
    products,
    reduce,
    shape,
)

__all__ = ["arithmetic", "compressed", "convert", "copies", "gradients", "make", "parts",
           "products", "reduce", "shape"]
