"""What a config may name, each with a line on when to use it."""

from collections.abc import Callable, Mapping

from rich.table import Table

from fedssl.evaluation import MEASURES
from fedssl.modalities import MODALITIES, Modality
from fedssl.objectives import OBJECTIVES, TERMS
from fedssl.partitions import PARTITIONS
from simulations.engines import ENGINES
from strategies import WHEN_TO_USE


def listing() -> Table:
    """Return a table of every name and when to use it."""
    sections: dict[str, dict[str, str]] = {
        **_of_modalities("data.name", lambda m: _first_lines(m.data)),
        "partition.name": _first_lines(PARTITIONS),
        **_of_modalities("model.encoder", lambda m: m.encoders),
        "objective.name": _first_lines(OBJECTIVES),
        "objective.terms": _first_lines(TERMS),
        **_of_modalities("views", lambda m: {n: p.when for n, p in m.policies.items()}),
        **_of_modalities("views, a step's name", lambda m: _first_lines(m.steps)),
        "evaluation.measures": {n: m.when for n, m in MEASURES.items() if m.of_a_round},
        "strategy.name": dict(WHEN_TO_USE),
        "engine.name": _first_lines(ENGINES),
    }
    table = Table("field", "name", "when to use it", box=None, pad_edge=False)
    for field, choices in sections.items():
        for place, (name, when) in enumerate(choices.items()):
            table.add_row("" if place else field, name, when, end_section=False)
        table.add_row()
    return table


def _of_modalities(
    field: str, names: Callable[[Modality], Mapping[str, str]]
) -> dict[str, dict[str, str]]:
    """Return what a field may hold of each modality, under the field and the modality's noun."""
    return {f"{field} ({m.noun[1]})": dict(names(m)) for m in MODALITIES.values()}


def _first_lines(documented: Mapping[str, type]) -> dict[str, str]:
    return {n: (kind.__doc__ or "").strip().partition("\n")[0] for n, kind in documented.items()}
