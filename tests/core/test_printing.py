"""The text of tensors: texts that PyTorch printed, then PyTorch itself where it is installed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flambeau.base import dtypes, naming
from flambeau.core import printing
from flambeau.core.printing import format_tensor, set_printoptions, tensor_str

INF, NAN = math.inf, math.nan


class Node:
    """The part of an autograd node that printing looks at."""

    def name(self) -> str:
        return "MulBackward0"


class Tensor:
    """The part of a tensor that printing looks at."""

    def __init__(self, values, dtype=None, requires_grad=False, grad_fn=None, device="cpu"):
        held = None if dtype is None else dtypes.BY_NAME[dtype].np
        self._a = np.asarray(values, held)
        self.dtype = dtypes.FROM_NUMPY[self._a.dtype]
        self.shape = self._a.shape
        self.requires_grad = requires_grad
        self.grad_fn = grad_fn
        self.is_leaf = grad_fn is None
        self.device = device

    def __str__(self) -> str:
        return tensor_str(self)


class Derived(Tensor):
    """A tensor of a class of the user's own."""


@pytest.fixture(autouse=True)
def torch_names_and_default_options():
    naming.set_prefix(naming.TORCH)
    yield
    naming.set_prefix(naming.OWN)
    set_printoptions(profile="default")


def f32(values, **rest):
    return Tensor(np.asarray(values, np.float64), "float32", **rest)


def lines(*parts: str) -> str:
    return "\n".join(parts)


# (tensor, what PyTorch prints)
SMALL = [
    (Tensor(1), "tensor(1)"),
    (Tensor(True), "tensor(True)"),
    (f32(1.0), "tensor(1.)"),
    (f32(0.1), "tensor(0.1000)"),
    (f32(1e-8), "tensor(1.0000e-08)"),
    (f32(1e8), "tensor(100000000.)"),
    (f32(123456789.0), "tensor(1.2346e+08)"),
    (f32(NAN), "tensor(nan)"),
    (f32(-INF), "tensor(-inf)"),
    (Tensor(2.5, "float64"), "tensor(2.5000, dtype=torch.float64)"),
    (Tensor(2.5, "bfloat16"), "tensor(2.5000, dtype=torch.bfloat16)"),
    (Tensor(3, "uint8"), "tensor(3, dtype=torch.uint8)"),
    (Tensor(1.5 - 2.25j, "complex64"), "tensor(1.5000-2.2500j)"),
    (f32([1.0, 2.0, 3.0]), "tensor([1., 2., 3.])"),
    (f32([1.0, 2.5, 3.25]), "tensor([1.0000, 2.5000, 3.2500])"),
    (f32([1.0, 1000.0]), "tensor([   1., 1000.])"),
    (f32([1.0, 1001.0]), "tensor([1.0000e+00, 1.0010e+03])"),
    (f32([1e8, 2e8]), "tensor([1.0000e+08, 2.0000e+08])"),
    (f32([0.0001, 0.01]), "tensor([1.0000e-04, 1.0000e-02])"),
    (f32([0.0002, 0.01]), "tensor([0.0002, 0.0100])"),
    (f32([0.1, 100.0]), "tensor([  0.1000, 100.0000])"),
    (f32([0.0, -0.0]), "tensor([0., -0.])"),
    (f32([1.0, -INF, -0.0]), "tensor([1., -inf, -0.])"),
    (f32([1.5, -INF, NAN]), "tensor([1.5000,   -inf,    nan])"),
    (f32([NAN, INF]), "tensor([nan, inf])"),
    (Tensor([1e300, 1e-300]), "tensor([1.0000e+300, 1.0000e-300], dtype=torch.float64)"),
    (Tensor([1, -20, 300]), "tensor([  1, -20, 300])"),
    (Tensor([0, 127, 255], "uint8"), "tensor([  0, 127, 255], dtype=torch.uint8)"),
    (Tensor([2], "uint64"), "tensor([2], dtype=torch.uint64)"),
    (Tensor([True, False]), "tensor([ True, False])"),
    (Tensor([0.1, 65504.0], "float16"), "tensor([9.9976e-02, 6.5504e+04], dtype=torch.float16)"),
    (
        Tensor([0.5, 448.0], "float8_e4m3fn"),
        "tensor([  0.5000, 448.0000], dtype=torch.float8_e4m3fn)",
    ),
    (
        Tensor([NAN, 2.0], "float8_e8m0fnu"),
        "tensor([   nan, 2.0000], dtype=torch.float8_e8m0fnu)",
    ),
    (Tensor([1 + 2j, -3.5 + 0j], "complex64"), "tensor([ 1.0000+2.j, -3.5000+0.j])"),
    (Tensor([1e10 + 1j, 1], "complex64"), "tensor([1.0000e+10+1.j, 1.0000e+00+0.j])"),
    (Tensor(np.conj(np.zeros(1, np.complex64))), "tensor([0.-0.j])"),
    (f32([]), "tensor([])"),
    (Tensor([], "int64"), "tensor([], dtype=torch.int64)"),
    (Tensor([], "complex64"), "tensor([], dtype=torch.complex64)"),
    (f32(np.zeros((2, 0, 3))), "tensor([], size=(2, 0, 3))"),
    (Tensor(np.zeros((0, 3))), "tensor([], size=(0, 3), dtype=torch.float64)"),
    (Tensor([[1, 2], [3, 4]]), lines("tensor([[1, 2],", "        [3, 4]])")),
    (f32(1.0, requires_grad=True), "tensor(1., requires_grad=True)"),
    (f32([1.0], requires_grad=True, grad_fn=Node()), "tensor([1.], grad_fn=<MulBackward0>)"),
    (
        Tensor([1.0, 1.0], requires_grad=True),
        "tensor([1., 1.], dtype=torch.float64, requires_grad=True)",
    ),
    (
        Tensor(np.zeros((2, 3)), device="meta"),
        "tensor(..., device='meta', size=(2, 3), dtype=torch.float64)",
    ),
]


