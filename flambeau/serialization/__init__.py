"""Saving and loading: PyTorch's checkpoint files, written whole or not at all, read without a run.

``save`` and ``load`` exchange files with PyTorch both ways. ``load`` reads by an interpreter of its
own that runs nothing, unless ``weights_only=False`` is said.
"""

from flambeau.core.face import show
from flambeau.serialization.allowed import (
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    get_unsafe_globals_in_checkpoint,
    safe_globals,
)
from flambeau.serialization.inspect import inspect
from flambeau.serialization.load import load
from flambeau.serialization.locations import default_restore_location, register_package
from flambeau.serialization.rebuild import _get_layout
from flambeau.serialization.safetensors_files import load_safetensors, save_safetensors
from flambeau.serialization.save import save

__all__ = ["_get_layout", "add_safe_globals", "clear_safe_globals", "default_restore_location",
           "get_safe_globals", "get_unsafe_globals_in_checkpoint", "inspect", "load",
           "load_safetensors", "register_package", "safe_globals", "save", "save_safetensors"]

show(save, "save", "torch")
show(load, "load", "torch")
