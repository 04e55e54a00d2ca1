"""Answer the messages of a server's run on a device, by the client that is installed here."""

from collections.abc import Callable
from importlib.metadata import version

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from clients.client_app import PARTITION, PRIVATE, make_client_app, read_round
from clients.device import Device
from clients.flower_adapter.runtime_api import ClientTask
from clients.private_states import PrivateStates
from strategies.messages import (
    LAST_COUNTED,
    arrays_of,
    config_of,
    metrics_of,
    to_record,
    to_state,
)

LEARNING, RUN, VERSIONS = "learning", "run", "versions"
"""Keys of a run's config: what a device is to learn, the name that outlives the server, and what
the server has installed."""

CHECKED = "was only checked"
"""So begins what `fedssl join --check` answers the server, which tells nothing of the run."""


class JoinError(RuntimeError):
    """A device cannot take part."""


class MessageHandler:
    """Answers the server's messages by the client app that is installed here.

    Parameters
    ----------
    device : Device
        Its examples.
    states : PrivateStates
        What it keeps from round to round.
    on_message : Callable[[str], None]
        Called with a line on each round.
    """

    def __init__(self, device: Device, states: PrivateStates, on_message: Callable[[str], None]):
        self._device = device
        self._states = states
        self._on_message = on_message
        self._app = make_client_app(
            lambda context: device.runtime(_read_text(context, LEARNING)), device.allowed
        )

    def answer(self, task: ClientTask) -> None:
        """Answer one message, if only by why it cannot be."""
        try:
            check_version(task)
            reply = self._run_app(task.message, task.context, self._app)
        # A SystemExit, too: what training raises ends this round for this device, not its service.
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            self._on_message(f"this client takes no part: {reason}")
            task.refuse(reason)
        else:
            task.reply(reply)

    def _run_app(self, message: Message, context: Context, app: ClientApp) -> Message:
        context.node_config[PARTITION] = self._device.client
        if message.metadata.message_type != "train":
            return app(message, context)
        config = config_of(message.content)
        run, server_round = _read_text(context, RUN), read_round(config)
        last = _read_last_counted(config, server_round)
        kept = self._states.before(run, last + 1)
        context.state = RecordDict({PRIVATE: to_record(kept)} if kept else {})
        reply = app(message, context)
        if PRIVATE in context.state:
            state = to_state(arrays_of(context.state, PRIVATE))
            self._states.keep(run, server_round, state, before=last + 1)
        metrics = metrics_of(reply.content)
        self._on_message(
            f"round {server_round}: {metrics['num-examples']} examples, loss "
            f"{metrics['train-loss']:.4f}, {metrics['seconds']:.1f} s"
        )
        return reply


def check_version(task: ClientTask) -> None:
    """See that the server has the fedssl that is installed here.

    Raises
    ------
    JoinError
        It has another.
    """
    installed = version("fedssl")
    if (task.run.fab_id, task.run.fab_version) != ("fedssl/fedssl", installed):
        raise JoinError(
            f"the server runs {task.run.fab_id} {task.run.fab_version}, this client has fedssl "
            f"{installed}; install the same on both"
        )


def _read_last_counted(config: ConfigRecord, server_round: int) -> int:
    """Return the last round, below this one, in which this client's reply counted."""
    last = config.get(LAST_COUNTED, server_round - 1)
    if not isinstance(last, int) or not 0 <= last < server_round:
        raise JoinError(
            f"the server's message has {LAST_COUNTED} = {last!r} in round {server_round}"
        )
    return last


def _read_text(context: Context, key: str) -> str:
    value = context.run_config.get(key)
    if not isinstance(value, str) or not value:
        raise JoinError(f"the server's run has no {key}: was it begun by fedssl serve?")
    return value
