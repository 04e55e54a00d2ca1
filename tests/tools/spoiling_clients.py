"""Clients that answer wrongly in some rounds, here and as `fedssl join` in a process of its own."""

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

import clients.message_handler
from clients.client_app import make_client_app, read_client, read_round
from clients.runtime import ClientRuntime
from simulations.cli import app as fedssl
from strategies.messages import arrays_of, config_of, metrics_of, to_record, to_state


def make_spoiling_app(
    find: Callable[[Context], ClientRuntime], allowed: Sequence[str] | None = None
) -> ClientApp:
    """Make the ClientApp, of which clients 0 to 2 spoil what they answer in one round each."""
    honest = make_client_app(find, allowed)

    def answer(message: Message, context: Context) -> Message:
        reply = honest(message, context)
        if message.metadata.message_type == "train":
            spoil(reply, (read_client(context), read_round(config_of(message.content))))
        return reply

    return cast(ClientApp, answer)


def spoil(reply: Message, who: tuple[int, int]) -> None:
    """Change a client's answer in a round."""
    if who == (0, 1):
        state = to_state(arrays_of(reply.content))
        spoilt = {n: t * math.nan if t.is_floating_point() else t for n, t in state.items()}
        reply.content["arrays"] = to_record(spoilt)
    elif who == (1, 2):
        metrics_of(reply.content)["num-examples"] = 10**18
    elif who == (2, 3):
        raise SystemExit(3)
    elif who == (0, 3):
        arrays_of(reply.content)["huge"] = next(
            iter(to_record({"a": torch.rand(3_000_000)}).values())
        )


def app() -> None:
    """Run the command `fedssl` with such clients."""
    setattr(clients.message_handler, "make_client_app", make_spoiling_app)  # noqa: B010
    fedssl()
