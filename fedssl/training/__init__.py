"""A client's local update: its instructions, the training, and the memory between rounds."""
