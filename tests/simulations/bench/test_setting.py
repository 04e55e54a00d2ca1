import torch

from simulations.bench.setting import experiment, idle_server, images


def test_idle_clients_leave_the_model_as_it_is() -> None:
    with idle_server(experiment(), 3) as server:
        before = {name: t.clone() for name, t in server.state().items()}
        answers = server.train(1, [0, 1, 2])
        assert [answer.error for answer in answers] == [None] * 3
        assert all(torch.allclose(t, before[n]) for n, t in server.state().items())


def test_examples_are_random_of_any_side() -> None:
    shown = images(4, side=16)
    assert shown.shape == (4, 3, 16, 16)
    assert shown.dtype == torch.uint8
    assert shown.float().std() > 20
