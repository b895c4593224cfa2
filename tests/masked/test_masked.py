"""torch.masked: results where everything is hidden, dtypes, gradients and errors."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.outcome import assert_same_outcome

PARTS = ["x = t.tensor([[1., 2, 3], [4, 5, 6]], requires_grad=True)",
         "m = t.tensor([[True, False, True], [False] * 3])"]
NAMES = ["sum", "prod", "amax", "amin", "argmax", "argmin", "mean", "median", "norm", "var", "std",
         "logsumexp"]
ALONG = ["softmax", "log_softmax", "softmin", "cumsum", "cumprod"]

ERRORS = [
    "t.masked.mean(t.arange(3))",
    "t.masked.mean(t.ones(3), dtype=t.int64)",
    "t.masked.median(t.arange(3), mask=t.tensor([False] * 3))",
    "t.masked.sum(t.ones(3), (0, 0))",
    "t.masked.sum(t.ones(3), 2)",
    "t.masked.sum(t.ones(3), mask=t.ones(2, 3, dtype=t.bool))",
    "t.masked.sum(t.ones(2, 3), mask=t.ones(2, dtype=t.bool))",
    "t.masked.var(t.ones(3), unbiased=True, correction=2)",
]


@pytest.mark.parametrize("kind", ["float32", "int32", "uint8", "float16"])
@pytest.mark.parametrize("name", NAMES)
def test_reductions(name: str, kind: str, torch_oracle: ModuleType) -> None:
    start = f"{PARTS[0]};;{PARTS[1]};;y = x.detach().to(t.{kind})"
    for rest in ("", ", dim=1", ", dim=0, keepdim=True", ", dim=-1, dtype=t.float64"):
        if name in ("argmax", "argmin", "median") or ", dim" in rest:
            assert_same_outcome(f"{start};;t.masked.{name}(y{rest}, mask=m)", torch_oracle)
        else:
            assert_same_outcome(f"{start};;t.masked.{name}(y{rest}, mask=m[0])", torch_oracle)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_reductions(name: str, torch_oracle: ModuleType) -> None:
    if not name.startswith("arg"):
        code = ";;".join([*PARTS, f"y = t.masked.{name}(x, dim=1, mask=m)", "y[0].backward()",
                          "(y.detach(), x.grad)"])
        assert_same_outcome(code, torch_oracle)


@pytest.mark.parametrize("name", ALONG)
def test_gradients_along(name: str, torch_oracle: ModuleType) -> None:
    code = ";;".join([*PARTS, f"y = t.masked.{name}(x, 1, mask=m)", "y[0, 2].backward()",
                      "(y.detach(), x.grad)"])
    assert_same_outcome(code, torch_oracle)


@pytest.mark.parametrize("code", ERRORS)
def test_errors(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(code, torch_oracle)
