"""Views: random augmentations of a batch of images, each image with parameters of its own."""

from fedssl.views.config import ViewsConfig
from fedssl.views.recipe import Views

__all__ = ["Views", "ViewsConfig"]
