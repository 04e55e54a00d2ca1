"""Linear probe, kNN and RankMe, each as a measure of its own; `evaluate` takes all three."""

from fedssl.evaluation.knn import predict_knn
from fedssl.evaluation.linear import accuracy, fit_linear
from fedssl.evaluation.rankme import rankme
from fedssl.evaluation.subject import Measured, Subject


def linear(subject: Subject) -> Measured:
    """Fit on the labelled training examples, score on test examples; see `fit_linear`."""
    subject.need_labels()
    probe = fit_linear(subject.train_features, subject.train_labels, subject.config.l2)
    right = accuracy(probe.predict(subject.test_features), subject.test_labels)
    return Measured({"linear_accuracy": right})


def knn(subject: Subject) -> Measured:
    """Let the nearest labelled training examples vote; see `predict_knn`."""
    subject.need_labels()
    config = subject.config
    votes = predict_knn(
        subject.train_features,
        subject.train_labels,
        subject.test_features,
        k=config.knn_k,
        temperature=config.knn_temperature,
    )
    return Measured({"knn_accuracy": accuracy(votes, subject.test_labels)})


def rank(subject: Subject) -> Measured:
    """Take RankMe of the test examples' features, those of the encoder; see `rankme`."""
    features = subject.test_features
    return Measured({"rankme": rankme(features)}, {"examples": len(features)})
