"""A data set of the user's own, named by a dotted path."""

import inspect

from pydantic import ConfigDict

from fedssl.base.fields import DottedPath
from fedssl.base.import_path import load_dotted
from fedssl.data.config import DataConfig
from fedssl.data.dataset import Splits


class CustomData(DataConfig):
    """When the set is your own code: ``name: my_module.load_my_set``.

    All other fields of the section are passed to that function by keyword; it returns ``Splits``,
    whose examples are tensors, or objects that fetch rows when asked (see `fedssl.data.Examples`).
    """

    model_config = ConfigDict(extra="allow")

    name: DottedPath
    """The dotted path."""

    def read(self) -> Splits:
        """Call the function."""
        function = load_dotted(self.name)
        if not callable(function):
            raise ValueError(
                f"data.name = {self.name} is a {type(function).__name__}: not callable"
            )
        given = self.model_extra or {}
        try:
            inspect.signature(function).bind(**given)
        except TypeError as error:
            raise ValueError(f"data.name = {self.name} does not fit the section: {error}") from None
        splits = function(**given)
        if not isinstance(splits, Splits):
            raise ValueError(
                f"data.name = {self.name} returned a {type(splits).__name__}: return "
                "fedssl.data.Splits"
            )
        return splits
