"""The ``model`` section of series."""

from fedssl.modalities.model_config import ModelConfig


class SeriesModel(ModelConfig):
    """The ``model`` section of series."""

    encoder: str = "conv1d"
    """The network to train: a name that `fedssl list` prints, or a dotted path. One of your own is
    given NaN where a value is not there."""
