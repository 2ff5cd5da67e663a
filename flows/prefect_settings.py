"""How Prefect is set where nobody set it: quiet, private, patient with its temporary server. Import before Prefect."""

import logging
import os

from nhwc.validators.errors import NhwcError

for _name, _value in {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}.items():
    os.environ.setdefault(_name, _value)  # Prefect reads these when it is imported; who set them keeps their value


def _reason_alone(record: logging.LogRecord) -> bool:
    """Have the log of a run that nhwc refused say why, instead of where in Prefect that was raised."""
    error = record.exc_info and record.exc_info[1]
    if isinstance(error, NhwcError):
        record.msg, record.args, record.exc_info = str(error), (), None
    return True


# a runner and a worker raise what is in a failed state, and log it with a traceback
logging.getLogger("prefect.flow_runs").addFilter(_reason_alone)
