"""What is not ours: code that an example uses as it is."""
