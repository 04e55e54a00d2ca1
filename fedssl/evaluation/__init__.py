"""The central evaluation: what the frozen encoder's features are worth."""

from fedssl.evaluation.config import EvaluationConfig
from fedssl.evaluation.evaluate import evaluate

__all__ = ["EvaluationConfig", "evaluate"]
