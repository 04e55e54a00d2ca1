"""Convert the clients' private states between an engine and a checkpoint."""

from collections.abc import Mapping

from flwr.app import RecordDict

from clients.client_app import PRIVATE
from fedssl.model_state import State
from simulations.engines.engine import Engine
from strategies.messages import arrays_of, to_record, to_state


def get_client_states(engine: Engine) -> dict[int, State]:
    """Return the private state of each client that has one."""
    return {client: to_state(arrays_of(s, PRIVATE)) for client, s in engine.states.items()}


def set_client_states(engine: Engine, states: Mapping[int, State]) -> None:
    """Replace the private states of all clients by these."""
    engine.states = {
        client: RecordDict({PRIVATE: to_record(state)}) for client, state in states.items()
    }
