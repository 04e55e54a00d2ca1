"""The ``data`` section: the fields of all data sets."""

from abc import abstractmethod

from pydantic import Field

from fedssl.base.fields import Fields
from fedssl.data.dataset import Splits
from fedssl.data.where import Where


class Limit(Fields):
    """How many examples to keep: the same ones whatever the experiment's seed.

    Examples
    --------
    >>> Limit(train=1000)  # data: {limit: {train: 1000}}
    Limit(train=1000, test=None)
    """

    train: int | None = Field(default=None, ge=1)
    """The training examples to keep, as even over the classes as they allow; all where null."""
    test: int | None = Field(default=None, ge=1)
    """The test examples to keep, as even over the classes as they allow; all where null."""


class DataConfig(Fields):
    """The ``data`` section; each modality has a subclass, and each data set one of that.

    Examples
    --------
    A data set of a modality of your own:

    >>> import torch
    >>> from fedssl.data import Dataset
    >>> class Grid(DataConfig):
    ...     name: str = "grid"
    ...     modality: str = "my_points.POINTS"
    ...     count: int = 100  # data: {name: grid, modality: my_points.POINTS, count: 10}
    ...
    ...     def read(self):
    ...         points = torch.arange(2.0 * self.count).view(-1, 2)
    ...         dataset = Dataset(points, torch.full((self.count,), -1), class_names=())
    ...         return Splits(train=dataset, test=dataset)
    >>> len(Grid(count=10).read().train)
    10
    """

    name: str
    """Which data set: a name that `fedssl list` prints, or the dotted path of your own."""
    modality: str
    """The kind of examples: image, series, or the dotted path of a modality of your own."""
    limit: Limit = Limit()
    """Keep only so many examples."""
    where: Where = Field(default_factory=dict)
    """Train only on examples with these values of a column: {domain: [photo, cartoon]}."""
    test_where: Where = Field(default_factory=dict)
    """Test only on examples with these values of a column: {domain: sketch}."""

    @abstractmethod
    def read(self) -> Splits:
        """Read the examples as they are stored.

        ``load`` then applies ``limit`` and ``where``, and the modality makes them fit.

        Returns
        -------
        Splits
            With examples in memory or on demand.

        Raises
        ------
        ValueError
            Something is missing or malformed; the message starts with the field at fault.
        """
