"""What the ``model`` section holds, whatever the modality."""

from typing import Annotated, Literal

from pydantic import PositiveInt

from fedssl.base.fields import Fields, File, Listed
from fedssl.networks.encoder import EncoderConfig


class ModelConfig(Fields):
    """The ``model`` section: one subclass for each modality.

    Examples
    --------
    >>> from fedssl.modalities import MODALITIES
    >>> model = MODALITIES["image"].model(encoder={"name": "convnet"}, projector=[64, 32])
    >>> model.encoder.name, model.projector, model.norm
    ('convnet', (64, 32), 'batch')
    """

    encoder: EncoderConfig
    """The network to train. Each modality validates it by the choice of its own encoders."""
    projector: Annotated[tuple[PositiveInt, ...], Listed] = (256, 128)
    """The widths of the projector's layers; [] for none."""
    init: File | None = None
    """Start from this encoder: a run's model.safetensors, or any safetensors file that fits."""
    norm: Literal["batch", "group"] = "batch"
    """group: GroupNorm in place of every BatchNorm, so nothing depends on a client's batch."""
