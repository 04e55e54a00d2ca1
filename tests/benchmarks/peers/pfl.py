"""Apple's pfl-research, the fastest simulation of federated learning on one machine that we know.

Its package declares Python before 3.12, NumPy 1 and PyTorch 2.0. Version 0.2.0 runs with NumPy 2.4
and PyTorch 2.14, so it is installed without what it declares; Python 3.11 it needs.
"""

import importlib.util
import multiprocessing
import time

import torch
from torch import Tensor, nn

from fedssl.modalities.image.encoders import build_encoder
from simulations.bench.timing import peak_mb, resident_mb
from tests.benchmarks.peers import accounting

NEEDED = (
    "pfl",
    "dp_accounting",
    "prv_accountant",
    "absl",
    "attr",
    "mpmath",
    "multiprocess",
    "scipy",
)
"""The modules that pfl imports, for which it is not enough that PyTorch is there."""

INSTALL = (
    "pip install absl-py attrs mpmath multiprocess scipy && "
    "pip install --no-deps pfl==0.2.0 dp-accounting==0.4.4 prv-accountant==0.2.0"
)


def missing() -> str | None:
    """Return why pfl cannot be measured here, and how to change it; None where it can."""
    for module in NEEDED:
        if importlib.util.find_spec(module) is None:
            return f"No module named '{module}'; {INSTALL}"
    return accounting.missing()


def client_round(model: str, clients: int, rounds: int) -> tuple[float, float]:
    """Measure what pfl itself costs: federated averaging by clients that do not train.

    Its `SimulatedBackend` in this process, the fastest way on one machine, with a thread. A client
    has an image, takes zero local steps, and gives its model's difference. Models are averaged
    with equal weights, which saves a pass over them; BatchNorm's statistics, some 10,000 numbers,
    are not among what pfl averages. A round that warms up is left out.

    Parameters
    ----------
    model : str
        An encoder for 32×32 images; see `fedssl.modalities.image.encoders.build_encoder`.
    clients : int
        The size of the cohort.
    rounds : int
        How many to measure.

    Returns
    -------
    tuple[float, float]
        CPU seconds of a client in a round; and the process's peak memory in MB, above what the
        imports take.
    """
    # In a process of another name, pfl takes itself to be in a worker of a DataLoader's.
    multiprocessing.current_process().name = "MainProcess"
    from pfl.aggregate.simulate import SimulatedBackend
    from pfl.algorithm.base import NNAlgorithmParams
    from pfl.algorithm.federated_averaging import FederatedAveraging
    from pfl.data.dataset import Dataset
    from pfl.data.federated_dataset import FederatedDataset
    from pfl.data.sampling import get_user_sampler
    from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams
    from pfl.model.pytorch import PyTorchModel

    torch.set_num_threads(1)
    imported = resident_mb() or 0.0
    network = _Network(build_encoder(model, 32))
    users = list(range(clients))
    data = FederatedDataset(
        make_dataset_fn=lambda user: Dataset([torch.zeros(1, 3, 32, 32)], user_id=str(user)),
        user_sampler=get_user_sampler("minimize_reuse", users),
    )
    warmed_up = _AfterFirstRound()
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=1 + rounds,
            evaluation_frequency=1 + rounds,
            train_cohort_size=clients,
            val_cohort_size=0,
        ),
        SimulatedBackend(training_data=data, val_data=data),
        PyTorchModel(
            network,
            local_optimizer_create=torch.optim.SGD,
            central_optimizer=torch.optim.SGD(network.parameters(), lr=1.0),
        ),
        NNTrainHyperParams(
            local_num_epochs=None, local_num_steps=0, local_learning_rate=0.1, local_batch_size=1
        ),
        NNEvalHyperParams(local_batch_size=1),
        callbacks=[warmed_up],
        send_metrics_to_platform=False,
    )
    seconds = time.process_time() - warmed_up.cpu_seconds
    return seconds / (clients * rounds), (peak_mb() or 0.0) - imported


class _Network(nn.Module):
    """An encoder with the two methods that pfl asks a model for."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def loss(self, images: Tensor) -> Tensor:
        raise AssertionError("no step is taken")

    def metrics(self, images: Tensor) -> dict[str, object]:
        return {}


class _AfterFirstRound:
    """Notes the CPU time after the first round; has the methods of a TrainingProcessCallback."""

    cpu_seconds = 0.0

    def on_train_begin(self, *, model: object) -> object:
        from pfl.metrics import Metrics

        return Metrics()

    def after_central_iteration(
        self, aggregate_metrics: object, model: object, *, central_iteration: int
    ) -> tuple[bool, object]:
        from pfl.metrics import Metrics

        if central_iteration == 0:
            self.cpu_seconds = time.process_time()
        return False, Metrics()

    def on_train_end(self, *, model: object) -> None:
        pass
