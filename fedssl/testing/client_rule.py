"""Check that a client rule keeps its contract."""

from collections.abc import Mapping

import torch
from torch import Tensor

from fedssl.client_rules import CLIENT_RULES, ClientRound, ClientRule, ClientRuleConfig, build_rule
from fedssl.client_rules.rule_runner import Metrics, memory_after, select_rule_tensors
from fedssl.model_state import State, TensorRoles, clone, tensor_roles
from fedssl.model_state.check import first_not_finite
from fedssl.models.blueprint import ModelBlueprint
from fedssl.testing.setting import IMAGES, Clients
from fedssl.testing.shared import (
    check_documented,
    check_section,
    find_plugin,
    nothing_drawn,
    require,
    require_same,
    through_file,
    unchanged,
)
from fedssl.training.client_memory import ClientMemory
from fedssl.training.instructions import Instructions
from fedssl.training.local_update import LocalUpdate

OBJECTIVES = ("simclr", "byol")
"""One without private tensors, and one with them."""
RETURN_ROUND = 5
"""The third round in which the client trains, after two that it missed."""


def check_client_rule(
    rule: type[ClientRule] | str, extra: Mapping[str, Tensor] | None = None, **fields: object
) -> None:
    """Check that a client rule keeps the contract that `ClientRule` documents.

    A client trains with it in rounds 1, 2 and 5, with ``simclr`` and with ``byol``.

    Parameters
    ----------
    rule : type[ClientRule] | str
        The rule's class, its registered name, or its dotted path.
    extra : Mapping[str, Tensor] | None (default: None)
        The strategy's extra tensors in the first round, by the rule's own names. None for no
        tensors, or, if the rule refuses that, for zeros like the tensors that it sends.
    **fields : object
        Values for fields of the rule's ``Config``.

    Raises
    ------
    AssertionError
        The rule breaks its contract; the message says how.
    ValueError
        The rule does not exist, or a value is not valid.

    Examples
    --------
        from fedssl.testing import check_client_rule
        check_client_rule("proximal", mu=0.5)
    """
    plugin = find_plugin(CLIENT_RULES, rule, fields)
    check_documented(plugin)
    config = CLIENT_RULES.read(plugin.section)
    assert isinstance(config, ClientRuleConfig)
    check_section(config, f"client rule {plugin.name}")
    instructions = Instructions(rules=(config,))
    decoded = Instructions.from_config(instructions.to_config())
    require(decoded == instructions, f"client rule {plugin.name}: changes in a message")
    for objective in OBJECTIVES:
        for precision in ("fp32", "bf16"):
            blueprint = IMAGES.blueprint(
                objective={"name": objective}, client={"precision": precision}
            )
            where = f"client rule {plugin.name}, with {objective} in {precision}"
            _Check(where, build_rule(config), instructions, blueprint, extra).run()


