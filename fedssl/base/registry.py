"""Registries of plug-ins, by the names that a config gives them.

A plug-in is a class with a nested ``Config``. Its fields have defaults and docstrings, and its
``name`` has one or a few values, by which a config chooses the plug-in. The first line of the
class's docstring says when to use it. A class without further state, such as a partition, is its
own ``Config``. A modality is an instance and not a class; see `Instances`.
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache, cached_property
from importlib import metadata
from importlib.metadata import EntryPoint, EntryPoints
from types import MappingProxyType
from typing import Annotated, Any, Generic, Literal, TypeVar, cast, get_args

from pydantic import TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo

from fedssl.base.config_file import explain
from fedssl.base.fields import Choice, Fields, suggest_name
from fedssl.base.import_path import NotFoundError, load_dotted
from fedssl.base.printable import printable_value

Kind = TypeVar("Kind")
Item = TypeVar("Item")


@cache
def _installed() -> Any:
    # Cached, since every call searches all installed packages.
    return metadata.entry_points()


def entry_points(group: str) -> EntryPoints:
    """Return the entry points of a group in all installed packages."""
    points: EntryPoints = _installed().select(group=group)
    return points


class Named(Mapping[str, Item]):
    """The items that a config can name: built-in ones, entry points, and dotted paths.

    Entry points belong to installed packages; an item is imported only when it is requested.

    Parameters
    ----------
    kind : str
        The kind of item, for messages, such as "objective".
    group : str
        The group of entry points, such as "fedssl.objectives".
    builtin : Mapping[str, Item]
        Fedssl's items by name, in the order in which they are listed.
    closed : bool (default: False)
        Whether only the built-in items are valid.
    """

    def __init__(self, kind: str, group: str, builtin: Mapping[str, Item], *, closed: bool = False):
        self.kind, self.group = kind, group
        self._builtin = dict(builtin)
        self._closed = closed

    @cached_property
    def _added(self) -> dict[str, list[EntryPoint]]:
        """The entry points of installed packages by name; none is imported yet."""
        check_added: dict[str, list[EntryPoint]] = {}
        for point in () if self._closed else entry_points(group=self.group):
            check_added.setdefault(point.name, []).append(point)
        return check_added

    def builtin(self, name: str) -> Item | None:
        """Return a built-in item; None if there is none with this name."""
        return self._builtin.get(name)

    def __getitem__(self, name: str) -> Item:
        """Return the item with a name; a ValueError reports a faulty package."""
        builtin, points = self.builtin(name), self._added.get(name, [])
        if len(points) + (builtin is not None) > 1:
            raise ValueError(
                f"{_describe(points[-1])}: adds the {self.kind} {name}, which exists already; "
                "rename it, or remove the package"
            )
        if builtin is not None:
            return builtin
        if not points:
            raise KeyError(name)
        point = points[0]
        try:
            imported = point.load()
        # A user-defined module may raise anything during its import.
        except (Exception, SystemExit) as error:
            raise ValueError(
                f"{_describe(point)}: cannot be imported: {type(error).__name__}: {error}; fix "
                "it, or remove the package"
            ) from error
        return self.check_added(name, self.check(imported, _describe(point)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (self.builtin(name) is not None or name in self._added)

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self._builtin, *self._added])

    def __len__(self) -> int:
        return len(self._builtin.keys() | self._added.keys())

    def find(self, name: str, field: str = "name") -> Item:
        """Return the item with a name, or at a dotted path.

        Parameters
        ----------
        name : str
            The name or dotted path.
        field : str
            The config's field for messages, such as "objective.name".

        Raises
        ------
        ValueError
            There is no such item.
        """
        if name in self:
            return self[name]
        if "." in name and not self._closed:
            try:
                imported = load_dotted(name)
            except NotFoundError as error:
                shown = printable_value(name)
                raise ValueError(f"{field} = {shown}: {error.reason}") from None
            return self.check(imported, f"{field} = {printable_value(name)}")
        hint = suggest_name(name, list(self))
        raise ValueError(f"{field} = {printable_value(name)}: there is no such {self.kind}; {hint}")

    @abstractmethod
    def check(self, found: object, where: str) -> Item:
        """Return an imported object if it is of this kind; a ValueError says what it must be."""

    def check_added(self, name: str, item: Item) -> Item:
        """Return an item that an installed package adds; a ValueError says why it is not valid."""
        return item

    @abstractmethod
    def summary(self, name: str) -> str:
        """Return a line that says when to use an item."""

    @property
    def is_closed(self) -> bool:
        """Whether only the built-in items are valid."""
        return self._closed


class Instances(Named[Item]):
    """Items that are instances of one class.

    Parameters
    ----------
    kind, group, builtin
        See `Named`.
    base : type
        The class of the instances.
    """

    def __init__(self, kind: str, group: str, base: type[Item], builtin: Mapping[str, Item]):
        super().__init__(kind, group, builtin)
        self.base = base

    def check(self, found: object, where: str) -> Item:
        """Return an imported instance of the class; refuse anything else."""
        if isinstance(found, self.base):
            return found
        raise ValueError(
            f"{where}: must be an instance of {self.base.__module__}.{self.base.__qualname__}"
        )

    def summary(self, name: str) -> str:
        """Return the first line of the class's docstring."""
        return first_line(self[name])


