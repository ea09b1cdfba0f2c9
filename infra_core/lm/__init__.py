"""What a language model is to us: loading, the loss, batches."""
