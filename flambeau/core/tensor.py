"""The tensor: an array of its device, and what autograd knows of it."""

from __future__ import annotations

import warnings
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.base import dtypes
from flambeau.base.device import CPU, device, layout, sparse_coo, sparse_csr, strided
from flambeau.base.dtypes import FROM_NUMPY, dtype
from flambeau.base.errors import told
from flambeau.base.shapes import Size
from flambeau.core.modes import INFERENCE, MODES
from flambeau.core.node import LEAF, InferenceVersion, Node, OpNode, Output
from flambeau.core.out_dtypes import C_NAMES

__all__ = ["META_SLOTS", "TENSOR_SLOTS", "Meta", "Tensor", "share", "wrap"]

ndarray = np.ndarray
new_tensor = object.__new__


class Meta:
    """The rarer facts of a tensor; class attributes are the defaults of what has no slot.

    ``base`` is the tensor a view was taken of and ``replay`` the view operators that lead from
    base to view, each followed by its params. ``root`` is the array that owns the memory.
    """

    # Those that every view has, and those that native checks read.
    __slots__ = ("__dict__", "__weakref__", "base", "root", "replay", "grad", "hooks",
                 "post_hooks")
    base: Tensor | None
    root: Any
    replay: tuple
    grad: Tensor | None
    hooks: dict | None
    post_hooks: dict | None
    retain = False
    accumulator: Any = None
    multi_view: str | None = None
    made_without_grad: str | None = None
    gathered_at = 0
    gathered = 0
    born = 0
    custom_view: str | None = None

    def __init__(self) -> None:
        self.base = self.root = None
        self.replay = ()
        self.grad = self.hooks = self.post_hooks = None

    def remember_accumulator(self, node: Node) -> None:
        """Keep the leaf's AccumulateGrad node for as long as somebody holds it."""
        self.accumulator = weakref.ref(node)


