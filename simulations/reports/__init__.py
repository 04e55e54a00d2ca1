"""Pictures, pages and lists of experiments and runs."""
