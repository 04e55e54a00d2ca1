"""What a modality is: one kind of example, and all that knows what such an example holds."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from fedssl.base.registry import Registry
from fedssl.data.config import DataConfig
from fedssl.data.dataset import Dataset, Splits
from fedssl.data.example_spec import ExampleSpec
from fedssl.modalities.export_format import ExportFormat
from fedssl.modalities.model_config import ModelConfig
from fedssl.networks.encoder import MaskableEncoder
from fedssl.views.policy import NamedPolicy, Policies
from fedssl.views.recipe import Change
from fedssl.views.step import Step

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Class = TypeVar("Class", bound=type)


class Preparation(Protocol):
    """Turns examples as they are stored into what an encoder takes.

    Examples
    --------
    >>> from fedssl.modalities.image.preparation import Normalisation
    >>> prepare = Normalisation(mean=(0.5,), std=(0.5,))
    >>> prepare(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8)).unique()
    tensor([1.])
    >>> prepare.spec_of(ExampleSpec("image", (3, 2, 2), "uint8")).dtype
    'float32'
    """

    @property
    def constants(self) -> Mapping[str, tuple[float, ...]]:
        """What it goes by, for the metadata of a model's file: a mean, say."""

    def spec_of(self, spec: ExampleSpec) -> ExampleSpec:
        """Return what prepared examples are, of what stored ones are."""

    def __call__(self, examples: Tensor, /) -> Tensor:
        """Return stored examples [B, …] prepared, float32 [B, …] on the same device."""


class ViewPolicy(Protocol):
    """Makes random views of a batch of examples, prepared.

    Examples
    --------
    >>> from fedssl.modalities import MODALITIES
    >>> image = MODALITIES["image"]
    >>> policy = image.views(image.default_policy, image.data_sets["glyphs"]())
    >>> images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    >>> policy(images, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 32, 32])
    """

    def spec_of(self, spec: ExampleSpec, view: int, /) -> ExampleSpec:
        """Return what a view of this number, from 1, is, of what stored examples are."""

    def __call__(self, examples: Tensor, generator: torch.Generator, view: int = 1, /) -> Tensor:
        """Return one view of each example.

        Parameters
        ----------
        examples : Tensor
            [B, …] as stored.
        generator : torch.Generator
            On the CPU, whatever the examples' device: so every device sees the same parameters.
            Two batches drawn after one another get the parameters of the one batch they make.
        view : int (default: 1)
            Which of the examples' views, from 1: some steps are for some of them only.

        Returns
        -------
        Tensor
            float32 [B, …] on the examples' device, as `spec_of` says.
        """


class DeviceExamples(Protocol):
    """The examples of a device, which it opens by `fedssl join --examples PATH`.

    Examples
    --------
    >>> class SavedPoints:  # what a modality's `open_device` returns
    ...     def __init__(self, path):
    ...         self.points = torch.from_numpy(np.load(path))
    ...
    ...     def count(self):
    ...         return len(self.points)
    ...
    ...     def read(self, config):
    ...         return Dataset(self.points, torch.full((self.count(),), -1), class_names=())
    """

    def count(self) -> int:
        """Return how many there are; a ValueError says that there are none, or why not."""

    def read(self, config: DataConfig, /) -> Dataset:
        """Return all of them, made what ``config``, from the server, asks for."""


