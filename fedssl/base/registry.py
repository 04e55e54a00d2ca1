"""One way to plug in: what a config names, each found in the registry of its kind.

A plug-in is a class with a nested ``Config``: its fields, each with its default and its meaning,
and a ``name`` of one value or a few, by which a config chooses it. The first line of the class's
docstring says when to use it. What has no state beside its fields, such as a partition, is its own
``Config``. What is made once, such as a modality, is an instance, in `Instances`.
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
from fedssl.base.fields import Choice, Fields, nearest
from fedssl.base.import_path import NotFoundError, load_dotted
from fedssl.base.printable import printable_value

Kind = TypeVar("Kind")
Item = TypeVar("Item")


@cache
def _installed() -> Any:
    # Once for all groups: every look goes through all that is installed.
    return metadata.entry_points()


def entry_points(group: str) -> EntryPoints:
    """Return the entry points of a group that installed packages have."""
    found: EntryPoints = _installed().select(group=group)
    return found


class Named(Mapping[str, Item]):
    """What a config may name: fedssl's own, what installed packages add, and dotted paths.

    Packages add by an entry point; of these, the one that is asked for is imported, and no other.

    Parameters
    ----------
    kind : str
        What one is called: "objective".
    group : str
        The entry points of installed packages: "fedssl.objectives".
    own : Mapping[str, Item]
        Fedssl's own, in the order in which they are listed.
    closed : bool (default: False)
        Whether there are no others than these.
    """

    def __init__(self, kind: str, group: str, own: Mapping[str, Item], *, closed: bool = False):
        self.kind, self.group = kind, group
        self._own = dict(own)
        self._closed = closed

    @cached_property
    def _added(self) -> dict[str, list[EntryPoint]]:
        """The entry points of installed packages by name; none is loaded yet."""
        added: dict[str, list[EntryPoint]] = {}
        for point in () if self._closed else entry_points(group=self.group):
            added.setdefault(point.name, []).append(point)
        return added

    def own(self, name: str) -> Item | None:
        """Return what is fedssl's own, of no installed package; None where it is not."""
        return self._own.get(name)

    def __getitem__(self, name: str) -> Item:
        """Return what has a name; a ValueError says what is wrong with the package that adds it."""
        own, points = self.own(name), self._added.get(name, [])
        if len(points) + (own is not None) > 1:
            raise ValueError(
                f"{_told(points[-1])}: adds the {self.kind} {name}, which there is already; rename "
                "it, or remove the package"
            )
        if own is not None:
            return own
        if not points:
            raise KeyError(name)
        point = points[0]
        try:
            found = point.load()
        # Whatever somebody else's module raises while it is imported.
        except (Exception, SystemExit) as error:
            raise ValueError(
                f"{_told(point)}: cannot be imported: {type(error).__name__}: {error}; mend it, or "
                "remove the package"
            ) from error
        return self.added(name, self.check(found, _told(point)))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (self.own(name) is not None or name in self._added)

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self._own, *self._added])

    def __len__(self) -> int:
        return len(self._own.keys() | self._added.keys())

    def find(self, name: str, field: str = "name") -> Item:
        """Return what has a name, or what a dotted path leads to.

        Parameters
        ----------
        name : str
            The name.
        field : str
            What errors call the field that it stands in: "objective.name".

        Raises
        ------
        ValueError
            There is none such.
        """
        if name in self:
            return self[name]
        if "." in name and not self._closed:
            try:
                found = load_dotted(name)
            except NotFoundError as error:
                shown = printable_value(name)
                raise ValueError(f"{field} = {shown}: {error.reason}") from None
            return self.check(found, f"{field} = {printable_value(name)}")
        hint = nearest(name, list(self))
        raise ValueError(f"{field} = {printable_value(name)}: there is no such {self.kind}; {hint}")

    @abstractmethod
    def check(self, found: object, where: str) -> Item:
        """Return what was imported if it is of this kind; a ValueError says what it must be."""

    def added(self, name: str, item: Item) -> Item:
        """Return what an installed package adds under a name; a ValueError says why it does not."""
        return item

    @abstractmethod
    def when(self, name: str) -> str:
        """Return a line on when to use what has a name."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing of the user's own can be named."""
        return self._closed


class Instances(Named[Item]):
    """What is made already: instances of one class.

    Parameters
    ----------
    kind, group, own
        See `Named`.
    base : type
        Their class.
    """

    def __init__(self, kind: str, group: str, base: type[Item], own: Mapping[str, Item]):
        super().__init__(kind, group, own)
        self.base = base

    def check(self, found: object, where: str) -> Item:
        """Refuse what is no instance of the class."""
        if isinstance(found, self.base):
            return found
        raise ValueError(
            f"{where}: must be an instance of {self.base.__module__}.{self.base.__qualname__}"
        )

    def when(self, name: str) -> str:
        """Return the first line of the docstring."""
        return first_line(self[name])


