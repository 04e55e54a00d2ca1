"""Whole models: how one is built, its file, and its forms for other tools."""
