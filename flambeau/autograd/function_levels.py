"""Custom Functions inside transforms: vmap, grad, jvp."""

from __future__ import annotations

from typing import Any, NamedTuple

from flambeau.autograd.function_node import FunctionCtx, as_tuple
from flambeau.core.dispatch import edge_of
from flambeau.core.levels import (
    LEVEL,
    TRACED,
    Batched,
    Dual,
    Handle,
    Tracked,
    lower,
    standing,
)
from flambeau.core.modes import MODES
from flambeau.core.node import Output
from flambeau.core.tensor import Tensor, wrap

__all__ = ["VmapInfo", "apply", "level_among"]

MORE = ("For more details, please see "
        "https://pytorch.org/docs/main/notes/extending.func.html")


class VmapInfo(NamedTuple):
    """What a ``vmap`` staticmethod is told: the size of the batch, and vmap's ``randomness``."""

    batch_size: int
    randomness: str


def _level(t: Any) -> float:
    return t._a.level if isinstance(t, Tensor) and isinstance(t._a, Handle) else 0


def level_among(args: tuple) -> float:
    """The highest level of transform among the arguments; 0 where there is none."""
    found = max([_level(a) for a in args], default=0)
    return 0 if found == TRACED else found


def apply(cls: Any, args: tuple) -> Any:
    """Apply a Function to arguments of which some belong to a transform."""
    level: Any = level_among(args)
    top = next(a._a for a in args if _level(a) == level)
    if not cls.has_setup() and not (isinstance(top, Dual) and top.eager):
        raise RuntimeError("In order to use an autograd.Function with functorch transforms (vmap, "
                           "grad, jvp, jacrev, ...), it must override the setup_context "
                           f"staticmethod. {MORE}")
    if isinstance(top, Tracked):
        return _tracked(cls, args, level)
    if isinstance(top, Dual):
        return _dual(cls, args, level)
    return _batched(cls, args, level)


def _tracked(cls: Any, args: tuple, level: int) -> Any:
    inner = tuple([lower(a, level) for a in args])
    output = cls.apply(*inner)
    outputs = as_tuple(output)
    own = [a if _level(a) == level else None for a in args]
    edges = [edge_of(t) for t in own]
    ctx = FunctionCtx()
    ctx.needs_input_grad = tuple([e is not None for e in edges])
    cls.setup_context(ctx, inner, output)
    stands = []
    for o in outputs:
        dirty = [a for a, i in zip(args, inner) if o is i and any(o is d for d in ctx._dirty)]
        tensor = isinstance(o, Tensor)
        stands.append(dirty[0] if dirty else standing(Tracked(level, o)) if tensor else o)
    if MODES.grad and any(ctx.needs_input_grad):
        node = cls._backward_cls(ctx, args, edges)
        node.outputs = [(o._a.shape, o._a.dtype) if isinstance(o, Tensor) else None
                        for o in outputs]
        for nr, (o, s) in enumerate(zip(outputs, stands)):
            fixed = any(o is f for f in ctx._fixed)
            if isinstance(o, Tensor) and not fixed and o._a.dtype.kind not in "biu":
                s._node = Output(node, nr)
        ctx.close(node, ())
    return tuple(stands) if isinstance(output, tuple) else stands[0]


def _dual(cls: Any, args: tuple, level: int) -> Any:
    primals = tuple([lower(a, level) for a in args])
    ctx = FunctionCtx()
    if cls.has_setup():
        output = cls.apply(*primals)
        cls.setup_context(ctx, primals, output)
    else:
        output = cls.apply(*primals)
        _again(cls, ctx, primals)
    tangents = []
    for a, p in zip(args, primals):
        t = a._a.tangent if _level(a) == level else None
        if t is None and isinstance(p, Tensor) and ctx._materialize and p.dtype.is_floating_point:
            t = p.detach() * 0
        tangents.append(t)
    ctx._in_jvp = True
    found = as_tuple(cls.jvp(ctx, *tangents))
    outputs = as_tuple(output)
    if len(found) != len(outputs):
        raise RuntimeError(f"{cls.__name__}'s jvp function returned an incorrect number of "
                           f"gradients (expected {len(outputs)}, got {len(found)})")
    eager = next(a._a for a in args if _level(a) == level).eager
    stands = [o if t is None or not isinstance(o, Tensor) else
              standing(Dual(level, o, t, eager)) for o, t in zip(outputs, found)]
    edges = [edge_of(a) if isinstance(a, Tensor) else None for a in args]
    if eager and MODES.grad and any(e is not None for e in edges):
        _record_dual(cls, args, edges, output, stands)
    return tuple(stands) if isinstance(output, tuple) else stands[0]


