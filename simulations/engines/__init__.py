"""Engines, which run the clients. Each is a Flower Grid."""
