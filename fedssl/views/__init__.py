"""Views: random augmentations of a batch of images, each image with parameters of its own."""

from fedssl.views.policies import POLICIES, STEPS, Policy
from fedssl.views.recipe import Views

__all__ = ["POLICIES", "STEPS", "Policy", "Views"]
