"""Pointwise kernels on a GPU: every instruction against more precise arithmetic, and casts."""

import math

import numpy as np
import pytest

from flambeau.backends.cuda_c import printer
from flambeau.backends.llvm.program import INSTRUCTIONS, Input, Pointwise, Step
from flambeau.backends.numpy.special import special

from .device import DTYPES, as_bf16, from_bf16, ulps

INF, NAN = math.inf, math.nan
LONG = np.longdouble
FLOAT_KINDS, INTEGER_KINDS = ("f32", "f64"), ("i32", "i64")


def by_item(function):
    """A function of Python floats on arrays, in float64; NaN where it raises."""

    def guarded(x):
        try:
            return function(x)
        except (ValueError, OverflowError):
            return NAN

    return lambda x: np.array([guarded(v) for v in x.astype(np.float64).tolist()])


def logistic(x):
    small = np.exp(-np.abs(x))
    return np.where(x < 0, small, 1) / (1 + small)


def chosen(sign):
    def extreme(a, b):
        first = np.isnan(a) | (a > b if sign == ">" else a < b)
        return np.where(first, a, b)

    return extreme


def lgamma(x):
    found = by_item(math.lgamma)(x)
    endless = np.isinf(x) | (x > 1e305) | ((x <= 0) & (np.floor(x) == x))
    return np.where(endless, INF, found)


def in_double(name):
    return lambda x: special(name)(x.astype(np.float64))


# the reference in long double or float64, and what errors stay below in float32 and in float64, in
# units of the last place; CUDA's programming guide promises as much or less, plus half a unit here
# for a reference that is itself rounded. The three that are promised for float32 alone have rough
# references in float64
FUNCTIONS = {
    "add": (np.add, 0.51, 0.51), "sub": (np.subtract, 0.51, 0.51),
    "mul": (np.multiply, 0.51, 0.51), "div": (np.divide, 0.51, 0.51),
    "neg": (np.negative, 0, 0), "abs": (np.abs, 0, 0), "square": (np.square, 0.51, 0.51),
    "relu": (lambda x: np.where(x < 0, 0, x), 0, 0),
    "maximum": (chosen(">"), 0, 0), "minimum": (chosen("<"), 0, 0),
    "sqrt": (np.sqrt, 0.51, 0.51), "rsqrt": (lambda x: 1 / np.sqrt(x), 1.6, 1.6),
    "reciprocal": (lambda x: 1 / x, 0.51, 0.51),
    "floor": (np.floor, 0, 0), "ceil": (np.ceil, 0, 0), "trunc": (np.trunc, 0, 0),
    "round": (np.rint, 0, 0),
    "exp": (np.exp, 2, 1.5), "expm1": (np.expm1, 2, 1.5), "exp2": (np.exp2, 2.5, 1.5),
    "log": (np.log, 2, 1.5), "log1p": (np.log1p, 2, 1.5), "log2": (np.log2, 2, 1.5),
    "log10": (np.log10, 2.5, 2), "tanh": (np.tanh, 2.5, 2.5), "sigmoid": (logistic, 3, 3),
    "one_plus_exp": (lambda x: 1 + np.exp(x), 2, 1.5),
    "sin": (np.sin, 2.5, 2.5), "cos": (np.cos, 2.5, 2.5), "tan": (np.tan, 4.5, 2.5),
    "asin": (np.arcsin, 2.5, 2.5), "acos": (np.arccos, 2.5, 2.5), "atan": (np.arctan, 2.5, 2.5),
    "sinh": (np.sinh, 3.5, 2.5), "cosh": (np.cosh, 2.5, 2.5), "asinh": (np.arcsinh, 3.5, 3.5),
    "acosh": (np.arccosh, 4.5, 3.5), "atanh": (np.arctanh, 3.5, 2.5),
    "erf": (by_item(math.erf), 2.5, 3), "erfc": (by_item(math.erfc), 4.5, 6),
    "erfinv": (in_double("erfinv"), 3, 1000), "digamma": (in_double("digamma"), 2, 100),
    "lgamma": (lgamma, 6.5, 100), "pow": (np.power, 4.5, 2.5), "atan2": (np.arctan2, 3.5, 2.5),
    "copysign": (np.copysign, 0, 0),
}
POSITIVE = {"log", "log2", "log10", "sqrt", "rsqrt"}
# arguments up to here, where the result or the reference goes no further
SIZES = {
    "exp": (88, 700), "expm1": (88, 700), "exp2": (127, 1000), "sinh": (88, 700),
    "cosh": (88, 700), "sin": (1e5, 1e5), "cos": (1e5, 1e5), "tan": (1e5, 1e5),
    "one_plus_exp": (88, 700), "tanh": (20, 40), "sigmoid": (90, 700), "erf": (5, 6.5),
    "erfc": (9, 26), "lgamma": (1e6, 1e6), "digamma": (1e4, 1e4),
    "asin": (1, 1), "acos": (1, 1), "atanh": (1, 1), "erfinv": (1, 1),
    "square": (1e18, 1e150), "log1p": (1e30, 1e300), "acosh": (1e30, 1e300), "pow": (30, 100),
}
SPECIALS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.5, 3.0, INF, -INF, NAN]


