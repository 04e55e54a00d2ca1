"""What the ``data`` section holds, whichever set it names."""

from abc import abstractmethod

from pydantic import Field

from fedssl.base.fields import Fields
from fedssl.data.dataset import Splits
from fedssl.data.where import Where


class Limit(Fields):
    """How many examples to keep: the same ones whatever the experiment's seed."""

    train: int | None = Field(default=None, ge=1)
    """The training examples to keep, as even over the classes as they allow; all where null."""
    test: int | None = Field(default=None, ge=1)
    """The test examples to keep, as even over the classes as they allow; all where null."""


class DataConfig(Fields):
    """The ``data`` section: one subclass for each modality, and of this one for each data set."""

    name: str
    """Which data set: a name that `fedssl list` prints, or the dotted path of your own."""
    modality: str
    """What its examples are: image, series, or the dotted path of a modality of your own."""
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
