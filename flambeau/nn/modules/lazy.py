"""Lazy modules: their parameters get their shapes at the first call."""

from __future__ import annotations

from itertools import chain
from typing import Any, NoReturn

from flambeau.autograd.modes import no_grad
from flambeau.nn.parameter import is_lazy

__all__ = ["LazyModuleMixin"]


class LazyModuleMixin:
    """What makes a module lazy; it goes before the module's class among the bases.

    The class starts with UninitializedParameters, defines ``initialize_parameters``, which takes
    the arguments of the first call and materializes them, and names in ``cls_to_become`` the
    class that the module is from then on.
    """

    cls_to_become: type | None = None
    _parameters: dict
    _buffers: dict

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        module: Any = self
        module._load_hook = module._register_load_state_dict_pre_hook(self._lazy_load_hook)
        module._initialize_hook = module.register_forward_pre_hook(self._infer_parameters,
                                                                   with_kwargs=True)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        left_out = self._non_persistent_buffers_set  # type: ignore[attr-defined]
        kept = {k: v for k, v in self._buffers.items() if k not in left_out}
        for name, value in chain(self._parameters.items(), kept.items()):
            if value is not None:
                as_it_is = keep_vars or is_lazy(value)
                destination[prefix + name] = value if as_it_is else value.detach()

    def _lazy_load_hook(self, state_dict: Any, prefix: str, local_metadata: dict, strict: bool,
                        missing_keys: list, unexpected_keys: list, error_msgs: list) -> None:
        """Give parameters the shapes that a state has for them, before it is loaded."""
        for name, value in chain(self._parameters.items(), self._buffers.items()):
            given = state_dict.get(prefix + name)
            if given is not None and is_lazy(value) and not is_lazy(given):
                with no_grad():
                    value.materialize(given.shape)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Materialize and fill the parameters, given the arguments of the first call."""
        raise NotImplementedError("initialize_parameters is not implemented for "
                                  f"{type(self).__name__}")

    def has_uninitialized_params(self) -> bool:
        """Whether a parameter or buffer still waits for its shape."""
        return any(is_lazy(t) for t in chain(self._parameters.values(), self._buffers.values()))

    def _infer_parameters(self, module: Any, args: tuple, kwargs: dict | None = None) -> None:
        module.initialize_parameters(*args, **(kwargs or {}))
        if module.has_uninitialized_params():
            raise RuntimeError(f"module {module._get_name()} has not been fully initialized")
        module._initialize_hook.remove()
        module._load_hook.remove()
        del module._initialize_hook, module._load_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become

    def _replicate_for_data_parallel(self) -> NoReturn:
        raise RuntimeError("Modules with uninitialized parameters can't be used with "
                           "`DataParallel`. Run a dummy forward pass to correctly initialize the "
                           "modules")