class Tensor:
    """A multi-dimensional array that can record how it was made, to give gradients.

    ``_a`` is the array (or, inside a transform, the value standing in for one), ``_node`` is
    None (no gradient), LEAF, or where the gradient goes; ``_v`` a list shared with views: the
    version counter, then weak references to them; ``_x`` the rarer facts; the last two are None
    until needed.

    >>> import flambeau as torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    __slots__ = ("_a", "_node", "_v", "_x", "__dict__", "__weakref__")
    _a: Any
    _node: Any
    _v: list | None
    _x: Meta | None

    __hash__ = object.__hash__
    __array_priority__ = 1000

    if TYPE_CHECKING:
        # Most methods are derived from the operators' declarations.
        def __getattr__(self, name: str) -> Any: ...
        def _derived(self, *args: Any) -> Any: ...
        def __eq__(self, other: Any) -> Any: ...
        def __ne__(self, other: Any) -> Any: ...

        __add__ = __radd__ = __iadd__ = __sub__ = __rsub__ = __isub__ = __mul__ = \
            __rmul__ = __imul__ = __truediv__ = __rtruediv__ = __itruediv__ = \
            __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = \
            __matmul__ = __rmatmul__ = __and__ = __or__ = __xor__ = __invert__ = __neg__ = \
            __pos__ = __abs__ = __lt__ = __le__ = __gt__ = __ge__ = __getitem__ = \
            __setitem__ = __iter__ = __bool__ = __int__ = __float__ = __index__ = \
            __lshift__ = __rshift__ = _derived

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not getattr(cls, "__module__", "").startswith("flambeau."):
            # Imported here, for few programs derive classes from Tensor.
            from flambeau.core.overrides import install
            install(cls)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (),
                           kwargs: dict[str, Any] | None = None) -> Any:
        """Run ``func`` as on plain tensors; its results become tensors of this class."""
        # Imported here, for few programs derive classes from Tensor.
        from flambeau.core.overrides import default_torch_function
        return default_torch_function(cls, func, types, args, kwargs)

    def _meta(self) -> Meta:
        meta = self._x
        if meta is None:
            meta = self._x = Meta()
        return meta

    @property
    def shape(self) -> Size:
        """The sizes of the dimensions."""
        return tuple.__new__(Size, self._a.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of dimension ``dim``."""
        if dim is None:
            return tuple.__new__(Size, self._a.shape)
        try:
            return self._a.shape[dim]
        except IndexError:
            n = self._a.ndim
            if not n:
                raise IndexError(f"Dimension specified as {dim} but tensor has no "
                                 "dimensions") from None
            raise IndexError("Dimension out of range (expected to be in range of "
                             f"[{-n}, {n - 1}], but got {dim})") from None

    @property
    def dtype(self) -> dtype:
        """The element type."""
        return FROM_NUMPY[self._a.dtype]

    @property
    def device(self) -> device:
        """Where the data lives."""
        return CPU

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._a.ndim

    def dim(self) -> int:
        """The number of dimensions."""
        return self._a.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self._a.size

    nelement = numel

    def __len__(self) -> int:
        shape = self._a.shape
        if not shape:
            raise TypeError("len() of a 0-d tensor")
        return shape[0]

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded for backward."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Start (or stop) recording operations on this leaf; in place."""
        if not isinstance(requires_grad, (bool, np.bool_)):
            raise TypeError("requires_grad_(): argument 'requires_grad' (position 1) must be bool, "
                            f"not {type(requires_grad).__name__}")
        if MODES.depth:
            raise RuntimeError(
                "You are attempting to call Tensor.requires_grad_() (or perhaps using "
                "torch.autograd.functional.* APIs) inside of a function being transformed by a "
                "functorch transform. This is unsupported, please attempt to use the functorch "
                "transforms (e.g. grad, vjp, jacrev, jacfwd, hessian) or call requires_grad_() "
                "outside of a function being transformed instead.")
        node = self._node
        if node is not None and node is not LEAF:
            if not requires_grad:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to "
                    "use a computed variable in a subgraph that doesn't require differentiation "
                    "use var_no_grad = var.detach().")
            return self
        if not requires_grad:
            self._node = None
        elif node is None:
            if FROM_NUMPY[self._a.dtype].category < dtypes.FLOAT:
                raise RuntimeError(told("only Tensors of floating point dtype can require "
                                        "gradients", "integer_grad", (self,)))
            if type(self._v) is InferenceVersion and not MODES.inference:
                raise RuntimeError("Setting requires_grad=True on inference tensor outside "
                                   "InferenceMode is not allowed.")
            self._node = LEAF
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self._node is None or self._node is LEAF

    @property
    def grad_fn(self) -> Node | None:
        """The node that made this tensor; None for leaves."""
        node = self._node
        if node is None or node is LEAF:
            return None
        return node.node if type(node) is Output else node

    @property
    def output_nr(self) -> int:
        """Which output of ``grad_fn`` this is."""
        return self._node.nr if type(self._node) is Output else 0

    @property
    def grad(self) -> Tensor | None:
        """The gradient gathered by backward; None before the first."""
        meta = self._x
        found = None if meta is None else meta.grad
        if found is None and type(self._node) not in _NO_GRAD_WARNING:
            if meta is None or not meta.retain:
                warnings.warn(NON_LEAF_GRAD, UserWarning, stacklevel=2)
        return found

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            _check_grad(self, value)
        meta = self._x
        if meta is None:
            meta = self._meta()
        meta.grad = value

    @grad.deleter
    def grad(self) -> None:
        self._meta().grad = None

    @property
    def _version(self) -> int:
        version = self._v
        if type(version) is InferenceVersion:
            raise RuntimeError("Inference tensors do not track version counter.")
        return 0 if version is None else version[0]

    def is_inference(self) -> bool:
        """Whether this tensor was made in inference mode."""
        return type(self._v) is InferenceVersion

    @property
    def _base(self) -> Tensor | None:
        return None if self._x is None else self._x.base

    def _is_view(self) -> bool:
        return self._x is not None and self._x.base is not None

    @property
    def is_cuda(self) -> bool:
        """Whether the data lives on a CUDA device."""
        return False

    is_cpu = property(lambda self: True, doc="Whether the data lives on the CPU.")
    is_meta = property(lambda self: False, doc="Whether there is no data at all.")
    is_quantized = property(lambda self: False, doc="Whether elements are quantized.")
    # functions of their own, which what is put in their place can tell apart
    is_mps = property(lambda self: False, doc=is_quantized.__doc__)
    is_xpu = property(lambda self: False, doc=is_quantized.__doc__)
    is_mkldnn = property(lambda self: False, doc=is_quantized.__doc__)
    is_nested = property(lambda self: False, doc=is_quantized.__doc__)
    is_vulkan = property(lambda self: False, doc=is_quantized.__doc__)

    @property
    def layout(self) -> layout:
        """How elements are laid out: ``strided``, or one of the sparse layouts."""
        return strided if type(self._a) is ndarray else getattr(self._a, "layout", strided)

    @property
    def is_sparse(self) -> bool:
        """Whether the layout is ``sparse_coo``."""
        return type(self._a) is not ndarray and self.layout is sparse_coo

    @property
    def is_sparse_csr(self) -> bool:
        """Whether the layout is ``sparse_csr``."""
        return type(self._a) is not ndarray and self.layout is sparse_csr

    def __repr__(self, *, tensor_contents: str | None = None) -> str:
        return Tensor._text(self)

    @staticmethod
    def _text(t: Tensor) -> str:
        raise NotImplementedError("set by flambeau.core.convert")


