"""Foundations of all packages: configs, plug-ins, files, random numbers and tracing."""