class _Check:
    """A check of one rule with one model."""

    def __init__(
        self,
        where: str,
        rule: ClientRule,
        instructions: Instructions,
        blueprint: ModelBlueprint,
        extra: Mapping[str, Tensor] | None,
    ):
        self.where = where
        self.rule = rule
        self.name = rule.config.name
        self.instructions = instructions
        self.blueprint = blueprint
        self.clients = Clients(IMAGES, blueprint)
        self.roles = tensor_roles(blueprint.build())
        self.received = self.clients.initial
        self.extra = self._first_extra(extra)

    def run(self) -> None:
        """Train a client with the rule, and check all that results."""
        with unchanged(self.received, self.where, "the received model"), nothing_drawn(self.where):
            first = self._train(self.clients, self.received, {}, 1, self.extra)
        repeated = self._train(self.clients, self.received, {}, 1, self.extra)
        self._same(first, repeated, "gives other bits for the same client and round")
        self._check_sent(first)
        self._check_memory(first)
        self._check_metrics_only(first)
        extra = self._rule_tensors(first.extra)
        # Another client in between: none of its tensors may remain for the next.
        self._train(self.clients, self.received, {}, 2, extra, client=1)
        second = self._train(self.clients, first.state, first.private_state, 2, extra)
        resumed = self._train(
            Clients(IMAGES, self.blueprint),
            through_file(first.state),
            through_file(first.private_state),
            2,
            extra,
        )
        self._same(
            second,
            resumed,
            "a resumed client gives other bits: does `remember` return all that the rule needs?",
        )
        third = self._train(
            self.clients,
            second.state,
            second.private_state,
            RETURN_ROUND,
            self._rule_tensors(second.extra),
        )
        self._check_sent(third)
        self._check_replay(first)

    def _first_extra(self, extra: Mapping[str, Tensor] | None) -> State:
        if extra is not None:
            return dict(extra)
        try:
            self._update(self.clients, self.received, {}, 1, {})
        except ValueError:
            like = self.rule.declared_tensors(self.received, self.roles)
            return {name: torch.zeros(t.shape, dtype=t.dtype) for name, t in like.items()}
        return {}

    def _update(
        self,
        clients: Clients,
        received: Mapping[str, Tensor],
        private_state: Mapping[str, Tensor],
        server_round: int,
        extra: Mapping[str, Tensor],
        client: int = 0,
    ) -> LocalUpdate:
        return clients.train(
            received,
            private_state,
            client=client,
            round=server_round,
            instructions=self.instructions,
            extra={f"{self.name}/{name}": tensor for name, tensor in extra.items()},
        )

    def _train(
        self,
        clients: Clients,
        received: Mapping[str, Tensor],
        private_state: Mapping[str, Tensor],
        server_round: int,
        extra: Mapping[str, Tensor],
        client: int = 0,
    ) -> LocalUpdate:
        nth = f"round {server_round}" if private_state else "the client's first round"
        try:
            return self._update(clients, received, private_state, server_round, extra, client)
        except Exception as error:
            raise AssertionError(
                f"{self.where}: {nth} fails with {type(error).__name__}: {error}"
            ) from error

    def _rule_tensors(self, extra: Mapping[str, Tensor]) -> State:
        return select_rule_tensors(self.name, extra)

    def _same(self, one: LocalUpdate, other: LocalUpdate, problem: str) -> None:
        for first, second in (
            (one.state, other.state),
            (one.private_state, other.private_state),
            (one.extra, other.extra),
        ):
            require_same(first, second, f"{self.where}: {problem}")
        require(one.metrics == other.metrics, f"{self.where}: {problem}: see its metrics")

    def _check_sent(self, update: LocalUpdate) -> None:
        """Check the values that are sent; each update checks that the rule declares them."""
        declared = self.rule.declared_metrics(self.received, self.roles)
        for name, metric in declared.items():
            for value in _numbers(update.metrics, f"{self.name}/{name}"):
                require(
                    isinstance(value, (int, float)) and metric.minimum <= value <= metric.maximum,
                    f"{self.where}: its metric {name} is {value}, and it declares "
                    f"{metric.minimum:g} to {metric.maximum:g}: the server would refuse it",
                )
        bad_tensor = first_not_finite(update.extra)
        require(bad_tensor is None, f"{self.where}: sends {bad_tensor}, which is infinite or NaN")

    def _check_memory(self, update: LocalUpdate) -> None:
        remembered = self._remembered(update.private_state)
        loaded = self._remembered(through_file(update.private_state))
        require_same(remembered, loaded, f"{self.where}: its memory changes in a file")
        bad_tensor = first_not_finite(remembered)
        require(
            bad_tensor is None, f"{self.where}: remembers {bad_tensor}, which is infinite or NaN"
        )

    def _remembered(self, private_state: State) -> State:
        memory = ClientMemory.from_private_state(private_state)
        return dict(memory.rules.get(self.name, {})) if memory else {}

    def _check_metrics_only(self, update: LocalUpdate) -> None:
        """Check `metrics_only`: a replay ignores such a rule."""
        if not self.rule.metrics_only:
            return
        plain = self.clients.train(self.received, {})
        require_same(
            plain.state,
            update.state,
            f"{self.where}: sets metrics_only, but clients train differently with it",
        )

    def _check_replay(self, update: LocalUpdate) -> None:
        """Check `remember` for an update in which the rule was not active."""
        plain = self.clients.train(self.received, {})
        trainable = frozenset(self.received) & {
            name for name, p in self.blueprint.build().named_parameters() if p.requires_grad
        }
        client_round = _first_round(self.received, trainable, self.roles, self.extra, self.name)
        rules = self.instructions.build_rules()
        try:
            memory = memory_after(
                rules, client_round, self.received, plain.state, plain.stats.steps
            )
        except Exception as error:
            raise AssertionError(
                f"{self.where}: remember fails with {type(error).__name__} if neither "
                f"initial_tensors nor on_round_start was called, as in a replay: {error}"
            ) from error
        require(
            _shapes(memory.get(self.name, {})) == _shapes(self._remembered(update.private_state)),
            f"{self.where}: remembers other tensors if it was not active, as in a replay",
        )


def _first_round(
    received: State, trainable: frozenset[str], roles: TensorRoles, extra: State, name: str
) -> ClientRound:
    return ClientRound(
        server_round=1,
        round_start=clone(received),
        received_names=frozenset(received),
        trainable_names=trainable,
        roles=roles,
        extra={f"{name}/{key}": tensor for key, tensor in extra.items()},
        momentum=0.9,
        lr=0.02,
    )


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}


def _numbers(metrics: Metrics, name: str) -> list[float]:
    value = metrics[name]
    return value if isinstance(value, list) else [value]
