"""Many random numbers at once: the same as a few at a time, which are PyTorch's."""

import numpy as np
import pytest

from flambeau.backends import large, random_choice, random_fill, random_kernels
from flambeau.backends.mt19937 import BLOCK, Engine

COUNTS = [32_767, 32_768, 40_000, 40_001, 100_003]


def in_pieces(draw, count):
    """What `draw(count)` gives in small parts, of which none is whole blocks."""
    parts = [draw(min(500, count - done)) for done in range(0, count, 500)]
    return np.concatenate(parts)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("skipped", [0, 1, BLOCK - 1, BLOCK])
@pytest.mark.parametrize("name", ["words", "floats", "doubles"])
def test_streams(name, skipped, count):
    many, few = Engine(5), Engine(5)
    many.words(skipped), few.words(skipped)
    for _ in range(2):
        found = getattr(many, name)(count)
        np.testing.assert_array_equal(found, in_pieces(getattr(few, name), count))
        assert many.get_state().tobytes() == few.get_state().tobytes()
    again = Engine()
    again.set_state(many.get_state())
    np.testing.assert_array_equal(again.words(2000), few.words(2000))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.5, 0.3), (-2.0, 7.0)])
def test_normals_are_made_by_groups(mean, std, count):
    many, few = Engine(6), Engine(6)
    found = np.empty(count, np.float32)
    random_fill.normal(found, many, mean, std)
    # 16 at a time: any number of whole groups is drawn alike
    want = np.empty(count - count % 16, np.float32)
    for start in range(0, want.size, 1600):
        random_fill.normal(want[start:start + 1600], few, mean, std)
    np.testing.assert_array_equal(found[:count - 16], want[:count - 16])
    if count % 16 == 0:
        assert many.get_state().tobytes() == few.get_state().tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_fills_of_arrays_that_are_not_dense(dtype):
    dense, other = np.empty((300, 200), dtype), np.empty((200, 300), dtype).T
    for fill in (random_fill.uniform, random_fill.exponential):
        fill(dense, Engine(1))
        fill(other, Engine(1))
        np.testing.assert_array_equal(other.T.ravel(), dense.ravel())


@pytest.mark.parametrize("count", [32_770, 100_003])
def test_permutations_are_those_of_swaps_one_by_one(count):
    found = random_choice.randperm(count, Engine(2))
    want = list(range(count))
    for i, word in enumerate(Engine(2).words(count - 1).tolist()):
        j = i + word % (count - i)
        want[i], want[j] = want[j], want[i]
    assert found.tolist() == want


@pytest.mark.parametrize("low", [0, -7, 2**40, -2**63])
@pytest.mark.parametrize("span", [1, 2, 3, 10, 1000, 2**27 + 1, 2**28 - 1])
@pytest.mark.parametrize("count", [25, 4096, 40_001])
def test_integers_are_remainders_of_words(count, span, low):
    found, other = np.empty(count, np.int64), np.empty(2 * count, np.int64)[::2]
    random_fill.random_from_to(found, Engine(4), low, low + span)
    random_fill.random_from_to(other, Engine(4), low, low + span)
    want = Engine(4).words(count).astype(np.int64) % span + low
    np.testing.assert_array_equal(found, want)
    np.testing.assert_array_equal(other, want)


@pytest.mark.parametrize("count", [1, 15, 16, 17, 100, 625, 2001])
@pytest.mark.parametrize("name", ["words", "floats", "doubles"])
def test_few_numbers_are_the_same_by_kernels(name, count, monkeypatch):
    if not large.available():
        pytest.skip("there are no generated kernels")
    by_kernels, by_numpy = Engine(8), Engine(8)
    with monkeypatch.context() as patch:
        patch.setattr(random_kernels, "worth", lambda n: False)
        want = [getattr(by_numpy, name)(count) for _ in range(3)]
    for each in want:
        np.testing.assert_array_equal(getattr(by_kernels, name)(count), each)
    assert by_kernels.get_state().tobytes() == by_numpy.get_state().tobytes()
