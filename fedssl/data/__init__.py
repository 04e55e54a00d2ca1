"""Data sets: examples with labels and other columns."""

from fedssl.data.config import DataConfig, Limit
from fedssl.data.custom import CustomData
from fedssl.data.dataset import Dataset, Splits
from fedssl.data.on_demand import Examples

__all__ = ["CustomData", "DataConfig", "Dataset", "Examples", "Limit", "Splits"]
