"""Does a client rule keep its contract?"""

from collections.abc import Mapping

import torch
from torch import Tensor

from fedssl.client_rules import CLIENT_RULES, ClientRule, ClientRuleConfig, Visit, build_rule
from fedssl.client_rules.running import Metrics, of_rule, remembered_by
from fedssl.model_state import ModelParts, State, clone, model_parts
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
"""Without private state of its own, and with it."""
AWAY = 5
"""The round of a client's third visit: it missed two."""


def check_client_rule(
    rule: type[ClientRule] | str, extra: Mapping[str, Tensor] | None = None, **fields: object
) -> None:
    """Check that a client rule keeps its contract, as `ClientRule` says.

    A client follows it for three rounds, of which it misses some, with ``simclr`` and ``byol``.

    Parameters
    ----------
    rule : type[ClientRule] | str
        Its class, the name that it is registered by, or its dotted path.
    extra : Mapping[str, Tensor] | None (default: None)
        What the strategy sends it in the first round, by the rule's own names. None for nothing, or
        if the rule refuses that, for zeros like what it sends.
    **fields : object
        Its numbers that are not to have their defaults.

    Raises
    ------
    AssertionError
        It does not; the message says what, and where it can be seen.
    ValueError
        There is no such rule, or a number of it is wrong.

    Examples
    --------
    >>> from fedssl.testing import check_client_rule
    >>> check_client_rule("proximal", mu=0.5)
    """
    plugin = find_plugin(CLIENT_RULES, rule, fields)
    check_documented(plugin)
    config = CLIENT_RULES.read(plugin.section)
    assert isinstance(config, ClientRuleConfig)
    check_section(config, f"client rule {plugin.name}")
    instructions = Instructions(rules=(config,))
    again = Instructions.from_config(instructions.to_config())
    require(again == instructions, f"client rule {plugin.name}: is another one after a message")
    for objective in OBJECTIVES:
        for precision in ("fp32", "bf16"):
            blueprint = IMAGES.blueprint(
                objective={"name": objective}, client={"precision": precision}
            )
            where = f"client rule {plugin.name}, with {objective} in {precision}"
            _Check(where, build_rule(config), instructions, blueprint, extra).run()


