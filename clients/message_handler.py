"""Reply to the server's messages on a device, by the installed client app."""

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

LEARNING_KEY, RUN_KEY, VERSIONS_KEY = "learning", "run", "versions"
"""Keys of a run's config: the learning config, the run's name, which is the same after a restart of
the server, and the versions of the server's packages."""

CHECK_ONLY = "was only checked"
"""The start of the error that `fedssl join --check` sends; the server does not count it."""


class JoinError(RuntimeError):
    """A device cannot take part."""


class MessageHandler:
    """Replies to the server's messages by the installed client app.

    Parameters
    ----------
    device : Device
        The device and its examples.
    states : PrivateStates
        The store of the client's private states.
    on_message : Callable[[str], None]
        Called with a line of progress for each round.
    """

    def __init__(self, device: Device, states: PrivateStates, on_message: Callable[[str], None]):
        self._device = device
        self._states = states
        self._on_message = on_message
        self._app = make_client_app(
            lambda context: device.runtime(_read_text(context, LEARNING_KEY)), device.allowed
        )

    def answer(self, task: ClientTask) -> None:
        """Reply to one message; where that fails, reply with the reason."""
        try:
            check_version(task)
            reply = self._run_app(task.message, task.context, self._app)
        # Also a SystemExit: an exception in training ends this round, not the process.
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
        run, server_round = _read_text(context, RUN_KEY), read_round(config)
        last_merged = _read_last_merged(config, server_round)
        private = self._states.load(run, last_merged + 1)
        context.state = RecordDict({PRIVATE: to_record(private)} if private else {})
        reply = app(message, context)
        if PRIVATE in context.state:
            state = to_state(arrays_of(context.state, PRIVATE))
            self._states.save(run, server_round, state, before=last_merged + 1)
        metrics = metrics_of(reply.content)
        self._on_message(
            f"round {server_round}: {metrics['num-examples']} examples, loss "
            f"{metrics['train-loss']:.4f}, {metrics['seconds']:.1f} s"
        )
        return reply


def check_version(task: ClientTask) -> None:
    """Check that the server has the version of fedssl that is installed here.

    Raises
    ------
    JoinError
        The server has another version.
    """
    installed = version("fedssl")
    if (task.run.fab_id, task.run.fab_version) != ("fedssl/fedssl", installed):
        raise JoinError(
            f"the server runs {task.run.fab_id} {task.run.fab_version}, this client has fedssl "
            f"{installed}; install the same on both"
        )


def _read_last_merged(config: ConfigRecord, server_round: int) -> int:
    """Return the last round, before this one, in which this client's reply was merged."""
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
