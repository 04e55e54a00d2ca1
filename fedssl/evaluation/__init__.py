"""The central evaluation: what the frozen encoder's features are worth."""

from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.config import EvaluationConfig
from fedssl.evaluation.evaluate import Gathered, evaluate, gather
from fedssl.evaluation.measures import MEASURES, measure
from fedssl.evaluation.subject import Measured, Subject

__all__ = [
    "MEASURES",
    "EvaluationConfig",
    "Gathered",
    "Measure",
    "MeasureConfig",
    "Measured",
    "Subject",
    "evaluate",
    "gather",
    "measure",
]
