"""Standing in for PyTorch: its name, its version, its submodules."""
