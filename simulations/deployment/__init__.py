"""Deployment on devices: keys, the SuperLink, and the server of an experiment."""
