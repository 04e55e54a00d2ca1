"""The central evaluation: what the frozen encoder's features are worth."""

from fedssl.evaluation.config import EvaluationConfig
from fedssl.evaluation.evaluate import Gathered, evaluate, gather

__all__ = ["EvaluationConfig", "Gathered", "evaluate", "gather"]
