"""Real clients: keys, the SuperLink, and the server that runs an experiment on devices."""
