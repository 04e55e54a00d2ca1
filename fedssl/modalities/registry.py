"""The modalities, found by name or by dotted path."""

from fedssl.base.registry import Instances
from fedssl.data.config import DataConfig
from fedssl.data.dataset import Dataset
from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities.base import Modality
from fedssl.modalities.image import IMAGE
from fedssl.modalities.series import SERIES

GROUP = "fedssl.modalities"
"""The entry points by which an installed package adds modalities of its own."""


class Modalities(Instances[Modality]):
    """The modalities by name: fedssl's, and those that installed packages add."""

    def __init__(self, *modalities: Modality):
        super().__init__("modality", GROUP, Modality, {each.name: each for each in modalities})

    def check_added(self, name: str, item: Modality) -> Modality:
        """Refuse what is added under another name than its own, which configs and files have."""
        if item.name != name:
            raise ValueError(
                f"the entry point {name} of {self.group}: adds the modality {item.name}; an entry "
                "point must have the modality's name"
            )
        return item


MODALITIES = Modalities(IMAGE, SERIES)
"""The modalities by name."""


def noun_of(modality: object) -> tuple[str, str]:
    """Return what one example and several are called, by what ``data.modality`` says.

    Nothing is imported for it: those of a modality that is none of `MODALITIES` are "examples".

    Examples
    --------
    >>> noun_of("image"), noun_of("my_points.POINTS")
    (('image', 'images'), ('example', 'examples'))
    """
    is_listed = isinstance(modality, str) and modality in MODALITIES
    return MODALITIES[str(modality)].noun if is_listed else ("example", "examples")


def modality_of(config: DataConfig) -> Modality:
    """Return the modality of a ``data`` section.

    Examples
    --------
    >>> modality_of(IMAGE.data_sets["glyphs"]()).name
    'image'
    """
    return MODALITIES.find(config.modality, "modality")


def spec_of(config: DataConfig, dataset: Dataset) -> ExampleSpec:
    """Return what the examples of a loaded data set are, as they are stored.

    Examples
    --------
    >>> import torch
    >>> dataset = Dataset(torch.zeros(5, 3, 32, 32, dtype=torch.uint8), torch.full((5,), -1), ())
    >>> spec_of(IMAGE.data_sets["glyphs"](), dataset)
    ExampleSpec(modality='image', shape=(3, 32, 32), dtype='uint8')
    """
    return ExampleSpec.of(config.modality, dataset.shape, modality_of(config).dtype)