def ordinary(name, kind, count=4096):
    """Arguments of all sizes that a function is for."""
    rng = np.random.default_rng(1)
    top = SIZES.get(name, (1e30, 1e300))[kind == "f64"]
    power = math.log10(top)
    parts = [rng.uniform(-top, top, count),
             10 ** rng.uniform(-20, power, count) * rng.choice([-1, 1], count)]
    if top > 1:
        parts.append(np.clip(rng.standard_normal(count), -top, top))
    x = np.concatenate(parts).astype(DTYPES[kind])
    if name in POSITIVE:
        return np.abs(x)
    if name == "acosh":
        return np.abs(x) + DTYPES[kind](1)
    if name == "log1p":
        return np.where(x <= -1, -x, x)
    if name in ("lgamma", "digamma"):
        # below, the result crosses 0 between any two poles
        return np.abs(x) + DTYPES[kind](2.5)
    if name in ("asin", "acos", "atanh", "erfinv"):
        return np.clip(x, -0.9999999, 0.9999999).astype(DTYPES[kind])
    return x


def operands(name, kind):
    """Ordinary arguments, then all special ones with each other, denormal numbers among them."""
    dtype = DTYPES[kind]
    tiny = np.finfo(dtype).smallest_subnormal
    special_ones = np.array([*SPECIALS, 3 * tiny, -700 * tiny, np.finfo(dtype).max], dtype)
    x = ordinary(name, kind)
    if INSTRUCTIONS[name].arity == 1:
        return [np.concatenate([x, special_ones])]
    y = np.random.default_rng(2).permutation(x)
    if name == "pow":
        x = np.abs(x)
        y = np.clip(y, -20, 20)
    first, second = (part.ravel() for part in np.meshgrid(special_ones, special_ones))
    return [np.concatenate([x, first]), np.concatenate([y, second])]


def run(device, program, ins, grid=7, threads=128):
    """The outputs of a program of arrays, from two different grids."""
    count = ins[0].size
    outs = [((count,), DTYPES[program.kinds[number]]) for number in program.outputs]
    text = printer.print_pointwise(program)
    found = device.run(text, (grid,), threads, outs, ins, count)
    again = device.run(text, (1,), 32, outs, ins, count)
    for one, other in zip(found, again, strict=True):
        assert one.tobytes() == other.tobytes()
    return found


def float_program(kind):
    """One program of all functions of floats: inputs are two for each of them."""
    inputs, steps = [], []
    for name in FUNCTIONS:
        inputs += [Input(kind)] * INSTRUCTIONS[name].arity
    at = 0
    for name in FUNCTIONS:
        arity = INSTRUCTIONS[name].arity
        steps.append(Step(name, tuple(range(at, at + arity))))
        at += arity
    outputs = tuple(range(len(inputs), len(inputs) + len(steps)))
    return Pointwise(tuple(inputs), tuple(steps), outputs)


@pytest.fixture(scope="module", params=FLOAT_KINDS)
def functions(request, device):
    """Per name the operands and what the kernel made of them; and the kind."""
    kind = request.param
    given = {name: operands(name, kind) for name in FUNCTIONS}
    count = max(parts[0].size for parts in given.values())
    given = {name: [np.resize(part, count) for part in parts] for name, parts in given.items()}
    ins = [part for parts in given.values() for part in parts]
    found = run(device, float_program(kind), ins)
    return kind, {name: (given[name], got) for name, got in zip(given, found, strict=True)}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_floats_are_as_precise_as_is_promised(name, functions):
    kind, found = functions
    given, got = found[name]
    reference, *bounds = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        want = reference(*[part.astype(LONG) for part in given])
    apart = ulps(got, want)
    if name in ("lgamma", "digamma"):
        apart[(given[0] < 2.5) & np.isfinite(want)] = 0
    worst = int(np.argmax(apart))
    where = [part[worst] for part in given], got[worst], want[worst]
    assert apart[worst] <= bounds[kind == "f64"], where


