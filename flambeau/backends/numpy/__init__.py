"""Kernels as plain functions of NumPy arrays: the reference every other backend is held to."""
