import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from fedssl.base.tracing import record_spans, span

CPU = torch.device("cpu")


def test_nothing_is_noted_while_nobody_records() -> None:
    assert span("before") is span("another", round=1)
    with span("before"), record_spans(CPU) as timeline:
        pass
    with span("after"):
        pass
    assert timeline.spans == []


def test_a_span_tells_name_thread_time_and_arguments() -> None:
    begin = time.perf_counter_ns()
    with record_spans(CPU) as timeline, span("client", client=3, round=1), span("step"):
        pass
    end = time.perf_counter_ns()
    inner, outer = timeline.spans
    assert (inner.name, outer.name) == ("step", "client")
    assert (inner.args, outer.args) == ({}, {"client": 3, "round": 1})
    assert inner.thread == outer.thread == threading.get_ident()
    assert begin <= outer.begin <= inner.begin <= inner.end <= outer.end <= end


def test_no_span_of_any_thread_is_lost_even_of_a_pool_that_was_there_before() -> None:
    threads, each = 4, 2000
    started = threading.Barrier(threads)

    def work(_: int) -> None:
        started.wait()
        for number in range(each):
            with span("step", number=number):
                pass

    with ThreadPoolExecutor(threads, thread_name_prefix="client") as pool:
        list(pool.map(lambda _: started.wait(), range(threads)))
        with record_spans(CPU) as timeline:
            list(pool.map(work, range(threads)))
    assert sorted(timeline.threads.values()) == [f"client_{n}" for n in range(threads)]
    for thread in timeline.threads:
        own = [s.args["number"] for s in timeline.spans if s.thread == thread]
        assert own == list(range(each))


def test_what_fails_is_noted_and_the_recording_ends() -> None:
    with pytest.raises(KeyError), record_spans(CPU) as timeline, span("step"):
        raise KeyError
    assert [s.name for s in timeline.spans] == ["step"]
    with record_spans(CPU) as later:
        pass
    assert later.spans == []


def test_a_second_recording_is_refused_and_leaves_the_first() -> None:
    with record_spans(CPU) as timeline:
        with pytest.raises(RuntimeError, match="already active"), record_spans(CPU):
            pass
        with span("step"):
            pass
    assert len(timeline.spans) == 1


@pytest.mark.parametrize(("device", "times"), [("cpu", 0), ("cuda", 2)])
def test_a_gpu_is_waited_for_where_a_span_begins_and_ends(
    monkeypatch: pytest.MonkeyPatch, device: str, times: int
) -> None:
    waited: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    with record_spans(torch.device(device)):
        assert waited == []
        with span("step"):
            assert len(waited) == times // 2
    assert waited == [torch.device(device)] * times