# What reads and writes slots where the class has something else, as it has while a step is traced.
TENSOR_SLOTS = {name: Tensor.__dict__[name] for name in Tensor.__slots__[:4]}
META_SLOTS = {name: Meta.__dict__[name] for name in Meta.__slots__[2:]}

NON_LEAF_GRAD = (
    "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad "
    "attribute won't be populated during autograd.backward(). If you indeed want the .grad field "
    "to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. If you "
    "access the non-leaf Tensor by mistake, make sure you access the leaf Tensor instead. See "
    "github.com/pytorch/pytorch/pull/30531 for more informations.")
_NO_GRAD_WARNING = (type(None), type(LEAF))


def _check_grad(t: Tensor, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of "
                        f"type {type(value).__name__}")
    if value is t:
        raise RuntimeError("can't assign Variable as its own grad")
    if value._a.dtype != t._a.dtype:
        given = C_NAMES.get(value.dtype.name, value.dtype.title)
        raise RuntimeError(
            f"attempting to assign a gradient with dtype '{given}' to a tensor "
            f"with grad_dtype '{t.dtype.title}'. The gradient must match the tensor's grad_dtype "
            "(defaults to the tensor's dtype). You can set the tensor's grad_dtype attribute with "
            "a specific dtype, or None to allow any dtype. Set grad_dtype with caution. Diverging "
            "the dtypes of a tensor and its gradient may break downstream systems that assume "
            "they match.")
    if value._a.shape != t._a.shape:
        raise RuntimeError(
            f"attempting to assign a gradient of size '{list(value._a.shape)}' to a tensor of size "
            f"'{list(t._a.shape)}'. Please ensure that the gradient and the tensor are the same "
            "size")


def wrap(array: Any) -> Tensor:
    """A new tensor over ``array``, an ndarray of a supported dtype, with no history."""
    t = new_tensor(Tensor)
    t._a = array
    t._node = None
    t._v = None
    t._x = None
    if INFERENCE:
        mark_inference(t)
    return t


def share(t: Tensor) -> Tensor:
    """A new tensor over the array of ``t`` with no history, which knows the array's owner."""
    new = new_tensor(Tensor)
    new._a = t._a
    new._node = None
    new._v = None
    new._x = None
    facts = t._x
    if facts is not None and facts.root is not None:
        new._meta().root = facts.root
    if INFERENCE:
        mark_inference(new)
    return new


def mark_inference(t: Tensor) -> None:
    """Note where ``t`` was just made in inference mode, or while a function is transformed."""
    if MODES.inference:
        t._v = InferenceVersion((0,))
    elif MODES.depth:
        t._meta().born = MODES.depth


def _rebuild_saved(array: Any, node: Any) -> Tensor:
    if isinstance(array, Tensor):
        return array
    t = wrap(array)
    t._node = node
    return t


OpNode.rebuild = staticmethod(_rebuild_saved)  # type: ignore[method-assign]