@pytest.mark.parametrize(("tensor", "text"), SMALL, ids=[text for _, text in SMALL])
def test_small_tensors(tensor, text):
    assert tensor_str(tensor) == text


def test_a_long_vector_is_wrapped():
    assert tensor_str(Tensor(np.arange(30))) == lines(
        "tensor([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16, 17,",
        "        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29])",
    )


def test_blocks_are_apart_by_a_line_more_for_each_dimension():
    assert tensor_str(Tensor(np.arange(16).reshape(2, 2, 2, 2))) == lines(
        "tensor([[[[ 0,  1],",
        "          [ 2,  3]],",
        "",
        "         [[ 4,  5],",
        "          [ 6,  7]]],",
        "",
        "",
        "        [[[ 8,  9],",
        "          [10, 11]],",
        "",
        "         [[12, 13],",
        "          [14, 15]]]])",
    )


def test_above_the_threshold_only_edges_print():
    assert tensor_str(Tensor(np.arange(2000))) == (
        "tensor([   0,    1,    2,  ..., 1997, 1998, 1999])"
    )
    assert tensor_str(Tensor(np.arange(1200).reshape(3, 400))) == lines(
        "tensor([[   0,    1,    2,  ...,  397,  398,  399],",
        "        [ 400,  401,  402,  ...,  797,  798,  799],",
        "        [ 800,  801,  802,  ..., 1197, 1198, 1199]])",
    )
    set_printoptions(threshold=5, edgeitems=1)
    assert tensor_str(f32(np.arange(100.0).reshape(10, 10))) == lines(
        "tensor([[ 0.,  ...,  9.],",
        "        ...,",
        "        [90.,  ..., 99.]])",
    )


def test_the_suffix_takes_a_line_of_its_own_where_it_must():
    set_printoptions(linewidth=20)
    assert tensor_str(Tensor([1.0, 1.0, 1.0])) == lines(
        "tensor([1., 1., 1.],",
        "       dtype=torch.float64)",
    )


