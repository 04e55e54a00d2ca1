"""What clients keep from round to round, between an engine and a checkpoint."""

from collections.abc import Mapping

from flwr.app import RecordDict

from clients.client_app import PRIVATE
from fedssl.model_state import State
from simulations.engines.engine import Engine
from strategies.messages import arrays_of, to_record, to_state


def kept_by_clients(engine: Engine) -> dict[int, State]:
    """Return the private state of each client that has one."""
    return {client: to_state(arrays_of(s, PRIVATE)) for client, s in engine.states.items()}


def give_to_clients(engine: Engine, states: Mapping[int, State]) -> None:
    """Let clients go on with these private states, and with no others."""
    engine.states = {
        client: RecordDict({PRIVATE: to_record(state)}) for client, state in states.items()
    }
