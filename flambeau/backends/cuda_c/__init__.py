"""Kernel programs printed as CUDA C. This is a printer: flambeau runs nothing on a GPU yet.

`printer`, `reduce` and `rows` take the programs of `backends/llvm/program.py`; `scans`, `places`
and `contraction` those of `backends/llvm/array_program.py`. Neither name a target. `compile` turns
their text into PTX. What a kernel's launch would pass is said in each.
"""