class Modality(ABC):
    """One kind of example. Its subclass's only instance is listed in `MODALITIES`.

    All else of fedssl speaks of examples: tensors [N, …] of one shape and type, or what fetches
    rows of such a tensor when asked.

    Examples
    --------
    >>> from fedssl.modalities import MODALITIES
    >>> image = MODALITIES["image"]
    >>> image.count(5000), image.dtype, image.dimensions
    ('5,000 images', torch.uint8, 3)
    >>> [step.name for step in image.view_policies[image.weak_policy].steps]
    ['crop', 'flip']
    """

    name: ClassVar[str]
    """What ``data.modality`` calls it, such as "image"."""
    noun: ClassVar[tuple[str, str]]
    """What reports, plots and errors call one example, and several: ("image", "images"). Reports of
    a modality that is given by a dotted path say "examples", since they import nothing."""
    dtype: ClassVar[torch.dtype]
    """The type in which examples are stored."""
    dimensions: ClassVar[int]
    """How many dimensions one example has."""
    data: ClassVar[Sequence[type[DataConfig]] | Mapping[str, type[DataConfig]]]
    """Its data sets, each with its name; of a mapping, its values."""
    own_data: ClassVar[type[DataConfig]]
    """The ``data`` section of a data set of the user's own: a `CustomData` with its fields."""
    model: ClassVar[type[ModelConfig]]
    """Its ``model`` section."""
    encoders: ClassVar[Registry[nn.Module]]
    """Its encoders, by `encoder_registry`."""
    steps: ClassVar[Sequence[type[Step]] | Mapping[str, type[Step]]]
    """The steps of a view policy, each with its name; of a mapping, its values."""
    step: ClassVar[type[Step]] = Change
    """What each step is a subclass of."""
    policies: ClassVar[Mapping[str, NamedPolicy]]
    """The view policies that have a name; the first is the default."""
    weak_policy: ClassVar[str]
    """Which of them alters examples least: what probes fit on, beside the examples themselves."""
    mixes: ClassVar[bool] = False
    """Whether a mean of two prepared examples is an example: what mixed-barlow needs."""
    turns: ClassVar[bool] = False
    """Whether there are four turns of an example that can be told apart: what e-ssl needs."""
    formats: ClassVar[Mapping[str, ExportFormat]] = {}
    """The forms that `fedssl export` writes for other tools, beside those that fit any encoder."""

    @abstractmethod
    def check(self, dataset: Dataset, where: str) -> None:
        """Refuse stored examples that no later code could work with: of another number of
        dimensions, say, or with values that are not finite, where encoders cannot take these.
        Their type and labels are checked elsewhere.

        Raises
        ------
        ValueError
            Says what ``where``, such as "data.name = npz: train", should be instead.
        """

    def fit(
        self, config: DataConfig, splits: Splits, rows: tuple[np.ndarray, np.ndarray], where: str
    ) -> tuple[Dataset, Dataset]:
        """Return what is used of both splits, of one shape.

        Parameters
        ----------
        config : DataConfig
            The ``data`` section.
        splits : Splits
            As the data set reads them, and checked.
        rows : tuple[np.ndarray, np.ndarray]
            int64 [M] each, ascending: the examples of either split that are used.
        where : str
            What errors begin with.

        Raises
        ------
        ValueError
            They cannot be made to fit.
        """
        train, test = (
            part if len(index) == len(part) else part.take(index)
            for part, index in zip((splits.train, splits.test), rows, strict=True)
        )
        if train.shape != test.shape:
            raise ValueError(
                f"{where}: the training {self.noun[1]} are {list(train.shape)} and the test "
                f"{self.noun[1]} {list(test.shape)}: make them the same"
            )
        return train, test

    @abstractmethod
    def preparation(self, config: DataConfig) -> Preparation:
        """Return how stored examples are prepared, by constants that the ``data`` section has.

        They are the config's, not measured: a device must prepare its examples as the server does,
        and nobody sees all of them.
        """

    @abstractmethod
    def views(self, steps: Sequence[Step], config: DataConfig) -> ViewPolicy:
        """Return what makes views by a policy's steps."""

    def turned(self, views: Tensor) -> Tensor:
        """Return views [B, …] turned in all four ways, turn by turn: [4·B, …]."""
        raise NotImplementedError(f"{self.noun[1]} have no turns")

    def holds(self, path: Path) -> bool:
        """Tell whether a device's folder or file holds examples of this modality, by its look."""
        return False

    def open_device(self, path: Path) -> DeviceExamples:
        """Open the examples of a device."""
        raise ValueError(f"--examples = {path}: {self.noun[1]} cannot be trained on by a device")

    def write_device(self, dataset: Dataset, path: Path) -> Path:
        """Write examples as a device has them, for a rehearsal of a federation.

        Parameters
        ----------
        dataset : Dataset
            In memory.
        path : Path
            The file's, without its suffix.

        Returns
        -------
        Path
            The file, which `open_device` opens.
        """
        raise ValueError(f"{self.noun[1]} cannot be written for a device")

    def device_data(self, config: DataConfig, spec: ExampleSpec) -> dict[str, object]:
        """Return the ``data`` section that a device gets: nothing of where the server's files are.

        With it, `DeviceExamples.read` makes what the server's own examples are.
        """
        raise ValueError(
            f"devices cannot train on {self.noun[1]}, since the modality has no device_data"
        )

    def sheet(self, examples: Tensor, views: Sequence[Tensor], config: DataConfig) -> "Figure":
        """Draw a few stored examples, and beside each its views, for `fedssl show --views`.

        Raises
        ------
        ValueError
            There is nothing to be seen of such examples.
        """
        raise ValueError(f"views of {self.noun[1]} cannot be drawn")

    @cached_property
    def data_sets(self) -> Registry[DataConfig]:
        """Its data sets by name, with those of installed packages: "fedssl.image_data"."""
        return Registry("data set", f"fedssl.{self.name}_data", DataConfig, *_classes(self.data))

    @cached_property
    def view_steps(self) -> Registry[Step]:
        """Its steps by name, with those of installed packages: "fedssl.image_steps"."""
        return Registry("step", f"fedssl.{self.name}_steps", self.step, *_classes(self.steps))

    @cached_property
    def view_policies(self) -> Policies:
        """Its policies by name, with those of installed packages: "fedssl.image_policies"."""
        return Policies("policy", f"fedssl.{self.name}_policies", self.policies)

    @property
    def maskable(self) -> list[str]:
        """Those of its encoders that are a `MaskableEncoder`: what the objective mae needs."""
        return [name for name, kind in self.encoders.items() if issubclass(kind, MaskableEncoder)]

    @property
    def default_policy(self) -> tuple[Step, ...]:
        """The steps of ``views`` where a config has none."""
        return next(iter(self.policies.values())).steps

    def count(self, number: int) -> str:
        """Return a number of examples in words: "1 image", "5,000 images"."""
        return f"{number:,} {self.noun[number != 1]}"


def _classes(given: Sequence[Class] | Mapping[str, Class]) -> list[Class]:
    return list(given.values() if isinstance(given, Mapping) else given)
