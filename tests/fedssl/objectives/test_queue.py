"""The queue that a client keeps."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedssl.objectives.queue import Queue
from tests.tools.objectives import normal


@given(st.integers(1, 7), st.lists(st.integers(1, 9), max_size=6))
@settings(deadline=None, max_examples=60)
def test_it_holds_the_newest_vectors(size: int, batches: list[int]) -> None:
    queue, all_put = Queue(size, 2), normal(0, 2)
    for seed, count in enumerate(batches):
        vectors = normal(count, 2, seed=seed)
        queue.push(vectors)
        all_put = torch.cat([all_put, vectors])
    expected = all_put[-size:]
    held = queue.filled()
    assert len(held) == min(size, len(all_put))
    assert sorted(held.tolist()) == sorted(expected.tolist())


def test_it_starts_empty_and_can_be_emptied() -> None:
    queue = Queue(4, 2)
    assert queue.filled().shape == (0, 2)
    queue.push(normal(3, 2))
    queue.clear()
    assert queue.filled().shape == (0, 2)
    assert not queue.entries.any()


def test_it_goes_on_from_its_state() -> None:
    queue, other = Queue(4, 2), Queue(4, 2)
    queue.push(normal(6, 2))
    other.load_state_dict(queue.state_dict())
    for each in (queue, other):
        each.push(normal(1, 2, seed=1))
    assert torch.equal(queue.filled(), other.filled())
