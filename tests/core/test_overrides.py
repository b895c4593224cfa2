"""Classes derived from Tensor keep their type; ``__torch_function__`` and torch.overrides."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import flambeau
from tests.outcome import assert_same_outcome

CALLS = [
    "M=type('M',(t.Tensor,),{});;x=t.ones(2).as_subclass(M);;(type(x+1),type(t.add(x,1)),ty"
    'pe(x.sum()),type(x.shape),type(x.max(0)),type(x[0]),x, type(x.grad), type(1+x), type(t'
    '.stack([x,x])), type(x.detach()), type(t.nn.functional.relu(x)), type(x.numpy()), type'
    '(x.unbind()), type(x.add_(1)), x.add_(1) is x)',
    "M=type('M',(t.Tensor,),{});;M([1,2])",
    "M=type('M',(t.Tensor,),{});;N=type('N',(M,),{});;x=t.ones(2).as_subclass(M);;y=t.ones("
    '2).as_subclass(N);;(type(x+y),type(y+x))',
    "M=type('M',(t.Tensor,),{});;N=type('N',(t.Tensor,),{});;x=t.ones(2).as_subclass(M);;y="
    't.ones(2).as_subclass(N);;(type(x+y),type(y+x))',
    "M=type('M',(t.Tensor,),{});;x=t.ones(2).as_subclass(M);;w=t.nn.Parameter(t.ones(2));;("
    'type(t.add(w,x)), type(w*2), type(w.data), type(x+w))',
    't.Tensor.__torch_function__(t.add,(t.Tensor,),(t.ones(1),1))',
    "M=type('M',(t.Tensor,),{});;x=t.ones(2,requires_grad=True).as_subclass(M);;y=(x*2).sum"
    '();;y.backward();;(type(y),x.grad_fn)',
    "M=type('M',(t.Tensor,),{});;x=t.ones(2,requires_grad=True).as_subclass(M);;y=(x*2);;(y"
    '.grad_fn,y.grad_fn.next_functions[0][0])',
    "M=type('M',(t.Tensor,),{});;x=t.ones(2).as_subclass(M);;(type(x.T), type(x.data), type"
    '(x.grad))',
    "M=type('M',(t.Tensor,),{});;x=t.ones(2).as_subclass(M);;l=t.nn.Linear(2,3);;type(l(x))",
    "L=[];;M=type('M',(t.Tensor,),{'__torch_function__':classmethod(lambda cls,f,ts,a=(),k="
    "None: (L.append(getattr(f,'__name__',f)), t.Tensor.__torch_function__.__func__(cls,f,t"
    's,a,k or {}))[1])});;x=t.ones(2).as_subclass(M);;y=x+1;;z=t.add(x,y);;x.sum();;x.shape'
    ';;x.requires_grad;;t.cat([x,y]);;x[0];;1-x;;x.max();;(L)',
    "L=[];;M=type('M',(t.Tensor,),{'__torch_function__':classmethod(lambda cls,f,ts,a=(),k="
    'None: (L.append((f is t.add, f is t.Tensor.add, f is t.Tensor.__add__, [c.__name__ for'
    ' c in ts], len(a), k or None)), t.Tensor.__torch_function__.__func__(cls,f,ts,a,k or {'
    '}))[1])});;x=t.ones(2).as_subclass(M);;z=t.add(x,x,alpha=2);;x.add(1);;L',
    "t.overrides;;S=type('S',(),{'__torch_function__':classmethod(lambda cls,f,ts,a=(),k=No"
    'ne: (f.__name__, len(a)))});;t.mean(S(),1), t.add(t.ones(1),S()), t.stack([t.ones(1),S'
    '()])',
    "t.overrides;;S=type('S',(),{'__torch_function__':classmethod(lambda cls,f,ts,a=(),k=No"
    'ne: NotImplemented)});;t.mean(S(),1)',
    "M=type('M',(t.Tensor,),{});;x=t.ones(2).as_subclass(M);;x.foo=3;;(x+1).foo",
    "M=type('M',(t.Tensor,),{});;x=t.ones(2).as_subclass(M);;str(x), f'{x}', len(x), bool(("
    'x==1).all()), [type(i) for i in x], x.tolist(), float(x[0])',
    "M=type('M',(t.Tensor,),{'double_sum':lambda self: self.sum()*2});;x=t.ones(2).as_subcl"
    'ass(M);;x.double_sum()',
    "P=type('P',(t.nn.Parameter,),{});;p=P(t.ones(2));;type(p*2), type(p)",
    "M=type('M',(t.Tensor,),{'__torch_function__':classmethod(lambda cls,f,ts,a=(),k=None: "
    '42)});;x=t.ones(2).as_subclass(M);;(x+1, t.exp(x), x.shape, t.ones(2)+x, t.nn.function'
    'al.linear(x,x), x.sum(), t.linalg.norm(x))',
    't.overrides.has_torch_function((t.ones(1),)), t.overrides.is_tensor_like(t.ones(1)), t'
    '.overrides.is_tensor_like(3), t.overrides.resolve_name(t.add), t.overrides.resolve_nam'
    'e(t.Tensor.add), t.overrides.is_tensor_method_or_property(t.Tensor.add), t.overrides.i'
    's_tensor_method_or_property(t.add)',
    "M=type('M',(t.Tensor,),{});;x=t.ones(2).as_subclass(M);;isinstance(x,t.Tensor), t.is_t"
    'ensor(x), x.requires_grad_(True).requires_grad, type(x.requires_grad_(True))',
    "M=type('M',(t.Tensor,),{});;x=t.zeros(2).as_subclass(M);;x[0]=5;;x += 1;;(x, type(x))",
    "M=type('M',(t.Tensor,),{});;x=t.zeros(2,3).as_subclass(M);;(x.size(), x.dim(), x.size("
    '0), x.max(1), x.split(1), type(x.to(t.float64)), x.device, x.dtype)',
    "M=type('M',(t.Tensor,),{'__add__':lambda self,o: 'mine'});;x=t.zeros(2).as_subclass(M)"
    ';;(x+1, type(x-1))',
]


@pytest.mark.parametrize("code", CALLS)
def test_as_pytorch(code: str, torch_oracle: ModuleType) -> None:
    assert_same_outcome(code, torch_oracle)


class Logged(flambeau.Tensor):
    """Notes what is done with it."""

    seen: list[str] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        cls.seen.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {})


def test_an_override_sees_each_call_once() -> None:
    x = flambeau.arange(3.0).as_subclass(Logged)
    Logged.seen.clear()
    y = flambeau.nn.functional.softmax(x * 2, 0)
    assert Logged.seen == ["mul", "softmax"] and isinstance(y, Logged)


def test_gradients_reach_the_tensor_underneath() -> None:
    w = flambeau.ones(3, requires_grad=True)
    (w.as_subclass(Logged) * flambeau.arange(3.0)).sum().backward()
    assert w.grad.tolist() == [0.0, 1.0, 2.0]


def test_wrap_torch_function() -> None:
    @flambeau.overrides.wrap_torch_function(lambda a: (a,))
    def halve(a: Any) -> Any:
        return a / 2

    class Fixed:
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: tuple = (),
                               kwargs: dict | None = None) -> Any:
            return "fixed" if func is halve else NotImplemented

    assert halve(4) == 2 and halve(Fixed()) == "fixed"
    with pytest.raises(TypeError, match="all __torch_function__ handlers returned NotImplemented"):
        flambeau.exp(Fixed())


def test_functions_whose_files_load_later_ask_as_well(python: Callable) -> None:
    code = ("import flambeau as torch\n"
            "import flambeau.nn.functional as F\n"
            "class Kept(torch.Tensor):\n"
            "    pass\n"
            "x = torch.eye(2).as_subclass(Kept)\n"
            "assert type(torch.det(x)) is type(F.gelu(x)) is type(x.var()) is Kept\n")
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
