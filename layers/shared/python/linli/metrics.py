"""Our own metrics. CloudWatch reads them from the log (embedded metric format): no call, no right, nothing to wait for.

Each series costs money every month, so the only dimension is the context. What else is worth knowing stands in the same
line, for queries of the log: never anything a message said, nor the id of a device or a person.
"""

import os
from enum import StrEnum

from aws_lambda_powertools.metrics import MetricUnit, single_metric

NAMESPACE = "Linli"
"""Where the environment names none; a deployment's functions have `Linli/<prefix>`, so that two do not mix."""


class Metric(StrEnum):
    """Every metric of ours; a name that ends in Seconds is one, anything else is a number of things."""

    PARKED = "ParkedMessages"
    OUTBOX_OLDEST = "OutboxOldestSeconds"
    OUTBOX_MISSED = "OutboxMissedRows"
    ISSUER_UNREACHABLE = "IssuerUnreachable"
    TOKENS_REFUSED = "TokensRefused"
    TIMERS_LATE = "TimersLateSeconds"
    ALARM_DELAY = "AlarmDelaySeconds"
    TICKET_DELAY = "TicketDelaySeconds"
    CERTIFICATES_EXPIRING = "CertificatesExpiring"


def emit(metric: Metric, value: float, *, context: str, **about: str) -> None:
    """One value of a metric, with what the line says besides."""
    unit = MetricUnit.Seconds if metric.endswith("Seconds") else MetricUnit.Count
    namespace = os.environ.get("POWERTOOLS_METRICS_NAMESPACE", NAMESPACE)
    with single_metric(name=metric.value, unit=unit, value=value, namespace=namespace) as line:
        line.add_dimension(name="context", value=context)
        for name, said in about.items():
            line.add_metadata(key=name, value=said)
