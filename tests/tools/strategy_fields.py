"""Fields that strategies need on few clients."""

STRATEGY_FIELDS: dict[str, str] = {
    "krum": ", byzantine: 0",
    "multikrum": ", byzantine: 0",
    "bulyan": ", byzantine: 0",
    "layer-schedule": ", every: {encoder.layers.0: 2, predictor: 0}",
    "fedu": ", threshold: 0.001",
    "fedema": ", tau: 0.5",
}
