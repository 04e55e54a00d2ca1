"""Does an objective keep its contract?"""

from fedssl.objectives import OBJECTIVES, Objective
from fedssl.testing.learning import Learned, check_learning
from fedssl.testing.setting import EXAMPLES, SETTINGS, fitting
from fedssl.testing.shared import check_documented, check_section, find_plugin


def check_objective(objective: type[Objective] | str, **fields: object) -> None:
    """Check that an objective keeps its contract, as `Objective` says.

    It is tried on random examples with a small encoder that it can train.

    Parameters
    ----------
    objective : type[Objective] | str
        Its class, its registered name, or its dotted path.
    **fields : object
        Fields of the ``objective`` section that shall differ from their defaults.

    Raises
    ------
    AssertionError
        It does not; the message says what, and where it can be seen.
    ValueError
        There is no such objective, a field is wrong, or it can train none of the kit's encoders.

    Examples
    --------
        from fedssl.testing import check_objective
        check_objective("simclr", temperature=0.2)
    """
    plugin = find_plugin(OBJECTIVES, objective, fields)
    check_documented(plugin)
    setting = next(fitting(SETTINGS, objective=plugin.section))
    # What a model says once it is built, by its projector's width, say.
    minimum = setting.blueprint(objective=plugin.section).facts.minimum_batch
    client = {"batch_size": max(EXAMPLES // 2, minimum)}
    blueprint = setting.blueprint(objective=plugin.section, client=client)
    check_section(blueprint.config.objective, plugin.found.__qualname__)
    count = max(EXAMPLES, 2 * minimum)
    check_learning(Learned(f"objective {plugin.name}", setting, blueprint, count))
