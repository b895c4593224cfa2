"""The compiler: whole steps traced, checked at every call, and run as one native program.

How a call of a compiled function goes:

1. **Checks** (`program`, `gate`, `fast`). A program knows what its trace depended on. One native
   call compares all of it with what is there now, object by object: arguments, tensors, grad
   mode, and the table of the program's Python state (`state`).
2. **Run** (`plan`). Where all holds, the same call runs a table of kernels and matrix products
   over one arena of memory; new arrays are made for what leaves the step, parameters are written
   in place. A few lines of Python, written for the program, build the results.
3. **Trace** (`tracer`, `trace`, `stand_ins`, `observer`). Where nothing fits, the function runs in
   Python on stand-ins for arrays: every operator computes as it always would, and is noted. What a
   trace cannot stand for (a value that is read, a call with side effects, Python state that
   changes at every call) parts the function, with a warning that says why.
4. **Compile**. The graph (`graph`) is simplified (`simplify`), parted where its gradients are
   wanted later (`backward`), grouped (`groups`, by how operands lie: `access`, `layouts`) and made
   into kernels (`kernels`), whose instructions come from the operators' own forwards
   (`formulas`). Floats that keep changing become inputs (`live`). Without generated kernels
   `interpreter` runs the graph with NumPy.

5. **Parts** (`parts`, `split`, `flow`, `sources`). The source of a function that is no one
   program is written anew: statements to blame run in Python at every call, runs of statements
   between them are units of their own, tried at each call, with the statements themselves where
   none fits. Variables go in and come out; gradients go back through `backward`. A function whose
   source does not compile to its very code is left as it is.

Nothing is written before everything is computed that can fail; so a call either happens whole,
or leaves everything as it was.
"""

from __future__ import annotations

from typing import Any

from flambeau.base.missing import missing_attribute
from flambeau.compiler.controls import (
    allow_in_graph,
    assume_constant_result,
    cudagraph_mark_step_begin,
    disable,
    is_compiling,
    is_dynamo_compiling,
    is_exporting,
    list_backends,
    nested_compile_region,
    substitute_in_graph,
    wrap_numpy,
)
from flambeau.compiler.entry import compile
from flambeau.compiler.explain import explain
from flambeau.compiler.stance import default_backend as get_default_backend
from flambeau.compiler.stance import reset, set_default_backend, set_stance

__all__ = [
    "allow_in_graph",
    "assume_constant_result",
    "compile",
    "cudagraph_mark_step_begin",
    "disable",
    "explain",
    "get_default_backend",
    "is_compiling",
    "is_dynamo_compiling",
    "is_exporting",
    "list_backends",
    "nested_compile_region",
    "reset",
    "set_default_backend",
    "set_stance",
    "substitute_in_graph",
    "wrap_numpy",
]


def __getattr__(name: str) -> Any:
    raise missing_attribute(__name__, name, __all__)
