"""finfo and iinfo: known figures and texts, then every type against PyTorch."""

from __future__ import annotations

import pytest

from flambeau.base import dtypes, naming
from flambeau.base.limits import finfo, iinfo

FLOATING = [d for d in dtypes.ALL if d.is_floating_point or d.is_complex]
INTEGERS = [d for d in dtypes.ALL if d not in FLOATING and d is not dtypes.bool_]
FLOAT_FIGURES = ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype")
INT_FIGURES = ("bits", "max", "min", "dtype")


@pytest.fixture(autouse=True)
def torch_names():
    naming.set_prefix(naming.TORCH)
    yield
    naming.set_prefix(naming.OWN)


def test_texts():
    assert repr(finfo(dtypes.float16)) == (
        "finfo(resolution=0.001, min=-65504, max=65504, eps=0.000976562, "
        "smallest_normal=6.10352e-05, tiny=6.10352e-05, dtype=float16)"
    )
    assert repr(finfo(dtypes.complex64)) == repr(finfo())
    assert repr(iinfo(dtypes.int32)) == "iinfo(min=-2.14748e+09, max=2.14748e+09, dtype=int32)"
    assert repr(iinfo(int)) == "iinfo(min=-9.22337e+18, max=9.22337e+18, dtype=int64)"


def test_equal_where_the_type_is():
    assert finfo(dtypes.float32) == finfo(dtypes.complex64)
    assert finfo(dtypes.float32) != finfo(float)
    assert iinfo(dtypes.int8) != iinfo(dtypes.uint8)
    assert iinfo(dtypes.int8) != 3
    with pytest.raises(TypeError, match="^unhashable"):
        hash(finfo())


def test_figures_are_read_only():
    with pytest.raises(AttributeError):
        finfo().eps = 1.0
    with pytest.raises(AttributeError):
        iinfo(int).other = 1


WRONG = [
    (finfo, dtypes.int32, "torch.finfo() requires a floating point input type. "
                          "Use torch.iinfo to handle 'torch.finfo'"),
    (finfo, bool, "torch.finfo() requires a floating point input type. "
                  "Use torch.iinfo to handle 'torch.finfo'"),
    (finfo, "float32", "finfo(): argument 'type' (position 1) must be torch.dtype, not str"),
    (finfo, None, "finfo(): argument 'type' (position 1) must be torch.dtype, not NoneType"),
    (iinfo, dtypes.bool_, "torch.bool is not supported by torch.iinfo"),
    (iinfo, complex, "torch.iinfo() requires an integer input type. "
                     "Use torch.finfo to handle 'torch.iinfo'"),
]


@pytest.mark.parametrize(("limits", "given", "text"), WRONG)
def test_other_types_are_refused(limits, given, text):
    with pytest.raises(TypeError) as caught:
        limits(given)
    assert str(caught.value) == text


def test_iinfo_has_no_default():
    with pytest.raises(TypeError, match="missing 1 required positional arguments"):
        iinfo()


def same_in(torch, limits, dtype, figures):
    ours = limits(dtype)
    theirs = getattr(torch, limits.__name__)(getattr(torch, dtype.name))
    assert repr(ours) == repr(theirs)
    for name in figures:
        got, expected = getattr(ours, name), getattr(theirs, name)
        assert (type(got), got) == (type(expected), expected), name


@pytest.mark.parity
@pytest.mark.parametrize("dtype", FLOATING, ids=repr)
def test_finfo_as_torch(torch_oracle, dtype):
    same_in(torch_oracle, finfo, dtype, FLOAT_FIGURES)


@pytest.mark.parity
@pytest.mark.parametrize("dtype", INTEGERS, ids=repr)
def test_iinfo_as_torch(torch_oracle, dtype):
    same_in(torch_oracle, iinfo, dtype, INT_FIGURES)
