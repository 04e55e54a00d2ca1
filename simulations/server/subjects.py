"""Build the `Subject` of a measure: a model together with the data it was trained on."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from clients import ClientRuntime
from fedssl.data import Splits
from fedssl.evaluation import EvaluationExamples, Subject
from fedssl.evaluation.parallel import one_thread
from fedssl.models.blueprint import ModelBlueprint
from fedssl.partitions import Partition
from simulations.settings.experiment import Experiment


def subject_of(
    blueprint: ModelBlueprint,
    encoder: nn.Module,
    splits: Splits,
    examples: EvaluationExamples,
    partition: Partition | None,
    **fields: Any,
) -> Subject:
    """Return the subject that measures evaluate.

    Parameters
    ----------
    blueprint : ModelBlueprint
        The blueprint of the experiment's model.
    encoder : nn.Module
        The encoder to evaluate.
    splits : Splits
        All training and test examples.
    examples : EvaluationExamples
        The examples of the central evaluation.
    partition : Partition | None
        Which client has which training examples; None or empty where the server does not know it.
    **fields : Any
        More fields of the subject.
    """
    config = blueprint.config
    known_partition = partition if partition is not None and len(partition.order) else None
    return Subject(
        encoder=encoder,
        examples=examples,
        config=config.evaluation,
        preparation=blueprint.preparation,
        seed=config.seed,
        view=blueprint.views,
        weak_view=blueprint.weak_views,
        train=splits.train,
        owner=known_partition.owners(len(splits.train)) if known_partition else None,
        client_names=known_partition.names if known_partition else (),
        **fields,
    )


def after_update(
    experiment: Experiment,
    splits: Splits,
    partition: Partition,
    state: Callable[[], Mapping[str, Tensor]],
    server_round: int,
) -> Callable[[int], nn.Module]:
    """Return a function that maps a client to its encoder after one local update of a model.

    The client is taken as one in its first round, without the strategy's instructions. The next
    call overwrites the encoder.

    Parameters
    ----------
    experiment : Experiment
        The resolved config.
    splits, partition
        The examples, and which client has which.
    state : Callable[[], Mapping[str, Tensor]]
        Returns the tensors of the global model; called at each update.
    server_round : int
        The round, from 1: it decides the random numbers and the learning rate.
    """
    device = torch.device(experiment.engine.device)
    runtime: list[ClientRuntime] = []

    def update(client: int) -> nn.Module:
        # Only once it is needed: a resident model costs memory.
        if not runtime:
            runtime.append(ClientRuntime(experiment, splits.train, partition, device))
        worker = runtime[0].worker()
        with one_thread():
            worker.run(
                *runtime[0].examples_of(client),
                state(),
                {},
                client=client,
                server_round=server_round,
            )
        return worker.objective.encoder.eval()

    return update
