"""PyTorch's CPU random numbers on arrays: values and place in the stream, bit for bit."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.backends import large, random_choice, random_fill, random_kernels, random_samplers
from flambeau.backends.mt19937 import Engine

DTYPES = {
    name: np.dtype(name)
    for name in (
        "float16",
        "float32",
        "float64",
        "uint8",
        "int8",
        "int16",
        "int32",
        "int64",
        "bool",
    )
}
DTYPES["bfloat16"] = np.dtype(ml_dtypes.bfloat16)
FLOATS = ("float32", "float64", "float16", "bfloat16")
SIZES = (0, 1, 2, 15, 16, 17, 40, 700)
SHIFTED = {
    "strided": lambda make: make((6, 8))[:, ::2],
    "transposed": lambda make: make((6, 8)).transpose(1, 0),
    "permuted": lambda make: make((3, 4, 5)).transpose(2, 0, 1),
    "part": lambda make: make((3, 4, 5)).transpose(2, 0, 1)[:, 1:],
}

# Name in PyTorch, function here, argument lists, element types.
FILLS = [
    ("uniform_", random_fill.uniform, [(), (-2.0, 5.0), (10.0, 10.5), (0.1, 0.37)], FLOATS),
    ("normal_", random_fill.normal, [(), (2.0, 3.0), (1.3, 0.7)], FLOATS),
    ("exponential_", random_fill.exponential, [(), (3.0,), (0.7,)], FLOATS),
    ("cauchy_", random_fill.cauchy, [(), (0.3, 0.7)], FLOATS),
    ("log_normal_", random_fill.log_normal, [(), (0.5, 0.25)], FLOATS),
    ("geometric_", random_fill.geometric, [(0.3,), (0.001,)], ("float32", "bfloat16", "int64")),
    ("bernoulli_", random_fill.bernoulli_scalar, [(0.2,), (0,), (1,)], tuple(DTYPES)),
    ("random_", random_fill.random_full, [()], tuple(DTYPES)),
    ("random_", random_fill.random_from_to, [(0, 90)], [d for d in DTYPES if d != "bool"]),
    ("random_", random_fill.random_from_to, [(-5, 2**20)], ("int32", "int64", "float32")),
    ("random_", random_fill.random_from_to, [(2**24 + 3, 2**24 + 9)], ("int64", "float64")),
    (
        "random_",
        random_fill.random_from_to,
        [(0, 2**28 - 1), (0, 2**28), (-(2**62), 2**62), (-(2**63), 2**63 - 1)],
        ("int64",),
    ),
]
CASES = [
    pytest.param(name, fill, args, dtype, id=f"{fill.__name__}{args}-{dtype}")
    for name, fill, lists, dtypes in FILLS
    for args in lists
    for dtype in dtypes
]


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def bits(a):
    return np.ascontiguousarray(a).tobytes()


def tensor_bits(torch, t):
    flat = torch.empty(t.numel(), dtype=t.dtype)
    flat.copy_(t.reshape(-1))
    return flat.view(torch.uint8).numpy().tobytes() if t.numel() else b""


def agree(torch, t, a, engine):
    assert tensor_bits(torch, t) == bits(a)
    assert torch.get_rng_state().numpy().tobytes() == engine.get_state().tobytes()


def seeded(torch, seed):
    torch.manual_seed(seed)
    return Engine(seed)


@pytest.mark.parametrize(("name", "fill", "args", "dtype"), CASES)
def test_fill_contiguous(torch, name, fill, args, dtype):
    for n in SIZES:
        engine = seeded(torch, n)
        t = torch.zeros(n, dtype=getattr(torch, dtype))
        a = np.zeros(n, DTYPES[dtype])
        getattr(t, name)(*args)
        fill(a, engine, *args)
        agree(torch, t, a, engine)


@pytest.mark.parametrize("layout", SHIFTED)
@pytest.mark.parametrize(("name", "fill", "args", "dtype"), CASES)
def test_fill_views(torch, name, fill, args, dtype, layout):
    engine = seeded(torch, 5)
    a = SHIFTED[layout](lambda shape: np.zeros(shape, DTYPES[dtype]))
    base = SHIFTED[layout](lambda shape: np.arange(np.prod(shape)).reshape(shape))
    t = torch.zeros(base.max() + 1, dtype=getattr(torch, dtype))
    strides = [s // base.itemsize for s in base.strides]
    t = t.as_strided(base.shape, strides, int(base.min()))
    getattr(t, name)(*args)
    fill(a, engine, *args)
    agree(torch, t, a, engine)


@pytest.mark.parametrize("low", [0, -5, 100, -(2**63)])
@pytest.mark.parametrize("dtype", ["int64", "float32", "float64"])
def test_random_from(torch, low, dtype):
    engine = seeded(torch, 1)
    t, a = torch.zeros(50, dtype=getattr(torch, dtype)), np.zeros(50, dtype)
    t.random_(low, None)
    random_fill.random_from(a, engine, low)
    agree(torch, t, a, engine)


@pytest.mark.parametrize("n", [3, 8, 20])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex(torch, n, dtype):
    engine = seeded(torch, 0)
    for draw, fill in ((torch.rand, random_fill.uniform), (torch.randn, random_fill.normal)):
        a = np.zeros(n, dtype)
        fill(a, engine)
        assert tensor_bits(torch, draw(n, dtype=getattr(torch, dtype))) == bits(a)


@pytest.mark.parametrize("p_dtype", FLOATS)
def test_bernoulli_array(torch, p_dtype):
    p = torch.linspace(0, 1, 12).reshape(3, 4).to(getattr(torch, p_dtype))
    values = np.frombuffer(tensor_bits(torch, p), DTYPES[p_dtype]).reshape(3, 4)
    engine = seeded(torch, 3)
    t = torch.zeros(5, 3, 4).permute(1, 2, 0).permute(2, 0, 1)
    a = np.zeros((5, 3, 4), np.float32)
    t.bernoulli_(p)
    random_fill.bernoulli_array(a, engine, values)
    agree(torch, t, a, engine)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10, 700, 701, 702, 20001])
def test_randperm(torch, n):
    engine = seeded(torch, n)
    agree(torch, torch.randperm(n), random_choice.randperm(n, engine), engine)
    a = random_choice.randperm(100, engine, np.float32)
    agree(torch, torch.randperm(100, dtype=torch.float32), a, engine)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n", "replacement"), [(1, False), (3, False), (1, True), (50, True)])
def test_multinomial(torch, dtype, n, replacement):
    for shape in ((8,), (3, 8)):
        p = torch.arange(1.0, 1 + np.prod(shape)).reshape(shape).to(getattr(torch, dtype))
        weights = np.frombuffer(tensor_bits(torch, p), DTYPES[dtype]).reshape(shape)
        engine = seeded(torch, 9)
        drawn = random_choice.multinomial(weights, n, replacement, engine)
        agree(torch, torch.multinomial(p, n, replacement=replacement), drawn, engine)


def samplers(torch):
    rates = torch.linspace(0.01, 40, 60, dtype=torch.float64)
    shares = torch.linspace(0, 1, 60, dtype=torch.float64)
    return {
        "poisson": (torch.poisson, random_samplers.poisson, [rates]),
        "gamma": (torch._standard_gamma, random_samplers.standard_gamma, [rates]),
        "dirichlet": (torch._sample_dirichlet, random_samplers.dirichlet, [rates]),
        "binomial": (torch.binomial, random_samplers.binomial, [(2 * rates).round(), shares]),
        "coins": (torch.binomial, random_samplers.binomial, [rates.round().clip(0, 9), shares]),
    }


@pytest.mark.parametrize("name", ["poisson", "gamma", "dirichlet", "binomial", "coins"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_samplers(torch, name, dtype):
    theirs, ours, arguments = samplers(torch)[name]
    for shape in ((30, 2), (2, 30), (3, 20)):
        engine = seeded(torch, 4)
        # Transposed, and rows of 2 or 3: a longer float64 sum depends on its order.
        inputs = [x.to(getattr(torch, dtype)).reshape(shape).t() for x in arguments]
        if name == "dirichlet":
            inputs = [x.reshape(-1, 2) for x in inputs]
        out = ours(*[x.numpy() for x in inputs], engine)
        agree(torch, theirs(*inputs), out, engine)


DRAWS = {
    "rand(3)": (lambda t: t.rand(3), np.float32, random_fill.uniform, 3),
    "rand(700)": (lambda t: t.rand(700), np.float32, random_fill.uniform, 700),
    "rand(5, float64)": (lambda t: t.rand(5, dtype=t.float64), np.float64, random_fill.uniform, 5),
    "randn(1)": (lambda t: t.randn(1), np.float32, random_fill.normal, 1),
    "randn(3)": (lambda t: t.randn(3), np.float32, random_fill.normal, 3),
    "randn(17)": (lambda t: t.randn(17), np.float32, random_fill.normal, 17),
    "randn(5, float64)": (lambda t: t.randn(5, dtype=t.float64), np.float64, random_fill.normal, 5),
    "log_normal": (lambda t: t.zeros(3).log_normal_(), np.float32, random_fill.log_normal, 3),
    "long log_normal": (lambda t: t.ones(99).log_normal_(), np.float32, random_fill.log_normal, 99),
    "random": (lambda t: t.zeros(4, dtype=t.int64).random_(), np.int64, random_fill.random_full, 4),
    "exponential": (lambda t: t.zeros(5).exponential_(), np.float32, random_fill.exponential, 5),
}


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(-(2**63), 2**64 - 1),
    names=st.lists(st.sampled_from(sorted(DRAWS)), max_size=12),
    save_at=st.integers(0, 12),
)
def test_interleaved(seed, names, save_at):
    torch = pytest.importorskip("torch")
    engine = seeded(torch, seed)
    for k, name in enumerate(names):
        if k == save_at:
            engine.set_state(torch.get_rng_state().numpy())
        theirs, dtype, fill, n = DRAWS[name]
        a = np.zeros(n, dtype)
        fill(a, engine)
        agree(torch, theirs(torch), a, engine)
    assert engine.initial_seed == torch.initial_seed()


@given(counts=st.lists(st.integers(0, 2000), max_size=6))
@settings(max_examples=50, deadline=None)
def test_words_do_not_depend_on_the_blocks(counts):
    pieces, whole = Engine(11), Engine(11)
    drawn = [pieces.words(n) for n in counts]
    assert np.array_equal(
        np.concatenate([np.empty(0, np.uint32), *drawn]), whole.words(sum(counts))
    )
    assert bits(pieces.get_state()) == bits(whole.get_state())
    assert pieces.word() == whole.words(1)[0]


def test_words_are_mt19937():
    # The published reference values of MT19937 for the seed 5489.
    engine = Engine(5489)
    assert engine.words(3).tolist() == [3499211612, 581869302, 3890346734]
    engine.seed(5489)
    assert engine.words(10_000)[-1] == 4123659995


def test_golden_values():
    a = np.zeros(3, np.float32)
    random_fill.uniform(a, Engine(0))
    assert bits(a) == bits(
        np.array([0.49625658988952637, 0.7682217955589294, 0.08847743272781372], "f4")
    )
    random_fill.normal(a, Engine(0))
    assert bits(a) == bits(
        np.array([1.5409960746765137, -0.293428897857666, -2.1787893772125244], "f4")
    )
    assert random_choice.randperm(5, Engine(0)).tolist() == [4, 0, 1, 3, 2]


@pytest.mark.parametrize("mean, std", [(0.0, 1.0), (2.0, 3.0)])
@pytest.mark.parametrize("n", [16, 17, 40, 64, 700])
def test_few_normals_by_kernels_have_the_bits_of_numpys(n, mean, std, monkeypatch):
    if not large.available():
        pytest.skip("there are no generated kernels")
    made, known = np.zeros(n, np.float32), np.zeros(n, np.float32)
    engines = Engine(5), Engine(5)
    random_fill.normal(made, engines[0], mean, std)
    monkeypatch.setattr(random_kernels, "worth", lambda n: False)
    random_fill.normal(known, engines[1], mean, std)
    assert bits(made) == bits(known)
    assert bits(engines[0].get_state()) == bits(engines[1].get_state())


@pytest.mark.parametrize("before", range(4))
def test_doubles_go_on_from_any_position(before):
    engine, other = Engine(3), Engine(3)
    for n in (1, 2, 300, 7, 5):
        engine.words(before)
        other.words(before)
        numbers = [other.double() for _ in range(n)]
        assert engine.doubles(n).tolist() == numbers


def test_few_numbers_are_those_of_many():
    for n in (1, 2, 15, 23, 24, 47, 48, 49):
        engine, other = Engine(n), Engine(n)
        a, b = np.zeros(n, np.int64), np.zeros(n, np.int32)
        random_fill.random_from_to(a, engine, -5, 12)
        random_fill.random_from_to(b, other, -5, 12)
        assert a.tolist() == b.tolist()
        assert sorted(random_choice.randperm(n, engine).tolist()) == list(range(n))


@pytest.mark.parametrize("before", [0, 1, 3, 623, 624, 625, 1300])
def test_state_round_trip(before):
    engine = Engine(2**40 + 7)
    engine.words(before)
    a = np.zeros(3)
    random_fill.normal(a, engine)
    other = engine.clone()
    assert bits(other.get_state()) == bits(engine.get_state())
    assert other.initial_seed == 2**40 + 7
    b = np.zeros(3)
    random_fill.normal(a, engine)
    random_fill.normal(b, other)
    assert bits(a) == bits(b)
    assert np.array_equal(engine.words(900), other.words(900))


def test_clone_is_independent():
    engine = Engine(1)
    engine.clone().words(50)
    assert bits(engine.get_state()) == bits(Engine(1).get_state())


def test_state_errors():
    engine = Engine(0)
    state = engine.get_state()
    expected = (
        "Expected a CPUGeneratorImplState of size 5056 but found the input RNG state size to be 100"
    )
    with pytest.raises(RuntimeError, match=expected):
        engine.set_state(state[:100])
    for position, value in ((8, 0), (12, 0), (17, 255)):
        broken = state.copy()
        broken[position] = value
        with pytest.raises(RuntimeError, match="Invalid mt19937 state"):
            engine.set_state(broken)
    assert bits(engine.get_state()) == bits(state)