class Registry(Named[type[Kind]], Generic[Kind]):
    """The plug-ins of one kind, which are classes, by the names that a config gives them.

    Parameters
    ----------
    kind, group
        See `Named`.
    base : type
        What each is a subclass of.
    *own : type
        Fedssl's own, in the order in which they are listed.
    custom : type[Fields] | None (default: None)
        The section that names a class by its dotted path, whose further fields nobody knows before
        it is imported; None where there is none: then a class is its own ``Config``, and is
        imported when the config is read.
    families : Mapping[str, type] (default: {})
        Plug-ins by the first word of a name in two parts: what torchvision/resnet101 is of.
    closed : bool (default: False)
        Whether there are no others than fedssl's own.

    Raises
    ------
    ValueError
        A class has no name.

    Examples
    --------
    >>> from fedssl.partitions import PARTITIONS
    >>> PARTITIONS.when("iid")
    'The easy reference: all clients draw from the same examples; sizes differ by at most one.'
    """

    def __init__(
        self,
        kind: str,
        group: str,
        base: type[Kind],
        *own: type[Kind],
        custom: type[Fields] | None = None,
        families: Mapping[str, type[Kind]] = MappingProxyType({}),
        closed: bool = False,
    ):
        for plugin in own:
            if not names_of(plugin):
                raise ValueError(
                    f"{plugin.__module__}.{plugin.__qualname__}: has no `name: Literal[...]` by "
                    "which a config could choose it"
                )
        named = {name: plugin for plugin in own for name in names_of(plugin)}
        super().__init__(kind, group, named, closed=closed)
        self.base = base
        self._custom = custom
        self._families = families

    def own(self, name: str) -> type[Kind] | None:
        """Return a class of fedssl's own, of no installed package; None where it is not."""
        family, slash, _ = name.partition("/")
        return self._families.get(family) if slash else super().own(name)

    def __iter__(self) -> Iterator[str]:
        families = [f"{family}/NAME" for family in self._families]
        yield from dict.fromkeys([*self._own, *families, *self._added])

    def __len__(self) -> int:
        return super().__len__() + len(self._families)

    def check(self, found: object, where: str) -> type[Kind]:
        """Refuse what is no subclass of the base."""
        if isinstance(found, type) and issubclass(found, self.base):
            return found
        raise ValueError(
            f"{where}: must be a subclass of {self.base.__module__}.{self.base.__qualname__}"
        )

    def when(self, name: str) -> str:
        """Return a line on when to use a plug-in."""
        return first_line(self[name])

    def model(self, name: str) -> type[Fields] | None:
        """Return the model of a section of this name, or None where there is none."""
        if name in self:
            config = config_of(self[name])
            # What has no Config of its own takes any fields, whether by its path or by its name.
            if self._custom and config is config_of(self.base):
                config = self._custom
            # A family's section says itself which of its names there are.
            return config if "/" in name else accepting(config, name)
        if "." not in name or self._closed:
            return None
        return self._custom or accepting(config_of(self.find(name)), name)

    def settle(self, section: Fields, field: str) -> tuple[type[Kind], Fields]:
        """Return the plug-in that a validated section names, and the section in the class's terms.

        Parameters
        ----------
        section : Fields
            What was read. Where it names a class by its dotted path, its fields are validated now,
            by the class's own ``Config``; a class that has none takes the section as it is.
        field : str
            What errors call the section: "objective".

        Raises
        ------
        ValueError
            There is no such plug-in, or a field is wrong.
        """
        name = getattr(section, "name", "")
        plugin = self.find(name, f"{field}.name")
        config = config_of(plugin)
        is_settled = isinstance(section, config) and not section.model_extra
        if is_settled or config is config_of(self.base):
            return plugin, section
        model, values = accepting(config, name), section.model_dump()
        try:
            return plugin, model.model_validate(values)
        except ValidationError as error:
            lines = explain(model, values, error)
            raise ValueError("; ".join(f"{field}.{line}" for line in lines)) from None

    def read(self, section: object) -> Fields:
        """Return a section validated, which a name alone may stand for.

        Raises
        ------
        ValueError
            There is no such plug-in, or a field is wrong.
        """
        adapter: TypeAdapter[Fields] = TypeAdapter(Annotated[Fields, self.choice])
        return adapter.validate_python(section)

    @cached_property
    def choice(self) -> Choice:
        """What validates a section of a config: ``Annotated[ObjectiveConfig, OBJECTIVES.choice]``.

        A text stands for a section that holds nothing but this name.
        """
        return Choice(self, config_of(self.base))

    @property
    def models(self) -> dict[str, type[Fields]]:
        """The models of all sections that there are names for."""
        found = {}
        for name in self:
            # What is wrong with a package is told to who asks for what it adds.
            with suppress(ValueError):
                if model := self.model(name):
                    found[name] = model
        return found

    @property
    def custom(self) -> type[Fields] | None:
        """The model of a section that names a class by its dotted path, where it has one."""
        return self._custom


def _told(point: EntryPoint) -> str:
    """Return what errors call an entry point."""
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
    """Return the names by which a config may choose a plug-in, by its field ``name``."""
    field = config_of(plugin).model_fields.get("name")
    return tuple(name for name in get_args(field.annotation if field else None) if name)


def first_line(documented: object) -> str:
    """Return the first line of the docstring of a class, or of an instance's class."""
    return (documented.__doc__ or "").strip().partition("\n")[0]


@cache
def accepting(config: type[Fields], name: str) -> type[Fields]:
    """Return a section's model whose ``name`` may be this one, such as the path of a subclass."""
    field = config.model_fields.get("name")
    if field is None or name in names_of(config):
        return config
    if field.annotation is str and not field.metadata:
        return config
    literal: Any = Literal[name]
    made: Any = create_model(
        config.__name__,
        __base__=(_Renamed, config),
        __doc__=config.__doc__,
        name=(literal, FieldInfo(default=name, description=field.description)),
    )
    return cast(type[Fields], made)


class _Renamed(Fields):
    """Has a section of another name than its class's travel to other processes, as any other."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Say how it is made again: its model is in no module, where it could be found."""
        model = type(self)
        return _again, (model.__mro__[2], names_of(model)[0], self.__getstate__())


def _again(config: type[Fields], name: str, state: dict[Any, Any]) -> Fields:
    made = accepting(config, name)
    section = made.__new__(made)
    section.__setstate__(state)
    return section
