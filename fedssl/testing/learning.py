"""What is asked of whatever clients minimise: an objective, with the terms that it has."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fedssl.model_state import clone, federated_state, is_private, private_tensors, split_state
from fedssl.model_state.check import first_not_finite
from fedssl.models.blueprint import ModelBlueprint
from fedssl.objectives import Batch, Objective
from fedssl.testing.setting import EXAMPLES, Clients, Setting, labels
from fedssl.testing.shared import (
    nothing_drawn,
    require,
    require_same,
    rng,
    same,
    through_file,
    unchanged,
)

BF16 = 0.1
"""How far a loss under autocast may be from the full one, as a share of that, or of 1."""
FEDERATED = ("encoder", "projector")


@dataclass(frozen=True)
class Learned:
    """What is checked, and all that is needed to try it."""

    where: str
    """What messages begin with."""
    setting: Setting
    """The examples."""
    blueprint: ModelBlueprint
    """Of the model."""
    count: int = EXAMPLES
    """How many examples a client has; those of a batch are at most as many."""

    def objective(self) -> Objective:
        """Return the objective as a client starts with it, in training."""
        objective = self.blueprint.build().train()
        objective.resize(self.count)
        objective.start(rng())
        return objective

    def clients(self) -> Clients:
        """Return clients that train it."""
        return Clients(self.setting, self.blueprint, self.count)

    def batch(self, objective: Objective, count: int, labelled: bool = True) -> Batch:
        """Return a batch of real views; always the same."""
        examples, draws = self.setting.examples(count), rng(7)
        numbers = range(1, objective.views_in_all + 1)
        views = [self.blueprint.views(examples, draws, view) for view in numbers]
        shown = labels(count) if labelled else torch.full((count,), -1)
        return Batch(views, torch.arange(count), shown, rng(8), 0.5)


def check_learning(learned: Learned) -> None:
    """Check an objective of a blueprint; an AssertionError says what breaks the contract."""
    _check_building(learned)
    _check_state(learned)
    _check_private(learned)
    unlabelled = _takes_unlabelled(learned)
    _check_loss(learned, labelled=not unlabelled)
    if unlabelled:
        _check_unlabelled(learned)
    _check_smallest(learned)
    _check_bf16(learned)
    _check_chance(learned)
    _check_after_step(learned)
    check_update(learned)


def _check_building(learned: Learned) -> None:
    with nothing_drawn(f"{learned.where}: building it"):
        first = learned.blueprint.build()
    again = learned.blueprint.build()
    require_same(
        first.state_dict(),
        again.state_dict(),
        f"{learned.where}: building it twice from one seed gives other weights",
    )


def _check_state(learned: Learned) -> None:
    objective, where = learned.blueprint.build(), learned.where
    federated, private = split_state(objective)
    for part in FEDERATED:
        require(
            isinstance(getattr(objective, part, None), torch.nn.Module),
            f"{where}: has no module `{part}`",
        )
        require(
            not is_private(part, objective.private),
            f"{where}: `private` names {part}, which is what clients learn together",
        )
    for name in objective.private:
        require(
            any(is_private(each, (name,)) for each in private),
            f"{where}: `private` names {name}, and its state_dict has no such tensor: see "
            f"{', '.join(list(federated)[-3:])}",
        )
    odd = [name for name in (*federated, *private) if " " in name]
    require(not odd, f"{where}: the tensor {odd[:1]} has a space in its name")
    require(
        isinstance(objective.number_of_views, int) and objective.number_of_views >= 1,
        f"{where}: number_of_views is {objective.number_of_views}: it must be 1 or more",
    )
    require(
        isinstance(objective.minimum_batch, int) and objective.minimum_batch >= 1,
        f"{where}: minimum_batch is {objective.minimum_batch}: it must be 1 or more",
    )


def _check_private(learned: Learned) -> None:
    """Check `resize` and `start`, as a client calls them."""
    objective, where = learned.blueprint.build(), learned.where
    with (
        unchanged(federated_state(objective), f"{where}: resize or start", "federated tensors"),
        nothing_drawn(f"{where}: resize or start"),
    ):
        objective.resize(learned.count)
        objective.start(rng())
    kept = clone(private_tensors(objective))
    again = learned.objective()
    require_same(
        kept, private_tensors(again), f"{where}: start gives other values for the same generator"
    )
    shapes = {name: tensor.shape for name, tensor in kept.items()}
    objective.resize(learned.count)
    require(
        {n: t.shape for n, t in private_tensors(objective).items()} == shapes,
        f"{where}: resize to the same number of examples changes a private tensor's shape",
    )


def _takes_unlabelled(learned: Learned) -> bool:
    """Tell whether it learns without labels."""
    objective = learned.objective()
    try:
        objective.check(torch.full((learned.count,), -1))
    except ValueError:
        objective.check(labels(learned.count))
        return False
    return True


def _check_unlabelled(learned: Learned) -> None:
    """Check that it looks at no labels, since it learns without."""
    losses = []
    for labelled in (False, True):
        objective = learned.objective()
        batch = learned.batch(objective, learned.count, labelled)
        losses.append(objective.loss(batch).detach())
    require(
        same(*losses),
        f"{learned.where}: its loss depends on labels, and `check` takes examples without any",
    )


def _check_loss(learned: Learned, labelled: bool) -> None:
    objective, again, where = learned.objective(), learned.objective(), learned.where
    batch = learned.batch(objective, learned.count, labelled)
    shown = {f"view {n}": view for n, view in enumerate(batch.views, 1)} | {"index": batch.index}
    with unchanged(shown, where, "the batch"), nothing_drawn(f"{where}: its loss"):
        loss = objective.loss(batch)
        require(
            isinstance(loss, Tensor) and loss.ndim == 0 and bool(loss.isfinite()),
            f"{where}: the loss must be a finite scalar, and is {loss}",
        )
        require(loss.requires_grad, f"{where}: the loss has no gradient")
        torch.autograd.backward(loss)
    other = again.loss(learned.batch(again, learned.count, labelled))
    require(
        same(loss.detach(), other.detach()),
        f"{where}: gives another loss for the same batch and the same state of `batch.generator`",
    )
    require_same(
        objective.state_dict(),
        again.state_dict(),
        f"{where}: is left in another state by the same batch and `batch.generator`",
    )
    _check_gradients(objective, where)


def _check_gradients(objective: Objective, where: str) -> None:
    for part in FEDERATED:
        module = getattr(objective, part)
        named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        for name, parameter in named:
            require(
                parameter.grad is not None and bool(parameter.grad.isfinite().all()),
                f"{where}: no finite gradient reaches {part}.{name}: is it detached, or in vain?",
            )
        moved = [n for n, p in named if p.grad is not None and bool(p.grad.any())]
        require(not named or bool(moved), f"{where}: all gradients of the {part} are zero")


def _check_smallest(learned: Learned) -> None:
    objective = learned.objective()
    where = f"{learned.where}, in a batch of minimum_batch = {objective.minimum_batch}"
    loss = objective.loss(learned.batch(objective, objective.minimum_batch))
    require(bool(loss.isfinite()), f"{where}: the loss is {loss}: raise minimum_batch")
    torch.autograd.backward(loss)
    gradients = {n: p.grad for n, p in objective.named_parameters() if p.grad is not None}
    broken = first_not_finite(gradients)
    require(broken is None, f"{where}: the gradient of {broken} is infinite or NaN")
    require(
        any(bool(p.grad.any()) for p in objective.encoder.parameters() if p.grad is not None),
        f"{where}: all gradients of the encoder are zero: raise minimum_batch",
    )


def _check_bf16(learned: Learned) -> None:
    objective, full, where = learned.objective(), learned.objective(), learned.where
    types = _types(objective.state_dict())
    batch = learned.batch(objective, learned.count)
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective.loss(batch)
    expected = full.loss(learned.batch(full, learned.count))
    require(
        loss.dtype == torch.float32,
        f"{where}: under autocast its loss is {loss.dtype}: decorate it with "
        "fedssl.base.precision.in_float32",
    )
    far = abs(loss.item() - expected.item())
    require(
        far <= BF16 * max(1.0, abs(expected.item())),
        f"{where}: under autocast its loss is {loss.item():g} in place of {expected.item():g}: "
        "decorate it with fedssl.base.precision.in_float32",
    )
    torch.autograd.backward(loss)
    objective.after_step(0.5)
    require(
        _types(objective.state_dict()) == types,
        f"{where}: a step under autocast changes the type of a tensor",
    )


def _types(state: Mapping[str, Tensor]) -> dict[str, tuple[torch.dtype, torch.Size]]:
    return {name: (tensor.dtype, tensor.shape) for name, tensor in state.items()}


def _check_chance(learned: Learned) -> None:
    objective = learned.objective()
    for count in (objective.minimum_batch, learned.count):
        chance = objective.chance_loss(count)
        require(
            isinstance(chance, (int, float)) and bool(torch.tensor(chance).isfinite()),
            f"{learned.where}: chance_loss({count}) is {chance}: it must be a finite number",
        )


def _check_after_step(learned: Learned) -> None:
    objective, again = learned.objective(), learned.objective()
    where, types = f"{learned.where}: after_step", _types(objective.state_dict())
    for each in (objective, again):
        torch.autograd.backward(each.loss(learned.batch(each, learned.count)))
    with nothing_drawn(where):
        objective.after_step(0.5)
    again.after_step(0.5)
    require_same(objective.state_dict(), again.state_dict(), f"{where} gives other values twice")
    require(_types(objective.state_dict()) == types, f"{where} changes a tensor's shape or type")
    broken = first_not_finite(objective.state_dict())
    require(broken is None, f"{where} makes {broken} infinite or NaN")


def check_update(learned: Learned) -> None:
    """Let a client train for two rounds, with another in between, as a resumed run would."""
    where = learned.where
    clients = learned.clients()
    received = clients.initial
    with unchanged(received, f"{where}: a local update", "the received model"):
        first = clients.train(received, {})
    with nothing_drawn(f"{where}: a local update"):
        again = clients.train(received, {})
    require_same(first.state, again.state, f"{where}: a local update gives other bits twice")
    moved = any(not torch.equal(received[n], t) for n, t in first.state.items())
    require(moved, f"{where}: a local update changes nothing")
    broken = first_not_finite(first.state)
    require(broken is None, f"{where}: a local update makes {broken} infinite or NaN")
    # Of more examples, so that what is resized is, and is again.
    clients.train(received, {}, client=1, round=2, count=learned.count + 3)
    again = clients.train(first.state, first.private_state, round=2)
    resumed = learned.clients().train(
        through_file(first.state), through_file(first.private_state), round=2
    )
    hint = (
        "what it keeps between steps and rounds belongs into its state_dict, as a parameter or a "
        "buffer"
    )
    for one, other, what in (
        (again.state, resumed.state, "model"),
        (again.private_state, resumed.private_state, "private state"),
    ):
        require_same(one, other, f"{where}: a resumed client ends with another {what}; {hint}")
