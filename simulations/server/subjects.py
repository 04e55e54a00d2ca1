"""What the measures look at: a model of an experiment with all that it was made from."""

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
    **known: Any,
) -> Subject:
    """Put together what measures look at.

    Parameters
    ----------
    blueprint : ModelBlueprint
        Of the experiment's model.
    encoder : nn.Module
        What is measured.
    splits : Splits
        All examples.
    examples : EvaluationExamples
        Those of them that the central evaluation works on.
    partition : Partition | None
        Who has which of the training examples; None, or one without any, where that is not known.
    **known : Any
        Further fields of the subject.
    """
    config = blueprint.config
    known_to = partition if partition is not None and len(partition.order) else None
    return Subject(
        encoder=encoder,
        examples=examples,
        config=config.evaluation,
        preparation=blueprint.preparation,
        seed=config.seed,
        view=blueprint.views,
        weak_view=blueprint.weak_views,
        train=splits.train,
        owner=known_to.owners(len(splits.train)) if known_to else None,
        client_names=known_to.names if known_to else (),
        **known,
    )


def after_update(
    experiment: Experiment,
    splits: Splits,
    partition: Partition,
    state: Callable[[], Mapping[str, Tensor]],
    server_round: int,
) -> Callable[[int], nn.Module]:
    """Return what makes a client's encoder, after one local update of a model.

    The update is one as of a client that takes part for the first time, with nothing asked by the
    strategy. The encoder is overwritten by the next call.

    Parameters
    ----------
    experiment : Experiment
        Resolved.
    splits, partition
        The examples, and who has which.
    state : Callable[[], Mapping[str, Tensor]]
        Returns the model's federated tensors; called when they are needed.
    server_round : int
        From 1; with the client it chooses the random numbers, and the learning rate.
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