class Registry(Named[type[Kind]], Generic[Kind]):
    """The plug-ins of one kind, which are classes, by their names in a config.

    Parameters
    ----------
    kind, group
        See `Named`.
    base : type
        The base class of the plug-ins.
    *builtin : type
        Fedssl's plug-ins, in the order in which they are listed.
    custom : type[Fields] | None (default: None)
        The model of sections with a dotted path, whose other fields are unknown until the class is
        imported. None if such a class is its own ``Config`` and is imported with the config.
    families : Mapping[str, type] (default: {})
        Plug-ins by the first part of names such as ``torchvision/resnet101``.
    closed : bool (default: False)
        Whether only the built-in plug-ins are valid.

    Raises
    ------
    ValueError
        A class has no name.

    Examples
    --------
    >>> from fedssl.partitions import PARTITIONS
    >>> PARTITIONS.summary("iid")
    'The easy reference: all clients draw from the same examples; sizes differ by at most one.'
    """

    def __init__(
        self,
        kind: str,
        group: str,
        base: type[Kind],
        *builtin: type[Kind],
        custom: type[Fields] | None = None,
        families: Mapping[str, type[Kind]] = MappingProxyType({}),
        closed: bool = False,
    ):
        for plugin in builtin:
            if not names_of(plugin):
                raise ValueError(
                    f"{plugin.__module__}.{plugin.__qualname__}: has no `name: Literal[...]` by "
                    "which a config could choose it"
                )
        named = {name: plugin for plugin in builtin for name in names_of(plugin)}
        super().__init__(kind, group, named, closed=closed)
        self.base = base
        self._custom = custom
        self._families = families

    def builtin(self, name: str) -> type[Kind] | None:
        """Return a built-in class; None if there is none with this name."""
        family, slash, _ = name.partition("/")
        return self._families.get(family) if slash else super().builtin(name)

    def __iter__(self) -> Iterator[str]:
        families = [f"{family}/NAME" for family in self._families]
        yield from dict.fromkeys([*self._builtin, *families, *self._added])

    def __len__(self) -> int:
        return super().__len__() + len(self._families)

    def check(self, found: object, where: str) -> type[Kind]:
        """Return an imported subclass of the base; refuse anything else."""
        if isinstance(found, type) and issubclass(found, self.base):
            return found
        raise ValueError(
            f"{where}: must be a subclass of {self.base.__module__}.{self.base.__qualname__}"
        )

    def summary(self, name: str) -> str:
        """Return a line that says when to use a plug-in."""
        return first_line(self[name])

    def model(self, name: str) -> type[Fields] | None:
        """Return the model of the section with this name; None if there is none."""
        if name in self:
            config = config_of(self[name])
            # A class without its own Config accepts any fields, by its path or by its name.
            if self._custom and config is config_of(self.base):
                config = self._custom
            # The section of a family validates its names itself.
            return config if "/" in name else model_with_name(config, name)
        if "." not in name or self._closed:
            return None
        return self._custom or model_with_name(config_of(self.find(name)), name)

    def resolve(self, section: Fields, field: str) -> tuple[type[Kind], Fields]:
        """Return the plug-in that a section names, and the section validated by its ``Config``.

        Parameters
        ----------
        section : Fields
            A section of a config. With a dotted path, its other fields are validated only now, by
            the class's own ``Config``; a class without one gets the section unchanged.
        field : str
            The section's field for messages, such as "objective".

        Raises
        ------
        ValueError
            There is no such plug-in, or a field is not valid.
        """
        name = getattr(section, "name", "")
        plugin = self.find(name, f"{field}.name")
        config = config_of(plugin)
        is_validated = isinstance(section, config) and not section.model_extra
        if is_validated or config is config_of(self.base):
            return plugin, section
        model, values = model_with_name(config, name), section.model_dump()
        try:
            return plugin, model.model_validate(values)
        except ValidationError as error:
            lines = explain(model, values, error)
            raise ValueError("; ".join(f"{field}.{line}" for line in lines)) from None

    def read(self, section: object) -> Fields:
        """Return a validated section from its values, or from a name alone.

        Raises
        ------
        ValueError
            There is no such plug-in, or a field is not valid.
        """
        adapter: TypeAdapter[Fields] = TypeAdapter(Annotated[Fields, self.choice])
        return adapter.validate_python(section)

    @cached_property
    def choice(self) -> Choice:
        """The validator of a config's section: ``Annotated[ObjectiveConfig, OBJECTIVES.choice]``.

        A text is a section with this name and no other fields.
        """
        return Choice(self, config_of(self.base))

    @property
    def models(self) -> dict[str, type[Fields]]:
        """The models of the sections of all names."""
        models = {}
        for name in self:
            # Errors of a package are reported only to users of its plug-ins.
            with suppress(ValueError):
                if model := self.model(name):
                    models[name] = model
        return models

    @property
    def custom(self) -> type[Fields] | None:
        """The model of sections with a dotted path; None if there is none."""
        return self._custom