OPTIONS = [
    ({"precision": 2}, f32([1.23456, 2.0]), "tensor([1.23, 2.00])"),
    ({"precision": 0}, f32([1.5, 2.25]), "tensor([2, 2])"),
    ({"sci_mode": True}, f32([1.0, 2.5]), "tensor([1.0000e+00, 2.5000e+00])"),
    ({"sci_mode": True}, f32([0.0, NAN]), "tensor([0., nan])"),
    ({"sci_mode": True}, Tensor([1j], "complex64"), "tensor([0.+1.0000e+00j])"),
    ({"sci_mode": False}, f32([1e10, 1e-3]), "tensor([10000000000.0000,           0.0010])"),
    (
        {"profile": "short"},
        f32(np.arange(2000.0) / 8),
        "tensor([0.00e+00, 1.25e-01,  ..., 2.50e+02, 2.50e+02])",
    ),
    ({"edgeitems": 0}, f32(np.zeros(2000)), "tensor([...], size=(2000,))"),
    ({"edgeitems": 0}, Tensor([0, 1]), "tensor([0, 1], size=(2,))"),
]


@pytest.mark.parametrize(("options", "tensor", "text"), OPTIONS, ids=[str(o[0]) for o in OPTIONS])
def test_options(options, tensor, text):
    set_printoptions(**options)
    assert tensor_str(tensor) == text


def test_a_call_that_does_not_name_sci_mode_ends_it():
    set_printoptions(sci_mode=True, linewidth=100)
    set_printoptions(precision=3)
    assert printing.get_printoptions() == {
        "precision": 3, "threshold": 1000, "edgeitems": 3, "linewidth": 100, "sci_mode": None
    }


def test_what_is_given_beside_a_profile_wins_and_an_unknown_profile_does_nothing():
    set_printoptions(profile="short", linewidth=33)
    before = printing.get_printoptions()
    assert before == {
        "precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 33, "sci_mode": None
    }
    set_printoptions(profile="SHORT")
    assert printing.get_printoptions() == before


def test_the_context_manager_restores_the_options_after_an_error():
    with pytest.raises(ZeroDivisionError), printing.printoptions(precision=1, sci_mode=True):
        assert tensor_str(f32(1.25)) == "tensor(1.2e+00)"
        raise ZeroDivisionError
    assert tensor_str(f32(1.25)) == "tensor(1.2500)"


def test_the_default_dtype_needs_no_suffix():
    dtypes.set_default_dtype(dtypes.float64)
    try:
        assert tensor_str(Tensor([1.0])) == "tensor([1.])"
        assert tensor_str(Tensor([1j])) == "tensor([0.+1.j])"
        assert tensor_str(f32([1.0])) == "tensor([1.], dtype=torch.float32)"
    finally:
        dtypes.set_default_dtype(dtypes.float32)


def test_names_are_spelled_as_the_package_is():
    naming.set_prefix(naming.OWN)
    assert tensor_str(Tensor([1.0])) == "tensor([1.], dtype=flambeau.float64)"


def test_a_derived_class_prints_its_name():
    assert tensor_str(Derived([[1], [2]])) == lines("Derived([[1],", "         [2]])")


def test_a_view_whose_base_was_changed_prints_all_the_same():
    class Stale(Tensor):
        @property
        def grad_fn(self):
            raise RuntimeError("a view and its base")

        @grad_fn.setter
        def grad_fn(self, node):
            pass

    assert tensor_str(Stale(1)) == "Stale(1, grad_fn=<Invalid>)"


