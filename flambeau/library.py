"""``torch.library``: operators of a program's own, with a backward and a place in torch.ops."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from flambeau import ops
from flambeau.autograd.function import Function
from flambeau.base.missing import missing_attribute
from flambeau.core.tensor import Tensor

__all__ = ["CustomOpDef", "custom_op", "register_autograd", "register_fake", "register_kernel"]

_OPS: dict[str, CustomOpDef] = {}


class _Namespace:
    """``torch.ops.<name>``: the operators registered under that name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"'_OpNamespace' '{self._name}' object has no attribute '{name}'")


class CustomOpDef:
    """An operator of a program's own; what ``custom_op`` gives. Call it as its function."""

    def __init__(self, name: str, fn: Callable) -> None:
        self._qualname = name
        self._namespace, self._name = name.split("::")
        self._init_fn = fn
        self._fake: Callable | None = None
        self._kernels: dict[str, Callable] = {}
        self._signature = inspect.signature(fn)
        self._positional = [p.name for p in self._signature.parameters.values()
                            if p.kind is not p.KEYWORD_ONLY]
        self._backward: Callable | None = None
        self._setup: Callable | None = None
        self._function = _function_of(self)
        self.__doc__ = fn.__doc__

    def __repr__(self) -> str:
        return f"<CustomOpDef({self._qualname})>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        given = self._bind(args, kwargs)
        return self._function.apply(*given.values())

    def _bind(self, args: tuple, kwargs: dict) -> dict[str, Any]:
        found = self._signature.bind_partial(*args, **kwargs)
        found.apply_defaults()
        for name in self._signature.parameters:
            if name not in found.arguments:
                raise RuntimeError(f"{self._qualname}() is missing value for argument '{name}'.")
        return {name: found.arguments[name] for name in self._signature.parameters}

    def _run(self, values: Sequence[Any]) -> Any:
        count = len(self._positional)
        names = list(self._signature.parameters)[count:]
        fn = self._kernels.get("cpu", self._init_fn)
        made = fn(*values[:count], **dict(zip(names, values[count:])))
        outputs = made if isinstance(made, (tuple, list)) else (made,)
        tensors = [v for v in values if isinstance(v, Tensor)]
        if any(out is x for out in outputs for x in tensors):
            raise RuntimeError(
                f"{self._qualname} (with implementation in {fn.__module__}): The output of this "
                "custom operator (1) must not also be an input to this custom operator and (2) may "
                "not alias any inputs to this custom operator or other returns.")
        return tuple(made) if isinstance(made, list) else made

    def register_fake(self, fn: Callable, /) -> Callable:
        """Keep the function that makes outputs of the right shapes; a trace here runs the real."""
        if self._fake is not None:
            raise RuntimeError(f"register_fake(...): the operator {self._qualname} already has a "
                               "fake impl registered.")
        self._fake = fn
        return fn

    def register_kernel(self, device_types: str | Sequence[str] | None, fn: Callable | None = None,
                        /) -> Callable:
        """Use another function for these devices; only the CPU's will ever be called."""

        def keep(function: Callable) -> Callable:
            kinds = [device_types] if isinstance(device_types, str) else device_types or ["cpu"]
            self._kernels.update(dict.fromkeys(kinds, function))
            return function

        return keep if fn is None else keep(fn)

    def register_autograd(self, backward: Callable, /, *, setup_context: Callable | None = None
                          ) -> None:
        """Differentiate by ``backward(ctx, *grads)``, which gives one gradient per input.

        ``setup_context(ctx, inputs, output)`` keeps what it needs (with ``keyword_only_inputs``
        between where the operator has some).
        """
        self._backward, self._setup = backward, setup_context

    def _set_up(self, ctx: Any, values: tuple, output: Any) -> None:
        if self._setup is None:
            return
        count = len(self._positional)
        names = list(self._signature.parameters)[count:]
        if names:
            self._setup(ctx=ctx, inputs=values[:count], output=output,
                        keyword_only_inputs=dict(zip(names, values[count:])))
        else:
            self._setup(ctx=ctx, inputs=values, output=output)

    def _differentiate(self, ctx: Any, grads: tuple) -> Any:
        if self._backward is None:
            raise RuntimeError(
                f"Trying to backward through {self._namespace}.{self._name}.default but no "
                "autograd formula was registered. Please use register_autograd to add one.")
        found = self._backward(ctx, *grads)
        extra = len(self._signature.parameters) - len(self._positional)
        return (*found, *[None] * extra) if extra and isinstance(found, tuple) else found


