"""What an experiment's config says, before anything is loaded."""
