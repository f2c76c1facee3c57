"""Metrics: how good predictions are. Pure functions of `(y_true, y_score)`, scikit-learn's order.

    metrics.roc_auc(y_true, y_score)                 one number, of all the data
    metric = metrics.RocAuc(); state = metric.init() batch by batch: update, merge, compute

They take NumPy arrays and lists, count in integers and float64, and return Python floats or arrays.
NaN and empty input raise; a class that the data do not define is left out and named, never 0.
"""

from typing import TYPE_CHECKING

from ..core.names import other_names
from ..errors import UndefinedMetricWarning as UndefinedMetricWarning
from .agreement import cohen_kappa, matthews_corrcoef
from .calibration import (
    CalibrationCurve,
    brier_score,
    calibration_curve,
    expected_calibration_error,
    log_loss,
)
from .classification import (
    accuracy,
    confusion_matrix,
    f1,
    fbeta,
    precision,
    recall,
    top_k_accuracy,
)
from .collected import AveragePrecision, Collected, Collection, RocAuc
from .curves import (
    PrecisionRecallCurve,
    RocCurve,
    Threshold,
    precision_recall_curve,
    roc_curve,
    youden_threshold,
)
from .inputs import Score
from .ranking import average_precision, roc_auc
from .regression import mae, mse, r2
from .resampling import Comparison, Interval, bootstrap_interval, delong_interval, delong_test
from .streaming import (
    F1,
    R2,
    Accuracy,
    Averaged,
    ConfusionMatrix,
    Mean,
    Metric,
    Precision,
    Recall,
)

__all__ = [
    "F1",
    "R2",
    "Accuracy",
    "AveragePrecision",
    "Averaged",
    "CalibrationCurve",
    "Collected",
    "Collection",
    "Comparison",
    "ConfusionMatrix",
    "Interval",
    "Mean",
    "Metric",
    "Precision",
    "PrecisionRecallCurve",
    "Recall",
    "RocAuc",
    "RocCurve",
    "Score",
    "Threshold",
    "UndefinedMetricWarning",
    "accuracy",
    "average_precision",
    "bootstrap_interval",
    "brier_score",
    "calibration_curve",
    "cohen_kappa",
    "confusion_matrix",
    "delong_interval",
    "delong_test",
    "expected_calibration_error",
    "f1",
    "fbeta",
    "log_loss",
    "mae",
    "matthews_corrcoef",
    "mse",
    "precision",
    "precision_recall_curve",
    "r2",
    "recall",
    "roc_auc",
    "roc_curve",
    "top_k_accuracy",
    "youden_threshold",
]

if not TYPE_CHECKING:  # a type checker would take any name for one of these
    __getattr__ = other_names(
        __name__,
        {
            "accuracy_score": "metrics.accuracy",
            "precision_score": "metrics.precision",
            "recall_score": "metrics.recall",
            "f1_score": "metrics.f1",
            "fbeta_score": "metrics.fbeta",
            "auc": "metrics.roc_auc",
            "roc_auc_score": "metrics.roc_auc",
            "average_precision_score": "metrics.average_precision",
            "AUROC": "metrics.RocAuc",
            "cohen_kappa_score": "metrics.cohen_kappa",
            "mean_squared_error": "metrics.mse",
            "mean_absolute_error": "metrics.mae",
            "r2_score": "metrics.r2",
            "top_k_accuracy_score": "metrics.top_k_accuracy",
            "brier_score_loss": "metrics.brier_score",
            "MetricCollection": "metrics.Collection",
        },
    )