def _function_of(op: CustomOpDef) -> Any:
    """The autograd Function that runs an operator."""

    def forward(*values: Any) -> Any:
        return op._run(values)

    def set_up(ctx: Any, values: tuple, output: Any) -> None:
        op._set_up(ctx, values, output)

    def backward(ctx: Any, *grads: Any) -> Any:
        return op._differentiate(ctx, grads)

    name = f"GeneratedBackwardFor_{op._namespace}_{op._name}_default"
    return type(name, (Function,), {"forward": staticmethod(forward),
                                    "setup_context": staticmethod(set_up),
                                    "backward": staticmethod(backward)})


def custom_op(name: str, fn: Callable | None = None, /, *, mutates_args: str | Sequence[str],
              device_types: str | Sequence[str] | None = None, schema: str | None = None,
              tags: Sequence[Any] | None = None) -> Any:
    """Make a function the operator ``"namespace::name"``, also as ``torch.ops.namespace.name``.

    The function may use NumPy or any library. It differentiates by what ``register_autograd`` is
    given, else backward raises RuntimeError. ``mutates_args`` names arguments that it writes to.

    >>> import flambeau as torch
    >>> @torch.library.custom_op("readme::double", mutates_args=())
    ... def double(x: torch.Tensor) -> torch.Tensor:
    ...     return torch.from_numpy(x.numpy() * 2)
    >>> torch.ops.readme.double(torch.ones(2))
    tensor([2., 2.])
    """
    namespace, parted, short = name.partition("::")
    if not (parted and namespace and short):
        raise ValueError(f'Expected `name` to be of the form "namespace::name", got {name}')

    def make(function: Callable) -> CustomOpDef:
        holder = vars(ops).get(namespace)
        if holder is None:
            holder = _Namespace(namespace)
            setattr(ops, namespace, holder)
        if not isinstance(holder, _Namespace):
            raise RuntimeError(f"the namespace {namespace} is flambeau's own")
        made = CustomOpDef(name, function)
        _OPS[name] = made
        setattr(holder, short, made)
        return made

    return make if fn is None else make(fn)


def _definition(op: Any) -> CustomOpDef:
    if isinstance(op, CustomOpDef):
        return op
    if op not in _OPS:
        raise RuntimeError(f"operator {op} does not exist")
    return _OPS[op]


def register_fake(op: str | CustomOpDef, func: Callable | None = None, /, **options: Any) -> Any:
    """``CustomOpDef.register_fake`` of an operator or of its name; a decorator without ``func``."""
    found = _definition(op)
    return found.register_fake if func is None else found.register_fake(func)


def register_kernel(op: str | CustomOpDef, device_types: str | Sequence[str] | None,
                    func: Callable | None = None, /) -> Any:
    """``CustomOpDef.register_kernel`` of an operator or of its name."""
    return _definition(op).register_kernel(device_types, func)


def register_autograd(op: str | CustomOpDef, backward: Callable, /, *,
                      setup_context: Callable | None = None) -> None:
    """``CustomOpDef.register_autograd`` of an operator or of its name."""
    _definition(op).register_autograd(backward, setup_context=setup_context)


def __getattr__(name: str) -> NoReturn:
    raise missing_attribute(__name__, name, __all__)
