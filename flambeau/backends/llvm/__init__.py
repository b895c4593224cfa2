"""Kernels generated as LLVM text: programs as data, printed for the host, run on a thread pool.

Nothing here imports llvmlite when it is itself imported; `jit` does at the first compilation.
"""
