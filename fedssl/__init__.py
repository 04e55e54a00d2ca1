"""Federated self-supervised learning: the learning itself, with no Flower in it."""
