"""Building blocks of networks that do not depend on the kind of example."""
