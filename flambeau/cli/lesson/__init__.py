"""``flambeau lesson``: tensors, gradients and a first regression, step by step."""
