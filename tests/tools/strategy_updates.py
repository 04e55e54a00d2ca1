"""What clients make of a model that a strategy sends."""

from tests.tools.strategy_models import State, model


def update(node: int, state: State) -> State:
    own = model(node)
    return {
        name: tensor + 0.5 * own[name] if tensor.is_floating_point() else tensor + node
        for name, tensor in state.items()
    }


def pass_on(node: int, state: State) -> State:
    return state