@pytest.mark.parametrize("name", [
    "neg", "abs", "floor", "ceil", "trunc", "round", "sqrt", "sin", "tan", "asin", "atan", "sinh",
    "tanh", "asinh", "atanh", "expm1", "log1p", "erf", "copysign", "add", "mul", "div", "atan2",
    "reciprocal",
])
def test_zeros_keep_their_signs(name, functions):
    kind, found = functions
    given, got = found[name]
    with np.errstate(all="ignore"):
        want = FUNCTIONS[name][0](*given)
    zero = want == 0
    assert zero.any() or name in ("reciprocal", "div")
    assert (np.signbit(got[zero]) == np.signbit(want[zero])).all()


def test_decay_and_fma(device):
    for kind in FLOAT_KINDS:
        dtype = DTYPES[kind]
        x = np.concatenate([-np.abs(ordinary("exp", kind)), np.array([0, -0.0, -INF, NAN], dtype)])
        y, z = np.roll(x, 7), np.roll(x, 501)
        steps = (Step("decay", (0,)), Step("fma", (0, 1, 2)))
        program = Pointwise((Input(kind),) * 3, steps, (3, 4))
        decayed, together = run(device, program, [x, y, z])
        with np.errstate(all="ignore"):
            assert ulps(decayed, np.exp(x.astype(LONG))).max() <= 2
            if kind == "f32":
                exact = x.astype(np.float64) * y + z
                assert ulps(together, exact).max() <= 0.51


@pytest.mark.parametrize("kind", INTEGER_KINDS)
def test_integers_wrap_around(kind, device):
    info = np.iinfo(DTYPES[kind])
    rng = np.random.default_rng(3)
    x = rng.integers(info.min, info.max, 3000, DTYPES[kind], endpoint=True)
    x[:4] = info.min, info.max, 0, -1
    y = np.concatenate([x[:4], np.roll(x[4:], 5)])
    wanted = {
        "add": x + y, "sub": x - y, "mul": x * y, "neg": -x, "abs": np.abs(x), "square": x * x,
        "relu": np.maximum(x, 0), "maximum": np.maximum(x, y), "minimum": np.minimum(x, y),
    }
    steps = tuple(Step(name, (0, 1)[: INSTRUCTIONS[name].arity]) for name in wanted)
    program = Pointwise((Input(kind),) * 2, steps, tuple(range(2, 2 + len(steps))))
    for name, got in zip(wanted, run(device, program, [x, y]), strict=True):
        np.testing.assert_array_equal(got, wanted[name], err_msg=name)


@pytest.mark.parametrize("kind", (*FLOAT_KINDS, *INTEGER_KINDS))
def test_comparisons_and_choices(kind, device):
    rng = np.random.default_rng(4)
    x, y = rng.integers(-3, 3, (2, 2000)).astype(DTYPES[kind])
    if kind in FLOAT_KINDS:
        x[::7], y[::5], x[::11], y[::11] = NAN, NAN, 0.0, -0.0
    a, b = x > 0, y > 0
    wanted = {
        "eq": x == y, "ne": x != y, "lt": x < y, "le": x <= y, "gt": x > y, "ge": x >= y,
        "logical_and": a & b, "logical_or": a | b, "logical_not": ~a, "select": np.where(a, x, y),
    }
    on_bools = {"logical_and": (2, 3), "logical_or": (2, 3), "logical_not": (2,),
                "select": (2, 0, 1)}
    steps = tuple(Step(name, on_bools.get(name, (0, 1))) for name in wanted)
    inputs = (Input(kind), Input(kind), Input("bool"), Input("bool"))
    program = Pointwise(inputs, steps, tuple(range(4, 4 + len(steps))))
    for name, got in zip(wanted, run(device, program, [x, y, a, b]), strict=True):
        np.testing.assert_array_equal(got, wanted[name], err_msg=name)


def numbers(kind):
    """Numbers of a kind, at its bounds and beyond those of others; and what they are, exactly."""
    if kind == "bool":
        x = np.array([False, True] * 8)
        return x, x
    if kind in ("f32", "f64", "f16", "bf16"):
        x = np.array([0.0, -0.0, 0.5, -1.5, 2.5, 127.4, -128.9, 255.6, 300.0, 32768.0, -65504.0,
                      7e4, 2.0**31, -(2.0**31), 2.0**33, 3e18, 2.0**63, -(2.0**63), 1e30,
                      INF, -INF, NAN, 1e-6, 5.96e-8, 1e-40, 65519.9, 0.1])
        with np.errstate(over="ignore"):
            if kind == "bf16":
                bits = as_bf16(x)
                return bits, from_bf16(bits)
            return x.astype(DTYPES[kind]), x.astype(DTYPES[kind])
    info = np.iinfo(DTYPES[kind])
    rng = np.random.default_rng(5)
    x = rng.integers(info.min, info.max, 200, DTYPES[kind], endpoint=True)
    x[:6] = info.min, info.max, 0, 1, info.max - 1, 100
    return x, x


