"""Which attributes of the training data carry influence."""
