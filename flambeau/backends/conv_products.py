"""Convolutions by kernels of one item, one item apart and without padding: they are products.

The functions are those of `backends.numpy.conv`, for one group of channels and a dtype of BLAS.
"""

import math

import numpy as np

from flambeau.backends import products
from flambeau.backends.conversions import dense_copy
from flambeau.backends.numpy.conv import Geometry

__all__ = ["fits", "forward", "input_gradient", "weight_gradient"]

# Positions of an image up to which its weight gradient is one product with all others'.
FEW_POSITIONS = 512


def fits(geo: Geometry, size: tuple[int, ...]) -> bool:
    """Whether every item of a result is made of the items at its place."""
    return geo.groups == 1 and math.prod(geo.kernel) == 1 and geo.out == size


def fits_weights(geo: Geometry, size: tuple[int, ...]) -> bool:
    """Whether its weight gradient is a product, of images that are few or small."""
    return fits(geo, size) and math.prod(size) <= FEW_POSITIONS


def forward(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The convolution of x (N, C, *S) with w (O, C, *1): (N, O, *S).

    >>> forward(np.ones((1, 2, 3)), np.ones((1, 2, 1)))
    array([[[2., 2., 2.]]])
    """
    return _by_images(w.reshape(w.shape[:2]), x)


def input_gradient(g: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Its transpose in x: g (N, O, *S) gives (N, C, *S)."""
    return _by_images(w.reshape(w.shape[:2]).T, g)


def _by_images(weights: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The product of the weights with every image."""
    images, channels = x.shape[:2]
    items = x.reshape(images, channels, -1)
    if images == 1:
        found = products.dot(weights, items[0])
    else:
        found = products.matmul(np.broadcast_to(weights, (images, *weights.shape)), items)
    return found.reshape(images, weights.shape[0], *x.shape[2:])


def weight_gradient(g: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Its transpose in w: g (N, O, *S) and x (N, C, *S) give (O, C, *1)."""
    found = products.dot(_by_channels(g), _by_channels(x).T)
    return found.reshape(*found.shape, *(1,) * (x.ndim - 2))


def _by_channels(a: np.ndarray) -> np.ndarray:
    """All items of a channel, image by image: (C, N * S)."""
    turned = a.reshape(*a.shape[:2], -1).swapaxes(0, 1)
    dense = turned if turned.flags.c_contiguous else dense_copy(turned)
    return dense.reshape(a.shape[1], -1)
