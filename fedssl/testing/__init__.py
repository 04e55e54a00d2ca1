"""Conformance kits: does a plug-in of your own keep to what fedssl asks of its kind?"""

from fedssl.testing.modality import check_modality

__all__ = ["check_modality"]