def cast(x, kind):
    """What NumPy makes of numbers; out of an integer's range, the least one."""
    with np.errstate(all="ignore"):
        if kind in ("f16", "bf16"):
            single = x.astype(np.float32)
            return as_bf16(single) if kind == "bf16" else single.astype(np.float16)
        if kind in FLOAT_KINDS or kind == "bool" or x.dtype.kind != "f":
            return x.astype(DTYPES[kind])
        wide = np.dtype(np.int64 if kind == "i64" else np.int32)
        least = float(np.iinfo(wide).min)
        whole = np.trunc(x.astype(np.float64))
        inside = (whole >= least) & (whole < -least)
        found = np.where(inside, whole, 0).astype(wide)
        return np.where(inside, found, np.iinfo(wide).min).astype(DTYPES[kind])


@pytest.mark.parametrize("source", DTYPES)
def test_casts_between_all_kinds(source, device):
    given, exact = numbers(source)
    steps = tuple(Step("cast", (0,), None, target) for target in DTYPES)
    program = Pointwise((Input(source),), steps, tuple(range(1, 1 + len(steps))))
    for target, got in zip(DTYPES, run(device, program, [given]), strict=True):
        want = given if target == source else cast(exact, target)
        if got.dtype.kind == "f":
            np.testing.assert_array_equal(got, want, err_msg=target)
            known = ~np.isnan(want)
            assert (np.signbit(got)[known] == np.signbit(want)[known]).all(), target
        else:
            np.testing.assert_array_equal(got, want, err_msg=target)


@pytest.mark.parametrize("rows, columns", [
    (1, 1), (3, 5), (64, 33), (1, 4097), (515, 2), (5, 8), (70, 64),
])
def test_inputs_lie_over_rows_and_columns(rows, columns, device):
    rng = np.random.default_rng(6)
    x = rng.standard_normal((rows, columns), np.float32)
    row, column = rng.standard_normal(columns, np.float32), rng.standard_normal(rows, np.float32)
    scalar = np.array([3.0], np.float32)
    inputs = tuple(Input("f32", layout) for layout in ("array", "row", "column", "scalar"))
    steps = (Step("add", (0, 1)), Step("mul", (4, 2)), Step("sub", (5, 3)))
    text = printer.print_pointwise(Pointwise(inputs, steps, (6,)))
    want = (x + row) * column[:, None] - scalar
    for grid, block in (((1, 1), (32, 4)), ((3, 5), (64, 2))):
        (got,) = device.run(text, grid, block, [((rows, columns), np.float32)],
                            [x, row, column, scalar], rows, columns)
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("count", [1, 2, 7, 255, 256, 1000, 4099])
def test_any_count_of_elements_also_in_place(count, device):
    x = np.arange(count, dtype=np.float32)
    text = printer.print_pointwise(Pointwise((Input("f32"),), (Step("square", (0,)),), (1,)))
    (got,) = device.run(text, (2,), 128, [((count,), np.float32)], [x], count)
    np.testing.assert_array_equal(got, x * x)
    place = device.cupy.asarray(x)
    device.kernel(text)((3,), (64,), (place, place, np.int64(count)))
    np.testing.assert_array_equal(device.cupy.asnumpy(place), x * x)


@pytest.mark.parametrize("kinds", [("f32", "f32"), ("bf16", "f32"), ("u8", "i64"), ("bool", "f16")])
def test_arrays_may_begin_anywhere(kinds, device):
    source, target = kinds
    given, exact = numbers(source)
    given, exact = np.resize(given, 1001), np.resize(exact, 1001)
    program = Pointwise((Input(source),), (Step("cast", (0,), None, target),), (1,))
    text = printer.print_pointwise(program)
    want = given if source == target else cast(exact, target)
    for skipped in (0, 1, 16):
        x = device.cupy.asarray(given)[skipped:]
        out = device.cupy.asarray(np.zeros(1001, DTYPES[target]))[skipped:]
        device.kernel(text)((2,), (64,), (out, x, np.int64(1001 - skipped)))
        np.testing.assert_array_equal(device.cupy.asnumpy(out), want[skipped:])
