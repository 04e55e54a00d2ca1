import pytest

from simulations.bench import precision


def test_a_cpu_without_bf16_and_a_machine_without_a_gpu_say_so() -> None:
    for figure in [*precision.on_cpu(2, times=1), *precision.on_gpu()]:
        assert (figure.value is None) == figure.note.startswith("not measured: ")
        assert figure.value is not None or figure.met is None


def test_what_the_gpu_is_measured_by_works_on_any_device() -> None:
    rate, operations = precision.gpu_rate("cpu", "convnet", count=8, batch_size=4)
    assert rate > 0
    # Two per weight and place: conv 3→32 at 32×32, 32→64 at 16×16, 64→64 at 8×8, 64→128 at 4×4;
    # the backward pass takes twice that, but for the examples, which need no gradient.
    forward = [
        2 * 9 * a * b * s * s for a, b, s in [(3, 32, 32), (32, 64, 16), (64, 64, 8), (64, 128, 4)]
    ]
    heads = 2 * (128 * 256 + 256 * 128)
    assert operations == pytest.approx(3 * (sum(forward) + heads) - forward[0], rel=0.02)
