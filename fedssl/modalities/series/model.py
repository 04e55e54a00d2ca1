"""The ``model`` section of series."""

from typing import Annotated

from fedssl.modalities.model_config import ModelConfig
from fedssl.modalities.series.convolution import Conv1dNet
from fedssl.modalities.series.encoders import ENCODERS
from fedssl.networks.encoder import EncoderConfig


class SeriesModel(ModelConfig):
    """The ``model`` section of series."""

    encoder: Annotated[EncoderConfig, ENCODERS.choice] = Conv1dNet.Config()
    """The network to train: a name that `fedssl list` prints, a dotted path, or a section with
    fields. One of your own is given NaN where a value is not there."""
