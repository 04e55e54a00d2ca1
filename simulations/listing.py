"""What a config may name, each with a line on when to use it."""

from rich.table import Table

from fedssl.data import DATASETS
from fedssl.encoders import ENCODERS
from fedssl.evaluation import MEASURES
from fedssl.objectives import OBJECTIVES, TERMS
from fedssl.partitions import PARTITIONS
from fedssl.views import POLICIES, STEPS
from simulations.engines import ENGINES
from strategies import WHEN_TO_USE


def listing() -> Table:
    """Return a table of every name and when to use it."""
    sections: dict[str, dict[str, str]] = {
        "data.name": {name: _first_line(config) for name, config in DATASETS.items()},
        "partition.name": {name: _first_line(config) for name, config in PARTITIONS.items()},
        "model.encoder": {
            **{name: when for name, (when, _) in ENCODERS.items()},
            "torchvision/NAME": "A classifier of torchvision's, such as torchvision/resnet101.",
            "timm/NAME": "A model of timm's, which must be installed: pip install 'fedssl[timm]'.",
        },
        "objective.name": {name: _first_line(made) for name, made in OBJECTIVES.items()},
        "objective.terms": {name: _first_line(made) for name, made in TERMS.items()},
        "views": {name: when for name, (when, _) in POLICIES.items()},
        "views, a step's name": {name: _first_line(step) for name, step in STEPS.items()},
        "evaluation.measures": {n: m.when for n, m in MEASURES.items() if m.of_a_round},
        "strategy.name": dict(WHEN_TO_USE),
        "engine.name": {name: _first_line(config) for name, config in ENGINES.items()},
    }
    table = Table("field", "name", "when to use it", box=None, pad_edge=False)
    for field, choices in sections.items():
        for place, (name, when) in enumerate(choices.items()):
            table.add_row("" if place else field, name, when, end_section=False)
        table.add_row()
    return table


def _first_line(documented: type) -> str:
    return (documented.__doc__ or "").strip().partition("\n")[0]
