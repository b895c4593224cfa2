"""torch.library: a program's own operators as in PyTorch."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.outcome import assert_same_outcome

MAKE = """
def make(t, short):
    @t.library.custom_op('flambeautest::' + short, mutates_args=())
    def op(x: t.Tensor, n: int = 2) -> t.Tensor:
        return t.from_numpy(x.detach().numpy() * n)
    def setup(ctx, inputs, output):
        ctx.n = inputs[1]
    def backward(ctx, grad):
        return grad * ctx.n, None
    op.register_fake(lambda x, n=2: t.empty_like(x))
    return op, setup, backward
"""
START = f"exec({MAKE!r}, globals());;x=t.ones(2,requires_grad=True);;"
CALLS = [
    "op,s,b=make(t,'a');;(op(x), op(x).requires_grad, op(x.detach()), op)",
    "op,s,b=make(t,'b');;op(x).sum().backward()",
    "op,s,b=make(t,'c');;op.register_autograd(b,setup_context=s);;op(x,3).sum().backward();;"
    "x.grad",
    "op,s,b=make(t,'d');;t.library.register_autograd('flambeautest::d',b,setup_context=s);;"
    "(t.ops.flambeautest.d(x,n=5), t.autograd.grad(op(x,n=5).sum(),x))",
    "op,s,b=make(t,'e');;t.ops.flambeautest.nope",
]


@pytest.mark.parametrize("code", CALLS)
def test_as_pytorch(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(START + code, torch_oracle)


def test_an_output_may_not_be_an_input() -> None:
    import flambeau

    same = flambeau.library.custom_op("flambeautest::same", lambda x: x, mutates_args=())
    with pytest.raises(RuntimeError, match="must not also be an input"):
        same(flambeau.ones(1))
    with pytest.raises(RuntimeError, match="missing value for argument 'x'"):
        same()
