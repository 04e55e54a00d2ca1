"""The Flower ClientApp: a message with the global model in, one local update, a message out."""

from collections.abc import Callable, Sequence

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from clients import flower_context
from clients.runtime import ClientRuntime
from fedssl.base.printable import printable
from fedssl.base.tracing import span
from fedssl.training.instructions import Instructions
from strategies.divergence import divergence
from strategies.messages import (
    ARRAYS,
    CHANCE_LOSS,
    DIVERGENCE,
    EXTRA,
    METRICS,
    STEPS,
    arrays_of,
    config_of,
    extra_of,
    read_instructions,
    to_record,
    to_state,
)

PARTITION = "partition-id"
"""The key of the client's number in the node's config and in a reply to a query."""
PRIVATE = "private"
"""The key of the client's private state in its Context, which Flower keeps on the client."""


def make_client_app(
    find_runtime: Callable[[Context], ClientRuntime], allowed: Sequence[str] | None = None
) -> ClientApp:
    """Make the ClientApp.

    Parameters
    ----------
    find_runtime : Callable[[Context], ClientRuntime]
        Returns the runtime of the context's run. The context's ``node_config`` names the client by
        Flower's usual ``partition-id``.
    allowed : Sequence[str] | None (default: None)
        The modules outside this package from which client rules may come; None for any.

    Returns
    -------
    ClientApp
        The app. Its train function replies with the trained model, the metrics ``num-examples``,
        ``train-loss``, ``chance-loss``, ``num-steps`` and ``seconds``, and the metrics and tensors
        of client rules. Where the message's config sets ``divergence``, it also replies with that
        metric: δ of each floating tensor, in the model's order. Its query function replies with
        ``partition-id`` and ``num-examples``.

    Examples
    --------
    >>> from clients.flower_context import find_runtime
    >>> app = make_client_app(find_runtime, allowed=["my_rules"])
    >>> type(app).__name__
    'ClientApp'
    """
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        config = config_of(message.content)
        instructions = read_instructions(config)
        check_rules(instructions, allowed)
        client = read_client(context)
        server_round = read_round(config)
        with span("client", client=client, round=server_round):
            runtime = find_runtime(context)
            received = to_state(arrays_of(message.content))
            update = runtime.worker().run(
                *runtime.examples_of(client),
                received,
                to_state(arrays_of(context.state, PRIVATE)) if PRIVATE in context.state else {},
                client=client,
                server_round=server_round,
                instructions=instructions,
                extra=to_state(extra_of(message.content)),
            )
            if update.private_state:
                context.state[PRIVATE] = to_record(update.private_state)
            metrics = MetricRecord(
                {
                    "num-examples": update.example_count,
                    "train-loss": update.stats.loss,
                    CHANCE_LOSS: update.stats.chance_loss,
                    STEPS: update.stats.steps,
                    "seconds": update.seconds,
                }
            )
            if config.get(DIVERGENCE):
                trained = {name: update.state[name] for name in received}
                metrics[DIVERGENCE] = list(divergence(received, trained).values())
            metrics.update(update.metrics)
            withheld = instructions.transmission.absent_from_reply
            upload = {n: t for n, t in update.state.items() if n not in withheld}
            content = RecordDict({ARRAYS: to_record(upload), METRICS: metrics})
            if update.extra:
                content[EXTRA] = to_record(update.extra)
            return Message(content, reply_to=message)

    @app.query()
    def query(message: Message, context: Context) -> Message:
        client = read_client(context)
        count = len(find_runtime(context).partition.indices(client))
        metrics = MetricRecord({PARTITION: client, "num-examples": count})
        return Message(RecordDict({METRICS: metrics}), reply_to=message)

    return app


def check_rules(instructions: Instructions, allowed: Sequence[str] | None) -> None:
    """Check that every client rule in a message is from fedssl or from an allowed module.

    Raises
    ------
    ValueError
        A rule is from another module; nothing was imported.
    """
    if allowed is None:
        return
    for rule in instructions.rules:
        module = rule.name.rpartition(".")[0]
        if module and module not in allowed:
            raise ValueError(
                f"the strategy has a client rule {printable(rule.name, 100)}, which this client "
                f"has not allowed: if you trust it, join with --allow {printable(module, 100)}"
            )


def read_client(context: Context) -> int:
    """Return the number of a context's client."""
    return int(context.node_config[PARTITION])


def read_round(config: ConfigRecord) -> int:
    """Return the round, from 1, that a message belongs to."""
    server_round = config["server-round"]
    assert isinstance(server_round, int)
    return server_round


app = make_client_app(flower_context.find_runtime)
"""The app that Flower runs where no `fedssl join` handles the messages."""
