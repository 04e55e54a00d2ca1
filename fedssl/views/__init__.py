"""Views: random changes of a batch of examples, each example with parameters of its own."""
