from collections.abc import Callable

import pytest

from simulations import ConfigError, Experiment
from simulations.setup.prepare import prepare

Small = Callable[..., Experiment]


@pytest.mark.parametrize("bound", ["client.threads=257", "engine.workers=1025", "data.size=2049"])
def test_numbers_that_no_machine_has_room_for_are_refused(small: Small, bound: str) -> None:
    with pytest.raises(ConfigError, match="must be less than or equal to"):
        small(bound)


def test_views_too_small_for_the_encoder_are_refused_before_any_work(small: Small) -> None:
    small_ones = "views=[{name: crop, last_view: 1}, {name: crop, side: 0.25, first_view: 2}]"
    message = r"views: view 2 has the shape \[3, 4, 4\], which convnet does not"
    with pytest.raises(ConfigError, match=message):
        prepare(small(small_ones))
    # BYOL has two views.
    prepare(small(small_ones.replace("2}", "3}").replace("1}", "2}")))
