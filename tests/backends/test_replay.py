"""Functions of small arrays replayed by one native call: the same bits, or NumPy's own way."""

import inspect
import itertools

import numpy as np
import pytest

from flambeau.backends import large, replay, small

pytestmark = pytest.mark.skipif(not large.available(), reason="there are no generated kernels")
SHAPES = [(4, 10), (3,), (1, 5), (5, 1), (2, 4, 3), (3, 1, 4, 5), (17, 33), (1,)]


def softmax(x, dim):
    e = x - np.maximum.reduce(x, axis=dim, keepdims=True)
    np.exp(e, out=e)
    e /= np.add.reduce(e, axis=dim, keepdims=True)
    return e


def normed(x, w, axes, eps):
    mean = np.add.reduce(x, axis=axes, keepdims=True) / x.shape[axes[0]]
    y = x - mean
    rstd = 1 / np.sqrt(np.add.reduce(y * y, axis=axes, keepdims=True) + eps)
    y *= rstd
    return y if w is None else y * w.reshape(-1), mean, rstd


def elu(x, alpha):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def spread(x, dims):
    wide = x.astype(np.float64)
    off = wide - np.add.reduce(wide, axis=dims, keepdims=True) / 3
    return np.squeeze(np.sqrt(np.add.reduce(off**2, axis=dims, keepdims=True)), dims).astype(
        x.dtype)


@pytest.fixture(autouse=True)
def native(monkeypatch):
    small.load()
    if small.replay is None:
        pytest.skip("this interpreter's objects are not known")
    monkeypatch.setattr(replay, "OFTEN", 2)


@pytest.fixture
def calls(monkeypatch):
    """How often generated code gave a result."""
    found = []
    run = small.replay

    def counted(*args):
        result = run(*args)
        found.append(result is not None)
        return result

    monkeypatch.setattr(small, "replay", counted)
    return found


def agree(function, arrays, **settings):
    """Whether the function's results, replayed, have the bits of its own."""
    run = replay.replayed(function)
    for _ in range(4):
        got = run(*arrays, **settings)
    want = function(*arrays, **settings)
    pairs = [(got, want)] if isinstance(want, np.ndarray) else zip(got, want, strict=True)
    for a, b in pairs:
        assert a.dtype == b.dtype and a.shape == b.shape
        # which of two NaN an operation hands on is open
        a, b = (np.where(np.isnan(r), np.nan, r) for r in (a, b))
        assert a.tobytes() == b.tobytes()


def numbers(shape, dtype):
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    x.flat[0] = -np.inf
    x.flat[-1] = np.nan if x.size > 5 else -0.0
    return x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_replayed_functions_give_the_same_bits(shape, dtype, calls):
    x = numbers(shape, dtype)
    for dim in range(x.ndim):
        agree(softmax, (x,), dim=dim)
        agree(spread, (x,), dims=(dim,))
    agree(elu, (x,), alpha=0.7)
    agree(normed, (x, None), axes=(0,), eps=1e-5)
    agree(normed, (x, numbers(shape[-1:], dtype)), axes=(x.ndim - 1,), eps=1e-5)
    assert sum(calls) == 2 * (3 + 2 * x.ndim)


@pytest.mark.parametrize("name", ["add", "maximum", "minimum", "multiply"])
def test_reductions_over_any_axes(name, calls):
    ufunc = getattr(np, name)
    x = np.random.default_rng(1).normal(size=(3, 4, 5)).astype(np.float32)
    groups = [g for k in (1, 2, 3) for g in itertools.combinations(range(3), k)]
    for axes in groups:
        agree(lambda x, axes, keepdims: np.positive(ufunc.reduce(x, axes, keepdims=keepdims)),
              (x,), axes=axes, keepdims=True)
    assert sum(calls) == 2 * len(groups)


def test_negative_zeros_add_up_as_in_numpy():
    agree(lambda x: np.add.reduce(x, axis=1, keepdims=True), (np.full((2, 3), -0.0),))


@pytest.mark.parametrize("seed", range(20))
def test_long_functions_of_broadcast_values(seed, calls):
    binary = [np.add, np.subtract, np.multiply, np.maximum]
    unary = [np.negative, np.tanh, np.square, lambda x: np.add.reduce(x, -1, keepdims=True)]

    def function(*arrays):
        rng = np.random.default_rng(seed)
        values = list(arrays)
        for _ in range(40):
            if rng.random() < 0.3:
                values.append(unary[rng.integers(4)](values[rng.integers(len(values))]))
            else:
                a, b = (values[max(0, len(values) - 1 - rng.geometric(0.3))] for _ in range(2))
                values.append(binary[rng.integers(4)](a, b))
        return [np.tanh(v) for v in values[-4:]]

    agree(function, [numbers(s, np.float32) for s in ((3, 4), (3, 1), (1, 4))])
    assert sum(calls) == 2


