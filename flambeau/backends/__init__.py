"""Array backends: what runs a kernel, and where."""
