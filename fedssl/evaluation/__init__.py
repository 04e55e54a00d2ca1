"""The central evaluation: what the frozen encoder's features are worth."""

from fedssl.evaluation.base import Measure, MeasureConfig
from fedssl.evaluation.config import EvaluationConfig
from fedssl.evaluation.evaluate import evaluate, gather
from fedssl.evaluation.measures import MEASURES, measure
from fedssl.evaluation.metrics import MetricDescription
from fedssl.evaluation.subject import EvaluationExamples, MeasureResult, Subject

__all__ = [
    "MEASURES",
    "EvaluationConfig",
    "EvaluationExamples",
    "Measure",
    "MeasureConfig",
    "MeasureResult",
    "MetricDescription",
    "Subject",
    "evaluate",
    "gather",
    "measure",
]