def _describe(point: EntryPoint) -> str:
    """Return the description of an entry point for messages."""
    package = f" of the package {point.dist.name}" if point.dist else ""
    return f"the entry point {point.value}{package}"


def config_of(plugin: type) -> type[Fields]:
    """Return the model of a plug-in's section: its ``Config``, or itself."""
    if issubclass(plugin, Fields):
        return plugin
    config = getattr(plugin, "Config", Fields)
    if not (isinstance(config, type) and issubclass(config, Fields)):
        raise ValueError(
            f"{plugin.__module__}.{plugin.__qualname__}: its Config must be a subclass of that of "
            "its kind, such as fedssl.objectives.ObjectiveConfig"
        )
    return config


def names_of(plugin: type) -> tuple[str, ...]:
    """Return the values of a plug-in's field ``name``, by which a config chooses it."""
    field = config_of(plugin).model_fields.get("name")
    return tuple(name for name in get_args(field.annotation if field else None) if name)


def first_line(documented: object) -> str:
    """Return the first line of the docstring of a class, or of an instance's class."""
    return (documented.__doc__ or "").strip().partition("\n")[0]


@cache
def model_with_name(config: type[Fields], name: str) -> type[Fields]:
    """Return a section's model that accepts this ``name``, such as the path of a subclass."""
    field = config.model_fields.get("name")
    if field is None or name in names_of(config):
        return config
    if field.annotation is str and not field.metadata:
        return config
    literal: Any = Literal[name]
    model: Any = create_model(
        config.__name__,
        __base__=(_Renamed, config),
        __doc__=config.__doc__,
        name=(literal, FieldInfo(default=name, description=field.description)),
    )
    return cast(type[Fields], model)


class _Renamed(Fields):
    """Makes sections with another name than their class's picklable."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to rebuild the section: pickle finds its model in no module."""
        model = type(self)
        return _rebuild, (model.__mro__[2], names_of(model)[0], self.__getstate__())


def _rebuild(config: type[Fields], name: str, state: dict[Any, Any]) -> Fields:
    model = model_with_name(config, name)
    section = model.__new__(model)
    section.__setstate__(state)
    return section
