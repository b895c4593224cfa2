"""Small sums: NumPy and generated code give the same bits, PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

from flambeau.backends import large
from flambeau.backends.numpy.total import ORDERED, total

SIZES = [*range(1, 300), 511, 512, 513, 1023, 1025, 4096, 5000, 8191, 10000, 16385, ORDERED]
DTYPES = [np.float32, np.float64]


def values(size: int, dtype: type) -> np.ndarray:
    return np.random.default_rng(size).standard_normal(size).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_generated_sums_equal_numpys(dtype: type) -> None:
    if not large.available():
        pytest.skip("no generated kernels here")
    from flambeau.backends.llvm.ordered_sum import ordered_sum

    native = ordered_sum(dtype is np.float32)
    if native is None:
        pytest.skip("this interpreter's arrays are not read directly")
    for size in SIZES:
        a = values(size, dtype)
        found = np.empty((), dtype)
        native(found, a, 1)
        assert found == total(a), size
        native(found, a, size)
        assert found == total(a) / size, size


def test_every_rank_and_what_is_not_finite() -> None:
    for a in (np.array(3.0), np.ones((2, 3, 4, 5), np.float32), np.array([np.inf, 1, -np.inf])):
        assert total(a) == a.sum() or np.isnan(a.sum())


@pytest.mark.parity
@pytest.mark.parametrize("dtype", DTYPES)
def test_sums_equal_torchs(dtype: type) -> None:
    torch = pytest.importorskip("torch")
    for size in SIZES:
        a = values(size, dtype)
        assert total(a) == torch.from_numpy(a).sum().item(), size