def _record_dual(cls: Any, args: tuple, edges: list, output: Any, stands: list) -> None:
    """A node whose backward runs on dual tensors."""
    ctx = FunctionCtx()
    ctx.needs_input_grad = tuple([e is not None for e in edges])
    if cls.has_setup():
        cls.setup_context(ctx, args, tuple(stands) if isinstance(output, tuple) else stands[0])
    else:
        _again(cls, ctx, args)
    node = cls._backward_cls(ctx, args, edges)
    node.outputs = [(s._a.shape, s._a.dtype) if isinstance(s, Tensor) else None for s in stands]
    for nr, s in enumerate(stands):
        if isinstance(s, Tensor) and isinstance(s._a, Dual):
            s._node = Output(node, nr)
    ctx.close(node, stands)


def _again(cls: Any, ctx: FunctionCtx, primals: tuple) -> None:
    """Fill a context by running ``forward`` on it, where it sets up its own."""
    before = MODES.grad
    MODES.grad = False
    try:
        cls.forward(ctx, *primals)
    finally:
        MODES.grad = before


# Batches


def _batched(cls: Any, args: tuple, level: int) -> Any:
    own = cls.vmap is not _root(cls).vmap
    if own and cls.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it has both generate_vmap_rule=True and "
            "an overridden vmap staticmethod. Please set generate_vmap_rule=False or delete the "
            f"overridden vmap staticmethod to avoid ambiguity. {MORE}")
    if not own and not cls.generate_vmap_rule:
        raise RuntimeError(
            f"You tried to vmap over {cls.__name__}, but it does not have vmap support. Please "
            "override and implement the vmap staticmethod or set generate_vmap_rule=True. "
            f"{MORE}")
    inner = tuple([lower(a, level) for a in args])
    dims = tuple([a._a.dim if _level(a) == level else None for a in args])
    size = next(t._a.shape[d] for t, d in zip(inner, dims) if d is not None)
    if own:
        info = VmapInfo(size, LEVEL.randomness_of(level))
        output, out_dims = cls.vmap(info, dims, *inner)
        places = out_dims if isinstance(output, tuple) and isinstance(
            out_dims, (tuple, list)) else (out_dims,) * len(as_tuple(output))
    else:
        rule = _Derived(cls, dims, size)
        output = rule.function().apply(*inner)
        places = rule.out_dims
    stands = [standing(Batched(level, o, d)) if d is not None and isinstance(o, Tensor) else o
              for o, d in zip(as_tuple(output), places)]
    return tuple(stands) if isinstance(output, tuple) else stands[0]


def _root(cls: Any) -> Any:
    """Function itself, of which ``cls`` is a subclass."""
    return next(base for base in reversed(cls.__mro__) if "apply" in vars(base))


