"""Tensors, dispatch and the text of tensors."""
