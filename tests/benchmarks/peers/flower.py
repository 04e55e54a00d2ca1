"""Flower's own simulation, on Ray, with clients written as its PyTorch tutorial writes them."""

import importlib.util
import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from flwr.supercore import telemetry
from torch import Tensor

from fedssl.modalities.image.encoders import build_encoder
from simulations.settings.experiment import load_experiment
from simulations.setup.prepare import prepare
from tests.benchmarks.peers import accounting, flower_simclr


def missing() -> str | None:
    """Return why Flower's simulation cannot be measured here; None where it can."""
    if importlib.util.find_spec("ray") is None:
        return "No module named 'ray'; pip install 'flwr[simulation]>=1.39,<1.40'"
    return accounting.missing()


def client_round(model: str, clients: int, rounds: int) -> float:
    """Measure what Flower's simulation itself costs: FedAvg by clients that do not train.

    A client builds the model, loads the weights that it got and sends them back. The CPU time is
    that of this process and all that it started, Ray's among them, from the end of a round that
    warms up to that of the last one.

    Parameters
    ----------
    model : str
        An encoder for 32×32 images; see `fedssl.modalities.image.encoders.build_encoder`.
    clients : int
        How many there are; all take part in each round.
    rounds : int
        How many to measure.

    Returns
    -------
    float
        CPU seconds of a client in a round.

    Raises
    ------
    RuntimeError
        A client failed.
    """
    _silence()
    strategy = Timed(fraction_train=1.0, cohort=clients, clients=clients)
    state = build_encoder(model, 32).state_dict()
    _simulate(_returning_app(model), strategy, state, clients, 1 + rounds)
    return (strategy.cpu_seconds[-1] - strategy.cpu_seconds[0]) / (clients * rounds)


def end_to_end(config: str, overrides: Iterable[str] = ()) -> tuple[float, float]:
    """Time a whole federated SimCLR experiment, without its evaluation.

    The mathematics, the partition, the images and the number of steps are those that
    `simulations.run` would have; the random numbers are not, and Flower draws its own cohorts.
    See `flower_simclr` for what a client does.

    Parameters
    ----------
    config : str
        The experiment's file.
    overrides : Iterable[str]
        See `load_experiment`.

    Returns
    -------
    tuple[float, float]
        Wall seconds: from the loading of the images until Ray is shut down; and from the begin of
        the first client's work to the end of the last round, so without Ray's start.

    Raises
    ------
    ConfigError
        The config cannot be used.
    ValueError
        It asks for what these clients do not do.
    RuntimeError
        A client failed.
    """
    _silence()
    begin = time.monotonic()
    prepared = prepare(load_experiment(config, overrides))
    flower_simclr.check(prepared)
    experiment, clients = prepared.experiment, prepared.partition.clients
    strategy = Timed(
        fraction_train=experiment.participation,
        cohort=max(1, round(experiment.participation * clients)),
        clients=clients,
    )
    state = prepared.blueprint.build().state_dict()
    with TemporaryDirectory() as folder:
        app = flower_simclr.make_client_app(prepared, Path(folder) / "images.npy")
        end = _simulate(app, strategy, state, clients, experiment.rounds)
    return end - begin, strategy.ended - strategy.began


class Timed(FedAvg):
    """FedAvg that keeps the clock, and stops at an error where Flower goes on without the client.

    Parameters
    ----------
    fraction_train : float
        The share of the clients that a round takes.
    cohort : int
        How many those are.
    clients : int
        How many there are.
    """

    def __init__(self, *, fraction_train: float, cohort: int, clients: int):
        super().__init__(
            fraction_train=fraction_train,
            fraction_evaluate=0.0,
            min_train_nodes=cohort,
            min_available_nodes=clients,
        )
        self.cpu_seconds: list[float] = []
        """Of the process tree, at the end of each round."""
        self.processes: Iterable[int] = []
        """Those that Ray started."""
        self.began = float("inf")
        """When the first client's work began, by the clock that a machine's processes share."""
        self.ended = float("nan")
        """When the last round's merging ended."""

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Merge a round's replies as FedAvg does, and note the times.

        Raises
        ------
        RuntimeError
            A client failed.
        """
        self.processes = accounting.tree_cpu_seconds().keys() - {os.getpid()}
        replies = list(replies)
        for reply in replies:
            if reply.has_error():
                raise RuntimeError(f"a client of Flower's simulation: {reply.error.reason}")
            began = reply.content.metric_records["metrics"]["began"]
            self.began = min(self.began, float(str(began)))
        merged = super().aggregate_train(server_round, replies)
        self.ended = time.monotonic()
        self.cpu_seconds.append(sum(accounting.tree_cpu_seconds().values()))
        return merged


def _returning_app(model: str) -> ClientApp:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        began = time.monotonic()
        network = build_encoder(model, 32)
        network.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
        arrays = ArrayRecord(network.state_dict())
        metrics = MetricRecord({"num-examples": 1, "began": began})
        return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

    return app


def _silence() -> None:
    """Let Flower and Ray tell nothing to anybody: no telemetry, and errors only on the screen."""
    os.environ.update(
        FLWR_TELEMETRY_ENABLED="0",
        RAY_USAGE_STATS_ENABLED="0",
        RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",  # Else Ray warns that this will be the default.
    )
    # Flower reads its variable once, when it is imported.
    telemetry.FLWR_TELEMETRY_ENABLED = "0"
    logging.getLogger("flwr").setLevel(logging.ERROR)


def _simulate(
    client_app: ClientApp,
    strategy: Timed,
    state: Mapping[str, Tensor],
    clients: int,
    rounds: int,
) -> float:
    """Run Flower's simulation on a Ray of its own, an actor and thread for each core.

    Returns
    -------
    float
        When Flower returned. Ray's processes end a little later; here they have.
    """
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        strategy.start(grid, ArrayRecord(dict(state)), num_rounds=rounds)

    try:
        run_simulation(
            server_app,
            client_app,
            num_supernodes=clients,
            backend_config={
                # Flower's default of two leaves a core idle in most of a client's work.
                "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
                # Else Ray attaches to any cluster that it finds on the machine.
                "init_args": {"address": "local", "log_to_driver": False, "logging_level": "ERROR"},
            },
        )
        return time.monotonic()
    finally:
        accounting.end(strategy.processes)
