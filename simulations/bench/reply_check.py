"""The cost of the server's check of a reply, compared with copying and adding up the model."""

import torch
from flwr.app import ConfigRecord, Message, MetricRecord, RecordDict

from clients.flower_adapter.messages import become_server, number_message
from fedssl.base.allocator import keep_freed_memory
from fedssl.evaluation.parallel import one_thread
from fedssl.model_state import clone, tensor_roles
from simulations.bench.measurement import Measurement, Target
from simulations.bench.setting import encoder
from simulations.bench.timing import compare, cpu_seconds
from simulations.server.reply_check import ReplyCheck
from strategies import FedAvg
from strategies.messages import ARRAYS, CHANCE_LOSS, CONFIG, METRICS, STEPS, to_record


def a_reply(replies: int, times: int) -> list[Measurement]:
    """Measure the check of ResNet-18 replies that cross by reference, in CPU milliseconds each."""
    keep_freed_memory()
    become_server()
    model = encoder("resnet18")
    sent = clone(dict(model.state_dict()))
    # Too large together for any cache.
    models = [clone(sent) for _ in range(4)]
    floats = [[t for t in model.values() if t.is_floating_point()] for model in models]
    own, sums = ([t.clone() for t in floats[0]] for _ in range(2))
    check = ReplyCheck(FedAvg(), FedAvg.Config(), tensor_roles(model), lambda _: 1)
    config = ConfigRecord({"server-round": 1})
    message = Message(RecordDict({ARRAYS: to_record(sent), CONFIG: config}), 1, "train")
    number_message(message, "1")

    def checking() -> float:
        made = [_reply(message, models[number % len(models)]) for number in range(replies)]

        def work() -> None:
            for reply in made:
                _, answer = check(0, message, reply)
                assert answer.error is None

        return 1000 * cpu_seconds(work) / replies

    def copying_and_adding() -> float:
        def work() -> None:
            for number in range(replies):
                torch._foreach_copy_(own, floats[number % len(floats)])
                torch._foreach_add_(sums, own, alpha=0.5)

        return 1000 * cpu_seconds(work) / replies

    def look() -> float:
        def work() -> None:
            for number in range(replies):
                torch.stack(torch._foreach_norm(floats[number % len(floats)])).isfinite().tolist()  # noqa: SLF001

        return 1000 * cpu_seconds(work) / replies

    note = "copying in and adding up alone"
    with one_thread():
        return [
            compare(
                "the check of a reply, resnet18",
                "CPU-ms",
                checking,
                copying_and_adding,
                times=times,
                note=note,
            ),
            compare(
                "the same, net of the look for infinite weights that clients need not take",
                "CPU-ms",
                lambda: checking() - look(),
                copying_and_adding,
                times=times,
                target=Target(0.2, at_least=False, of_ratio=True),
                note=note,
            ),
        ]


def _reply(message: Message, model: dict[str, torch.Tensor]) -> Message:
    metrics = MetricRecord(
        {"num-examples": 1, "train-loss": 1.0, CHANCE_LOSS: 2.0, STEPS: 1, "seconds": 0.1}
    )
    return Message(RecordDict({ARRAYS: to_record(model), METRICS: metrics}), reply_to=message)
