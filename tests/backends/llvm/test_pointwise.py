import numpy as np
import pytest

from flambeau.backends import large, reductions
from flambeau.backends.llvm import calls
from flambeau.backends.llvm.program import INSTRUCTIONS, Input, Pointwise, Step

FLOATS = (np.float32, np.float64)
NUMBERS = (*FLOATS, np.int32, np.int64)
N = 40_000

EXACT_UNARY = {
    "neg": np.negative,
    "abs": np.abs,
    "square": np.square,
    "relu": lambda x: np.where(x < 0, x.dtype.type(0), x),
}
EXACT_FLOAT_UNARY = {
    "sqrt": np.sqrt,
    "reciprocal": np.reciprocal,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "round": np.round,
}
EXACT_BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}


def sample(dtype, seed=0, count=N):
    """Values of every size with the special ones spread among them."""
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "i":
        limits = np.iinfo(dtype)
        found = rng.integers(-1000, 1000, count).astype(dtype)
        found[::97] = limits.max
        found[::89] = limits.min
        return found
    scale = 10.0 ** rng.integers(-30, 30, count)
    found = (rng.standard_normal(count) * np.where(rng.random(count) < 0.5, 1, scale)).astype(dtype)
    tiny = np.finfo(dtype).smallest_subnormal
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, tiny, -tiny, 1, -1, 0.5, 2.5], dtype)
    found[::7] = np.resize(special, found[::7].shape)
    return found


def same(got, want):
    assert got.dtype == want.dtype and got.shape == want.shape
    np.testing.assert_array_equal(got, want)
    if got.dtype.kind == "f":
        known = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(want[known]))


def unordered_zeros(name, a, b):
    """maximum(0, -0) may be either, in C and in PyTorch: make them one."""
    if name in ("maximum", "minimum") and a.dtype.kind == "f":
        return a + 0.0, b + 0.0
    return a, b


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("name", EXACT_UNARY)
def test_unary_is_exact(name, dtype):
    x = sample(dtype)
    with np.errstate(all="ignore"):
        same(large.pointwise(name, x), EXACT_UNARY[name](x))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", EXACT_FLOAT_UNARY)
def test_float_unary_is_exact(name, dtype):
    x = sample(dtype)
    with np.errstate(all="ignore"):
        same(large.pointwise(name, x), EXACT_FLOAT_UNARY[name](x))


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("name", EXACT_BINARY)
def test_binary_is_exact(name, dtype):
    a, b = unordered_zeros(name, sample(dtype), sample(dtype, 1))
    b[::5] = a[::5]
    with np.errstate(all="ignore"):
        same(large.pointwise(name, a, b), EXACT_BINARY[name](a, b))


@pytest.mark.parametrize("dtype", FLOATS)
def test_division_is_exact(dtype):
    a, b = sample(dtype), sample(dtype, 1)
    with np.errstate(all="ignore"):
        same(large.pointwise("div", a, b), a / b)


@pytest.mark.parametrize("dtype", NUMBERS)
def test_scalars_on_either_side(dtype):
    x = np.arange(N).astype(dtype)
    same(large.pointwise("sub", x, 3), x - dtype(3))
    same(large.pointwise("sub", 3, x), dtype(3) - x)
    same(large.pointwise("sub", x, np.array(3, dtype)), x - dtype(3))
    same(large.pointwise("lt", x, np.full((1,), 77, dtype)), x < 77)
    if np.dtype(dtype).kind == "i":
        assert large.pointwise("sub", x, 0.5) is None
        assert large.pointwise("sub", x, 1 << 70) is None


