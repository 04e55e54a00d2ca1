"""The parts that networks are made of, whatever the examples are."""
