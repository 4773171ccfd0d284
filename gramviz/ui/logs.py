"""Logs of the service: one line an event, as text or as JSON, without anything of a visitor.

What is logged are kinds, numbers and defects; the package logs no picture, file name, address or session.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC, ISO 8601), level, logger, message, and the traceback of a defect."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            told["traceback"] = self.formatException(record.exc_info)
        return json.dumps(told)


def configure(level: str, style: str) -> None:
    """Log the package's own events to standard error. level: "debug" to "error"; style: "text" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if style == "json" else logging.Formatter(TEXT))
    logger = logging.getLogger("gramviz")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False
