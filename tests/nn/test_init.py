"""First values of parameters: PyTorch's numbers, and what it refuses."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

import flambeau as fl

CALLS = [
    ("uniform_", (-2.0, 3.0)), ("normal_", (1.0, 0.2)), ("constant_", (3.0,)), ("ones_", ()),
    ("zeros_", ()), ("eye_", ()), ("xavier_uniform_", (2.0,)), ("xavier_normal_", ()),
    ("kaiming_uniform_", (0.5,)), ("kaiming_normal_", (0.1, "fan_out", "relu")),
    ("trunc_normal_", ()), ("trunc_normal_", (0.0, 1.0, 2.0, 4.0)), ("sparse_", (0.4,)),
]


@pytest.mark.parametrize(("name", "arguments"), CALLS)
@pytest.mark.parametrize("transposed", [False, True])
def test_values(name: str, arguments: tuple, transposed: bool, torch_oracle: ModuleType) -> None:
    values = []
    for t in (torch_oracle, fl):
        t.manual_seed(4)
        weight = t.zeros(6, 9, requires_grad=True)
        target = weight.detach().t() if transposed else weight
        result = getattr(t.nn.init, name)(target, *arguments)
        assert result is target
        values.append(weight.detach().numpy())
        values.append(t.rand(2).numpy())
    np.testing.assert_array_equal(values[2], values[0])
    np.testing.assert_array_equal(values[3], values[1])


@pytest.mark.parametrize("shape", [(5, 8), (8, 5), (4, 3, 2)])
def test_orthogonal(shape: tuple[int, ...], torch_oracle: ModuleType) -> None:
    values = []
    for t in (torch_oracle, fl):
        t.manual_seed(0)
        values.append(t.nn.init.orthogonal_(t.empty(shape), 1.5).numpy())
    np.testing.assert_allclose(values[1], values[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("shape", "groups"), [((3, 4, 5), 1), ((4, 2, 3, 3), 2)])
def test_dirac(shape: tuple[int, ...], groups: int, torch_oracle: ModuleType) -> None:
    want = torch_oracle.nn.init.dirac_(torch_oracle.empty(shape), groups)
    got = fl.nn.init.dirac_(fl.empty(shape), groups)
    assert got.tolist() == want.tolist()


@pytest.mark.parametrize(("name", "shape"), [
    ("xavier_uniform_", (3,)), ("kaiming_normal_", (3,)), ("orthogonal_", (3,)),
    ("sparse_", (3,)), ("eye_", (3,)), ("dirac_", (3, 3))])
def test_refused(name: str, shape: tuple[int, ...], torch_oracle: ModuleType) -> None:
    messages = []
    arguments = (0.1,) if name == "sparse_" else ()
    for t in (torch_oracle, fl):
        with pytest.raises(ValueError) as caught:
            getattr(t.nn.init, name)(t.zeros(shape), *arguments)
        messages.append(str(caught.value))
    assert messages[1] == messages[0]


def test_gains(torch_oracle: ModuleType) -> None:
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert fl.nn.init.calculate_gain(name) == torch_oracle.nn.init.calculate_gain(name)
    with pytest.raises(ValueError, match="Unsupported nonlinearity foo"):
        fl.nn.init.calculate_gain("foo")


def test_older_names_warn() -> None:
    with pytest.warns(FutureWarning, match="deprecated in favor of `nn.init.normal_`"):
        fl.nn.init.normal(fl.empty(2))