@pytest.mark.parametrize("columns", [32, 50, 1000])
def test_rows_and_columns_broadcast(columns):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N // columns + 1, columns)).astype(np.float32)
    row = rng.standard_normal(columns).astype(np.float32)
    column = rng.standard_normal((len(x), 1)).astype(np.float32)
    same(large.pointwise("sub", x, row), x - row)
    same(large.pointwise("sub", row, x), row - x)
    same(large.pointwise("div", x, column), x / column)
    same(large.pointwise("lt", x, row), x < row)
    cube = x[: len(x) // 4 * 4].reshape(4, -1, columns)
    if cube.size >= large.MIN_ITEMS:
        same(large.pointwise("mul", cube, row), cube * row)


@pytest.mark.parametrize("kind", ["f32", "f64", "i32", "i64"])
def test_every_tail_at_every_offset(kind):
    dtype = calls.DTYPES[kind]
    steps = (Step("mul", (0, 1)), Step("lt", (0, 1)))
    program = Pointwise((Input(kind), Input(kind)), steps, (2, 3))
    kernel = calls.pointwise_kernel(program)
    base = np.arange(1, 200).astype(dtype)
    for length in range(71):
        for start in (0, 1, 3):
            a, b = base[start : start + length], base[7 : 7 + length]
            product, less = np.full(length + 9, -5, dtype), np.full(length + 9, 2, np.uint8)
            outs = (product[start : start + length], less.view(bool)[start : start + length])
            kernel.run(outs, (a, b))
            np.testing.assert_array_equal(outs[0], a * b)
            np.testing.assert_array_equal(outs[1], a < b)
            # nothing beside the outputs is written
            assert (product[:start] == -5).all() and (product[start + length :] == -5).all()
            assert (less[:start] == 2).all() and (less[start + length :] == 2).all()


def test_large_outputs_are_streamed(monkeypatch):
    monkeypatch.setattr(calls, "past_caches", lambda outs, ins: True)
    for count in (N, N + 1, N + 37):
        x = np.arange(count, dtype=np.float32)
        same(large.pointwise("add", x, x), x + x)
        same(large.pointwise("lt", x, 77.0), x < 77)
        same(large.pointwise("add", x[1:], 1.0), x[1:] + 1)
        same(large.pointwise("add", x, x, out=x), np.arange(count, dtype=np.float32) * 2)


def test_what_fits_the_last_cache_is_not_streamed():
    size = calls.last_cache()
    assert size >= 1 << 16
    assert not calls.past_caches([size // 3], [size // 3])
    assert calls.past_caches([size], [size])
    assert not calls.past_caches([size, 1], [size])


def test_in_place_and_out():
    x = np.arange(N, dtype=np.float32)
    out = np.empty_like(x)
    assert large.pointwise("add", x, 1.0, out=out) is out
    same(out, x + 1)
    assert large.pointwise("mul", out, out, out=out) is out
    same(out, (x + 1) ** 2)


def test_an_out_that_does_not_fit_is_left_to_numpy():
    x = np.arange(N, dtype=np.float32)
    frozen = np.empty_like(x)
    frozen.flags.writeable = False
    for out in (np.empty(N, np.float64), np.empty(N + 1, np.float32), frozen, x[::-1]):
        assert large.pointwise("neg", x, out=out) is None
    shared = np.zeros(N + 1, np.float32)
    assert large.pointwise("neg", shared[1:], out=shared[:-1]) is None
    assert not shared.any()


@pytest.mark.parametrize(
    "operands",
    [
        ("neg", np.zeros(100, np.float32)),
        ("neg", np.zeros((3, N), np.float32)[:, ::N // 3]),
        ("neg", np.zeros(N, np.float16)),
        ("neg", np.zeros(N, ">f4")),
        ("neg", np.zeros(N, np.complex64)),
        ("exp", np.zeros(N, np.int64)),
        ("neg", np.zeros(4 * N + 1, np.uint8)[1:].view(np.float32)),
        ("nothing", np.zeros(N, np.float32)),
        ("add", np.zeros(N, np.float32)),
        ("add", np.zeros(N, np.float32), np.zeros(N, np.float64)),
        ("add", np.zeros(N, np.float32), np.zeros(N - 1, np.float32)),
        ("add", np.zeros(N, np.float32), "text"),
        ("add", np.zeros(N, np.float32), 1j),
    ],
)
def test_what_is_not_covered_is_none(operands):
    assert large.pointwise(*operands) is None


def test_sin_and_cos_leave_huge_arguments_to_numpy():
    x = np.zeros(N, np.float32)
    x[5] = 1e9
    assert large.pointwise("sin", x) is None
    x[5] = np.nan
    assert np.isnan(large.pointwise("cos", x)[5])


def test_every_name_is_reachable_or_internal():
    internal = {"logical_and", "logical_or", "logical_not", "select"}
    assert set(large._arities()) == set(INSTRUCTIONS) - internal


def test_numpy_backend_switches_it_off(monkeypatch):
    monkeypatch.setenv("FLAMBEAU_BACKEND", "numpy")
    monkeypatch.setattr(large, "load", large.load.__wrapped__)
    monkeypatch.setattr(large, "_ran", {})
    monkeypatch.setattr(reductions, "_plan", reductions._plan.__wrapped__)
    assert not large.available()
    assert large.pointwise("neg", np.zeros(N, np.float32)) is None
    assert reductions.reduce("sum", np.zeros(N, np.float32), None, False) is None