def test_format():
    assert format_tensor(f32(2.5), ".2f") == "2.50"
    assert format_tensor(f32(2.5), "") == "2.5"
    assert format_tensor(Tensor(2.5, "bfloat16"), ">6") == "   2.5"
    assert format_tensor(Tensor(7), "04d") == "0007"
    assert format_tensor(Tensor(1j, "complex64"), ".1f") == "0.0+1.0j"
    assert format_tensor(f32([2.5]), "") == "tensor([2.5000])"
    assert format_tensor(Derived(2), "") == "Derived(2)"
    with pytest.raises(TypeError, match="^unsupported format string passed to Tensor.__format__$"):
        format_tensor(f32([2.5]), ".2f")
    with pytest.raises(TypeError, match="^unsupported format string passed to Derived.__format__"):
        format_tensor(Derived(2), "d")
    with pytest.raises(ValueError, match="^Unknown format code 'd' for object of type 'float'$"):
        format_tensor(f32(2.5), "d")


shapes = st.one_of(
    st.just(()),
    st.tuples(st.integers(0, 60)),
    st.lists(st.integers(0, 9), min_size=2, max_size=3).map(tuple),
    st.lists(st.integers(1, 4), min_size=4, max_size=5).map(tuple),
)
# Values close to where the style changes, and values that do not take part in the choice.
awkward = st.sampled_from([0.0, -0.0, 1.0, -3.0, 0.5, 1e-4, 9.99e-5, 1e-3, 0.1, 100.0, 1000.0,
                           1001.0, 1e8, 100000001.0, INF, -INF, NAN])
magnitudes = st.floats(-1, 1).flatmap(lambda x: st.integers(-9, 9).map(lambda e: x * 10.0**e))
pools = st.one_of(
    st.lists(awkward, min_size=1, max_size=6),
    st.lists(st.integers(-(10**9), 10**9).map(float), min_size=1, max_size=6),
    st.lists(magnitudes, min_size=1, max_size=12),
    st.lists(st.floats(-4, 4), min_size=1, max_size=12),
)
options = st.fixed_dictionaries(
    {},
    optional={
        "precision": st.integers(0, 9),
        "threshold": st.sampled_from([0, 1, 5, 20, 100, INF]),
        "edgeitems": st.integers(0, 5),
        "linewidth": st.sampled_from([0, 8, 20, 33, 40, 60, 79, 81, 120, 30.5]),
        "profile": st.sampled_from(["default", "short", "full", "other"]),
        "sci_mode": st.booleans(),
    },
)


def array_of(pool: list[float], shape: tuple[int, ...], dtype: dtypes.dtype) -> np.ndarray:
    values = np.resize(pool, shape)
    if dtype.is_complex:
        both = np.empty(shape, dtype.np)
        both.real, both.imag = values, np.flip(values)
        return both
    if not dtype.is_floating_point:
        values = np.nan_to_num(values, posinf=1e9, neginf=-1e9).astype(np.int64)
    with np.errstate(all="ignore"):
        return np.asarray(values).astype(dtype.np)


def in_torch(torch, values: np.ndarray, dtype: dtypes.dtype):
    if dtype.name == "bfloat16" or dtype.name.startswith("float8"):
        bits = np.asarray(values).view(np.uint16 if dtype.itemsize == 2 else np.uint8)
        return torch.from_numpy(bits).view(getattr(torch, dtype.name))
    return torch.from_numpy(np.asarray(values))


@pytest.mark.parity
@settings(max_examples=400, deadline=None)
@given(pools, shapes, st.sampled_from(dtypes.ALL), options, st.booleans())
def test_random_tensors_as_torch(torch_oracle, pool, shape, dtype, chosen, wants_grad):
    torch = torch_oracle
    values = array_of(pool, shape, dtype)
    reference = in_torch(torch, values, dtype)
    grad = wants_grad and dtype.name in ("float16", "float32", "float64", "complex128")
    reference.requires_grad_(grad)
    torch.set_printoptions(**chosen)
    set_printoptions(**chosen)
    try:
        assert tensor_str(Tensor(values, requires_grad=grad)) == repr(reference)
    finally:
        torch.set_printoptions(profile="default")
        set_printoptions(profile="default")
