"""The operators, each declared once, by its kind, in the file of its family."""
