"""Federated self-supervised learning: the learning itself, with no Flower in it."""

from fedssl.model_file import load_encoder

__all__ = ["load_encoder"]