class _Check:
    """A rule that is tried with one model."""

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
        self.parts = model_parts(blueprint.build())
        self.received = self.clients.initial
        self.extra = self._first_extra(extra)

    def run(self) -> None:
        """Let a client follow it, and look at all that comes of it."""
        with unchanged(self.received, self.where, "the received model"), nothing_drawn(self.where):
            first = self._train(self.clients, self.received, {}, 1, self.extra)
        again = self._train(self.clients, self.received, {}, 1, self.extra)
        self._same(first, again, "gives other bits for the same client and round")
        self._check_sent(first)
        self._check_memory(first)
        self._check_measuring(first)
        sent = self._own(first.extra)
        # Another client in between: nothing of one may be left for the next.
        self._train(self.clients, self.received, {}, 2, sent, client=1)
        second = self._train(self.clients, first.state, first.private, 2, sent)
        resumed = self._train(
            Clients(IMAGES, self.blueprint),
            through_file(first.state),
            through_file(first.private),
            2,
            sent,
        )
        self._same(second, resumed, "a resumed client ends elsewhere: is it all in `remember`?")
        third = self._train(
            self.clients, second.state, second.private, AWAY, self._own(second.extra)
        )
        self._check_sent(third)
        self._check_replay(first)

    def _first_extra(self, given: Mapping[str, Tensor] | None) -> State:
        if given is not None:
            return dict(given)
        try:
            self._update(self.clients, self.received, {}, 1, {})
        except ValueError:
            like = self.rule.tensors_sent(self.received, self.parts)
            return {name: torch.zeros(t.shape, dtype=t.dtype) for name, t in like.items()}
        return {}

    def _update(
        self,
        clients: Clients,
        received: Mapping[str, Tensor],
        private: Mapping[str, Tensor],
        round: int,
        extra: Mapping[str, Tensor],
        client: int = 0,
    ) -> LocalUpdate:
        return clients.train(
            received,
            private,
            client=client,
            round=round,
            instructions=self.instructions,
            extra={f"{self.name}/{name}": tensor for name, tensor in extra.items()},
        )

    def _train(
        self,
        clients: Clients,
        received: Mapping[str, Tensor],
        private: Mapping[str, Tensor],
        round: int,
        extra: Mapping[str, Tensor],
        client: int = 0,
    ) -> LocalUpdate:
        visit = "the first visit" if not private else f"a visit in round {round}"
        try:
            return self._update(clients, received, private, round, extra, client)
        except Exception as error:
            raise AssertionError(
                f"{self.where}: {visit} fails with {type(error).__name__}: {error}"
            ) from error

    def _own(self, extra: Mapping[str, Tensor]) -> State:
        return of_rule(self.name, extra)

    def _same(self, one: LocalUpdate, other: LocalUpdate, what: str) -> None:
        for first, second in (
            (one.state, other.state),
            (one.private, other.private),
            (one.extra, other.extra),
        ):
            require_same(first, second, f"{self.where}: {what}")
        require(one.metrics == other.metrics, f"{self.where}: {what}: see its metrics")

    def _check_sent(self, update: LocalUpdate) -> None:
        """Check what it reports; that it sends what it declares is checked with each update."""
        declared = self.rule.metrics_sent(self.received, self.parts)
        for name, metric in declared.items():
            for value in _numbers(update.metrics, f"{self.name}/{name}"):
                require(
                    isinstance(value, (int, float)) and metric.least <= value <= metric.most,
                    f"{self.where}: its metric {name} is {value}, and it declares "
                    f"{metric.least:g} to {metric.most:g}: the server would refuse it",
                )
        broken = first_not_finite(update.extra)
        require(broken is None, f"{self.where}: sends {broken}, which is infinite or NaN")

    def _check_memory(self, update: LocalUpdate) -> None:
        memory = ClientMemory.from_private(update.private)
        kept = dict(memory.rules.get(self.name, {})) if memory else {}
        again = ClientMemory.from_private(through_file(update.private))
        found = dict(again.rules.get(self.name, {})) if again else {}
        require_same(kept, found, f"{self.where}: what it remembers is another after a file")
        broken = first_not_finite(kept)
        require(broken is None, f"{self.where}: remembers {broken}, which is infinite or NaN")

    def _check_measuring(self, update: LocalUpdate) -> None:
        """Check `only_measures`: a replay takes such a rule for none."""
        if not self.rule.only_measures:
            return
        plain = self.clients.train(self.received, {})
        require_same(
            plain.state,
            update.state,
            f"{self.where}: says that it only_measures, and clients train otherwise with it",
        )

    def _check_replay(self, update: LocalUpdate) -> None:
        """Have it remember an update in which it was not at work."""
        plain = self.clients.train(self.received, {})
        trained = frozenset(self.received) & {
            name for name, p in self.blueprint.build().named_parameters() if p.requires_grad
        }
        seen = _visit(self.received, trained, self.parts, self.extra, self.name)
        rules = self.instructions.build_rules()
        try:
            found = remembered_by(rules, seen, self.received, plain.state, plain.trained.steps)
        except Exception as error:
            raise AssertionError(
                f"{self.where}: remember fails with {type(error).__name__} where neither start nor "
                f"begin was called, as in a replay: {error}"
            ) from error
        memory = ClientMemory.from_private(update.private)
        shapes = _shapes(memory.rules.get(self.name, {}) if memory else {})
        require(
            _shapes(found.get(self.name, {})) == shapes,
            f"{self.where}: remembers other tensors where it was not at work, as in a replay",
        )


def _visit(
    received: State, trained: frozenset[str], parts: ModelParts, extra: State, name: str
) -> Visit:
    return Visit(
        round=1,
        received=clone(received),
        sent=frozenset(received),
        trained=trained,
        parts=parts,
        extra={f"{name}/{key}": tensor for key, tensor in extra.items()},
        momentum=0.9,
        lr=0.02,
    )


def _shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}


def _numbers(metrics: Metrics, name: str) -> list[float]:
    value = metrics[name]
    return value if isinstance(value, list) else [value]
