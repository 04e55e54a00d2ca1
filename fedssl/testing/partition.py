"""Does a partition keep its contract?"""

import numpy as np
import torch

from fedssl.base.seeding import numpy_generator
from fedssl.data import Dataset
from fedssl.partitions import PARTITIONS, PartitionConfig, partition
from fedssl.testing.shared import (
    check_documented,
    check_section,
    find_plugin,
    nothing_drawn,
    require,
    unchanged,
)

EXAMPLES = 120
CLASSES = 4
GROUPS = 8
COLUMN = "group"
"""The column of the kit's examples, for partitions that go by one."""


def check_partition(
    chosen: type[PartitionConfig] | str, clients: int | None = 4, **fields: object
) -> None:
    """Check that a partition keeps its contract, as `PartitionConfig` says.

    It shares out 120 examples of four classes, which have a column ``group`` of eight values.

    Parameters
    ----------
    chosen : type[PartitionConfig] | str
        Its class, its registered name, or its dotted path.
    clients : int | None (default: 4)
        The section's ``clients``.
    **fields : object
        Its other fields that are not to have their defaults, such as ``field="group"``.

    Raises
    ------
    AssertionError
        It does not; the message says what, and where it can be seen.
    ValueError
        There is no such partition, a field is wrong, or the examples cannot be shared out so.

    Examples
    --------
        from fedssl.testing import check_partition
        check_partition("dirichlet", alpha=1.0)
    """
    plugin = find_plugin(PARTITIONS, chosen, {"clients": clients, **fields})
    # What a partition goes by, such as how many clients there are, may well have no default.
    check_documented(plugin, optional=False)
    config = PARTITIONS.read(plugin.section)
    assert isinstance(config, PartitionConfig)
    where = f"partition {plugin.name}"
    check_section(config, where)
    examples = _examples()
    _check_assigning(config, examples, where)
    _check_whole(config, examples, where)
    _check_labels(config, where)


def _examples(labelled: bool = True) -> Dataset:
    place = np.arange(EXAMPLES)
    labels = torch.arange(EXAMPLES) % CLASSES if labelled else torch.full((EXAMPLES,), -1)
    names = tuple("abcd") if labelled else ()
    return Dataset(
        torch.zeros(EXAMPLES, 3, 1, 1, dtype=torch.uint8), labels, names, {COLUMN: place % GROUPS}
    )


def _check_assigning(config: PartitionConfig, examples: Dataset, where: str) -> None:
    stored = {"labels": examples.labels, COLUMN: torch.from_numpy(examples.fields[COLUMN])}
    with unchanged(stored, where, "the data set"), nothing_drawn(where):
        owner = config.assign(examples, numpy_generator(0, "partition"))
    require(
        isinstance(owner, np.ndarray) and owner.dtype == np.int64 and owner.shape == (EXAMPLES,),
        f"{where}: assign must return int64 [{EXAMPLES}], a client for each example, and gives "
        f"{getattr(owner, 'dtype', type(owner))} {list(np.shape(owner))}",
    )
    most = int(owner.max()) + 1 if config.clients is None else config.clients
    require(
        int(owner.min()) >= 0 and int(owner.max()) < most,
        f"{where}: assign gives clients {owner.min()} to {owner.max()}, and there are {most}",
    )
    again = config.assign(examples, numpy_generator(0, "partition"))
    require(
        np.array_equal(owner, again),
        f"{where}: assign gives other clients for the same state of the generator",
    )


def _check_whole(config: PartitionConfig, examples: Dataset, where: str) -> None:
    shared = partition(config, examples, seed=0)
    sizes = shared.sizes()
    require(
        config.clients in (None, shared.clients),
        f"{where}: gives {shared.clients} clients in place of {config.clients}",
    )
    require(
        int(sizes.min()) >= config.minimum,
        f"{where}: a client has {sizes.min()} examples, fewer than the minimum",
    )
    require(
        np.array_equal(np.sort(shared.order), np.arange(EXAMPLES)),
        f"{where}: an example is nobody's, or of two clients",
    )
    names = shared.names
    require(
        len(names) in (0, shared.clients) and all(isinstance(name, str) for name in names),
        f"{where}: client_names gives {len(names)} names for {shared.clients} clients",
    )


def _check_labels(config: PartitionConfig, where: str) -> None:
    """Check `by_label`; a partition that goes by labels is refused where there are none."""
    if config.by_label:
        return
    try:
        partition(config, _examples(labelled=False), seed=0)
    except Exception as error:
        raise AssertionError(
            f"{where}: fails without labels, with {type(error).__name__}: {error}; say "
            "by_label = True"
        ) from error
