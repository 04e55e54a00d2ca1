"""Runs over images that are not in memory."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fedssl.data import Dataset, Splits
from fedssl.evaluation import gather
from fedssl.modalities.image.data.on_demand import Files, Fitted
from simulations import run
from simulations.progress.display import QuietDisplay
from simulations.record.client_result import ClientResult
from simulations.settings.experiment import Experiment
from simulations.setup.prepare import prepare
from tests.tools.runs import same_result

Small = Callable[..., Experiment]

pytestmark = pytest.mark.usefixtures("without_report")


@pytest.mark.slow
def test_images_on_demand_give_the_same_bits(small: Small, tmp_path: Path, photos: Path) -> None:
    for in_memory in ("true", "false"):
        data = f"data={{name: folder, train: {photos}, size: 16, in_memory: {in_memory}}}"
        run(small("rounds=2", data, "evaluation.recalibrate_bn=true"), tmp_path / in_memory)
    assert same_result(tmp_path / "true", tmp_path / "false")


def test_a_client_whose_file_cannot_be_read_fails_and_says_which(
    small: Small, tmp_path: Path, photos: Path
) -> None:
    data = f"data={{name: folder, train: {photos}, size: 16, in_memory: false}}"
    # The probe, too, looks at training images: at one only, and not at the broken one.
    experiment = small("rounds=1", "participation=1", data, "evaluation.limit.train=1")
    splits = prepare(experiment).splits
    assert isinstance(splits.train.examples, Fitted)
    files = splits.train.examples.source
    assert isinstance(files, Files)
    probed = gather(splits, experiment.evaluation).train.fetch()[0]
    row = max(i for i, image in enumerate(splits.train.fetch()) if not torch.equal(image, probed))
    broken = files.paths[row]
    # Its header is whole, and more is not looked at before the run.
    Path(broken).write_bytes(Path(broken).read_bytes()[:60])
    seen: list[ClientResult] = []

    class Notes(QuietDisplay):
        def on_client_result(self, result: ClientResult) -> None:
            seen.append(result)

    metrics = run(experiment, tmp_path / "run", display=Notes()).metrics
    (error,) = [answer.error for answer in seen if answer.error is not None]
    assert f"{broken} cannot be read as an image" in error
    assert len(metrics[1]["failed"]) == 1


class Noted:
    """Grey images of one value each, and which of them were fetched."""

    def __init__(self, count: int):
        self.shape = (count, 1, 16, 16)
        self.fetched: list[int] = []

    def __getitem__(self, rows: Tensor) -> Tensor:
        self.fetched += rows.tolist()
        return (rows % 256).to(torch.uint8)[:, None, None, None].expand(-1, *self.shape[1:])


def test_of_many_clients_only_the_cohorts_images_are_fetched_and_the_probes_once(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, test = Noted(60_000), Noted(500)
    labels = [torch.arange(images.shape[0]) % 3 for images in (train, test)]
    sets = [Dataset(i, of, ("a", "b", "c")) for i, of in zip((train, test), labels, strict=True)]
    monkeypatch.setitem(globals(), "noted", lambda: Splits(*sets))
    experiment = small(
        f"data={{name: {__name__}.noted}}",
        "partition={name: iid, clients: 20000}",
        "participation=0.0002",
        "evaluation.limit={train: 30, test: 20}",
    )
    rounds = run(experiment, tmp_path / "run").metrics
    parts = prepare(experiment).partition
    cohorts = [client for row in rounds for client in row["cohort"]]
    assert len(cohorts) == 12
    trained = [row for client in cohorts for row in parts.indices(client).tolist()]
    probed = gather(Splits(*sets), experiment.evaluation)
    # Row 0, too, is looked at before the run begins, by each of the two that prepared it.
    again = train.fetched[-30:]
    assert len(probed.train) == len(again) == 30
    assert sorted(train.fetched) == sorted([*trained, 0, 0, *again, *again])
    assert len(test.fetched) == 2 + 20 + 20
