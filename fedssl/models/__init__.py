"""Build models, save and load them, and export them to other tools."""