class _Derived:
    """A Function over whole batches, made of one over their elements."""

    def __init__(self, cls: Any, in_dims: tuple, size: int) -> None:
        self.cls = cls
        self.in_dims = in_dims
        self.size = size
        self.out_dims: list = []
        self.saved_dims: list = []

    def function(self) -> Any:
        """The class to apply to the tensors with their batch dimensions."""
        rule = self
        base = _root(self.cls)

        def forward(*values: Any) -> Any:
            return rule.forward(values)

        def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
            rule.setup(ctx, inputs, output)

        def backward(ctx: Any, *grads: Any) -> Any:
            return rule.backward(ctx, grads)

        def jvp(ctx: Any, *tangents: Any) -> Any:
            return rule.jvp(ctx, tangents)

        rules = {"forward": forward, "setup_context": setup_context, "backward": backward,
                 "jvp": jvp}
        return type(base)(f"Vmapped{self.cls.__name__}", (base,), {
            "generate_vmap_rule": True, **{k: staticmethod(v) for k, v in rules.items()}})

    def forward(self, values: tuple) -> Any:
        with LEVEL as level:
            output = self.cls.forward(*wrapped(values, self.in_dims, level))
            found = [unwrapped(o, level) for o in as_tuple(output)]
        self.out_dims = [d for _, d in found]
        outputs = tuple([o for o, _ in found])
        return outputs if isinstance(output, tuple) else outputs[0]

    def setup(self, ctx: Any, inputs: tuple, output: Any) -> None:
        inner = FunctionCtx()
        inner.needs_input_grad = ctx.needs_input_grad
        with LEVEL as level:
            stands = wrapped(as_tuple(output), self.out_dims, level)
            given = wrapped(inputs, self.in_dims, level)
            self.cls.setup_context(inner, given,
                                   stands if isinstance(output, tuple) else stands[0])
            # A tensor saved is found again as the input or output it is.
            plain = {id(s): v for s, v in zip((*given, *stands), (*inputs, *as_tuple(output)))}
            saved = [_plain(t, plain, level) for t in inner._to_save]
            ahead = [_plain(t, plain, level) for t in inner._for_forward or ()]
        ctx.inner = inner
        ctx.saved_dims = [d for _, d in saved], [d for _, d in ahead]
        ctx.save_for_backward(*[t for t, _ in saved])
        if inner._for_forward is not None:
            ctx.save_for_forward(*[t for t, _ in ahead])
        ctx.set_materialize_grads(inner._materialize)
        ctx.mark_non_differentiable(*[plain[id(t)] for t in inner._fixed])
        inner._to_save, inner._for_forward, inner._fixed = (), None, ()

    def backward(self, ctx: Any, grads: tuple) -> tuple:
        with LEVEL as level:
            inner = _context(ctx, level, 0)
            gs = wrapped(grads, self.out_dims, level)
            found = as_tuple(self.cls.backward_or_vjp()(inner, *gs))
            pairs = [unwrapped(g, level) for g in found]
        return tuple([_as_input(g, d, want, self.size)
                      for (g, d), want in zip(pairs, self.in_dims)])

    def jvp(self, ctx: Any, tangents: tuple) -> Any:
        with LEVEL as level:
            inner = _context(ctx, level, 1)
            inner._in_jvp = True
            found = self.cls.jvp(inner, *wrapped(tangents, self.in_dims, level))
            pairs = [unwrapped(t, level) for t in as_tuple(found)]
        moved = tuple([_moved(t, d, want, self.size)
                       for (t, d), want in zip(pairs, self.out_dims)])
        return moved if isinstance(found, tuple) else moved[0]


def _context(ctx: Any, level: int, which: int) -> FunctionCtx:
    """The inner context with its saved tensors as elements of a batch again."""
    inner = FunctionCtx()
    inner.__dict__.update(ctx.inner.__dict__)
    kept = wrapped(ctx.saved_tensors, ctx.saved_dims[0 if len(ctx.saved_dims[1]) == 0 else which],
                   level)
    inner._to_save = kept
    return inner


def _plain(t: Any, plain: dict, level: int) -> tuple:
    value, dim = unwrapped(t, level)
    return plain.get(id(t), value), dim


def wrapped(values: Any, dims: Any, level: int) -> tuple:
    """Values with a batch dimension as elements of their batches."""
    return tuple([v if d is None or v is None else standing(Batched(level, v, d))
                  for v, d in zip(values, dims)])


def unwrapped(t: Any, level: int) -> tuple:
    """What is inside an element of a batch, and its batch dimension."""
    if isinstance(t, Tensor) and isinstance(t._a, Batched) and t._a.level == level:
        return t._a.value, t._a.dim
    return t, None


def _as_input(g: Any, dim: int | None, want: int | None, size: int) -> Any:
    """A gradient with its batch where the input had it; summed where the input had none."""
    if g is None:
        return None
    if want is None:
        return g.sum(dim) if dim is not None else g * size
    return _moved(g, dim, want, size)


def _moved(t: Any, dim: int | None, want: int | None, size: int) -> Any:
    if t is None or want is None:
        return t
    if dim is None:
        return t.unsqueeze(want).expand(*t.shape[:want], size, *t.shape[want:])
    return t.movedim(dim, want)


__all__ += ["unwrapped", "wrap", "wrapped"]
