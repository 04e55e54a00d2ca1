"""The modalities, found by name or by dotted path."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.metadata import entry_points

from fedssl.data.config import DataConfig
from fedssl.data.dataset import Dataset
from fedssl.dotted import load_dotted
from fedssl.example import ExampleSpec
from fedssl.fields import nearest
from fedssl.modalities.base import Modality
from fedssl.modalities.image import IMAGE
from fedssl.modalities.series import SERIES

GROUP = "fedssl.modalities"
"""The entry points by which an installed package adds modalities of its own."""


class _Modalities(Mapping[str, Modality]):
    """The modalities by name: fedssl's, and those that installed packages add."""

    def __init__(self, *own: Modality):
        self._own = {modality.name: modality for modality in own}

    def __getitem__(self, name: str) -> Modality:
        return self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @cached_property
    def _all(self) -> dict[str, Modality]:
        found = dict(self._own)
        for point in entry_points(group=GROUP):
            added = _checked(point.load(), f"the entry point {point.value}")
            if added.name in found:
                raise ValueError(
                    f"the entry point {point.value}: adds a modality {added.name}, which there is "
                    "already; rename it, or remove the package"
                )
            found[added.name] = added
        return found

    def find(self, name: str) -> Modality:
        """Return a modality by its name, or by the dotted path of one of the user's own.

        Raises
        ------
        ValueError
            There is none.
        """
        if "." in name:
            return _checked(load_dotted(name), f"modality = {name}")
        if name not in self:
            raise ValueError(
                f"modality = {name}: there is no such modality; {nearest(name, list(self))}"
            )
        return self[name]


def _checked(found: object, where: str) -> Modality:
    if not isinstance(found, Modality):
        raise ValueError(f"{where}: must be an instance of fedssl.modalities.Modality")
    return found


MODALITIES = _Modalities(IMAGE, SERIES)
"""The modalities by name."""


def noun_of(modality: object) -> tuple[str, str]:
    """Return what one example and several are called, by what ``data.modality`` says.

    Nothing is imported for it: those of a modality that is none of `MODALITIES` are "examples".
    """
    known = isinstance(modality, str) and modality in MODALITIES
    return MODALITIES[str(modality)].noun if known else ("example", "examples")


def modality_of(config: DataConfig) -> Modality:
    """Return the modality of a ``data`` section."""
    return MODALITIES.find(config.modality)


def spec_of(config: DataConfig, dataset: Dataset) -> ExampleSpec:
    """Return what the examples of a loaded data set are, as they are stored."""
    return ExampleSpec.of(config.modality, dataset.shape, modality_of(config).dtype)
