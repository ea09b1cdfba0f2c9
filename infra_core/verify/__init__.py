"""Is an answer right? Mathematics by value, code by running it where it can do no harm."""