def picked(x, t):
    return np.negative(x[np.arange(len(t)), t])


def test_picking_by_index_fails_where_there_is_none(calls):
    x, t = numbers((4, 3), np.float32), np.array([0, 2, 1, 2])
    agree(picked, (x, t))
    assert sum(calls) == 2
    run = replay.replayed(picked)
    for _ in range(4):
        run(x, t)
    assert run(x, t - 3).tobytes() == picked(x, t - 3).tobytes()
    with pytest.raises(IndexError):
        run(x, t + 1)
    assert run(x, t).tobytes() == picked(x, t).tobytes()


def placed(g, t):
    out = np.zeros_like(g, shape=(len(t), 3))
    out[np.arange(len(t)), t] = g
    return out


def test_putting_by_index_fails_where_there_is_none(calls):
    t = np.array([0, 2, 1, 2])
    agree(placed, (np.array(2.5), t))
    agree(placed, (numbers((4,), np.float32), t))
    assert sum(calls) == 4
    run = replay.replayed(placed)
    for _ in range(4):
        run(np.array(2.5), t)
    assert run(np.array(2.5), t - 3).tobytes() == placed(np.array(2.5), t - 3).tobytes()
    with pytest.raises(IndexError):
        run(np.array(2.5), t + 1)


def test_views_see_what_is_written_in_place():
    def change(x):
        y = x + 1
        flat = y.reshape(-1)
        y *= 2
        flat += 1
        return y

    agree(change, (numbers((2, 3), np.float64),))


def test_arrays_that_are_not_dense_are_computed_by_numpy(calls):
    run = replay.replayed(softmax)
    x = numbers((6, 4), np.float32)
    for _ in range(4):
        run(x, dim=1)
    done = sum(calls)
    for other in (x.T, x[:, ::2], x.astype(np.float64), x[:3]):
        assert run(other, dim=1).tobytes() == softmax(other, 1).tobytes()
    assert sum(calls) == done > 0


def test_plans_are_kept_per_shape_and_setting():
    run = replay.replayed(lambda x, by: x * by)
    arrays = [np.ones(n, d) for n in (2, 3) for d in (np.float32, np.float64)]
    for _ in range(5):
        for a, by in itertools.product(arrays, (2.0, 3.0, 0.0, -0.0)):
            found = run(a, by=by)
            assert found.dtype == a.dtype and found.tobytes() == (a * by).tobytes()


@pytest.mark.parametrize("function", [
    lambda x: x if x[0] > 0 else -x,
    lambda x: x,
    lambda x: x.reshape(-1),
    lambda x: np.cumsum(x),
    lambda x: x.astype(np.int32),
    lambda x: (x > 0) * 2.0,
    lambda x: np.float64(2) * x,
    lambda x: x * np.arange(3.0),
    lambda x: np.array([float(v) for v in x]),
])
def test_what_has_no_plan_is_computed_by_numpy(function):
    agree(function, (np.array([1.0, -2.0, 3.0], np.float32),))


def test_changes_of_arguments_are_not_replayed(calls):
    def double(x):
        x *= 2
        return x

    run = replay.replayed(double)
    x = np.ones(3)
    for _ in range(5):
        run(x)
    assert not any(calls) and x[0] == 32


def test_ever_new_shapes_are_not_remembered(monkeypatch):
    monkeypatch.setattr(replay, "MAX_USES", 20)
    run = replay.replayed(lambda x, by: x * by)
    for n in range(1, 100):
        assert run(np.ones(n), by=float(n)).sum() == n * n
    missed = inspect.getclosurevars(run).nonlocals["missed"]
    assert len(inspect.getclosurevars(missed).nonlocals["uses"]) <= 21


def test_results_are_new_arrays_each_time():
    run = replay.replayed(lambda x: x + 1)
    kept = [run(np.full(3, float(n))) for n in range(6)]
    assert [float(r[0]) for r in kept] == [1, 2, 3, 4, 5, 6]
    assert all(r.flags.owndata and r.flags.writeable for r in kept)
