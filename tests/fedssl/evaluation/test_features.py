"""Features of frozen encoders, and the same bits on any number of cores."""

import os
import threading

import pytest
import torch
from torch import Tensor

from fedssl.evaluation.features import extract
from fedssl.evaluation.parallel import map_chunks, one_thread
from fedssl.modalities.image.preparation import Normalisation, normalise
from tests.tools.evaluation import MEAN, PREPARATION, STD, Noisy, colors


def test_they_are_the_encoders_output_in_eval_mode() -> None:
    encoder, examples = Noisy(), colors(50).fetch()
    features = extract(encoder, examples, PREPARATION, batch_size=16)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        expected = encoder.eval()((examples / 255 - mean) / std)
    torch.testing.assert_close(features, expected)
    assert features.dtype == torch.float32
    assert not features.requires_grad


def test_one_constant_serves_all_channels() -> None:
    examples = colors(2).fetch()
    torch.testing.assert_close(normalise(examples, (0.5,), (0.2,)), (examples / 255 - 0.5) / 0.2)


def test_the_encoder_is_left_as_it_was() -> None:
    encoder = Noisy()
    encoder.layers[1].eval()
    modes = [m.training for m in encoder.modules()]
    state = {n: t.clone() for n, t in encoder.state_dict().items()}
    extract(encoder, colors(20).fetch(), PREPARATION)
    assert [m.training for m in encoder.modules()] == modes
    assert all(torch.equal(t, state[n]) for n, t in encoder.state_dict().items())


def test_the_mode_is_put_back_after_an_error() -> None:
    encoder = Noisy()
    with pytest.raises(RuntimeError):
        extract(encoder, torch.zeros(2, 5, 8, 8, dtype=torch.uint8), Normalisation((0.5,), (0.2,)))
    assert all(m.training for m in encoder.modules())


def test_the_number_of_cores_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, examples = Noisy(), colors(100).fetch()
    found = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        found.append(extract(encoder, examples, PREPARATION, batch_size=16))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_chunks_keep_their_order_and_run_in_one_thread_each() -> None:
    def work(rows: slice) -> Tensor:
        assert threading.current_thread() is not threading.main_thread()
        return torch.tensor([[rows.start, rows.stop, torch.get_num_threads()]])

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = map_chunks(work, 7, 3, torch.device("cpu")).tolist()
        assert found == [[0, 3, 1], [3, 6, 1], [6, 7, 1]]
        assert torch.get_num_threads() == 2
        assert new_threads_default() == 2
    finally:
        torch.set_num_threads(before)


def test_the_number_of_threads_is_put_back_after_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(KeyError), one_thread():
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def new_threads_default() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]
