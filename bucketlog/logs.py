"""Where log lines go and how they look: lines on stderr, for eyes on a terminal, else JSON.

Every module logs to the standard library's loggers; here alone is said what becomes of it. Each line has its time, level,
logger and, while an S3 request is served, that request's id. Tracebacks show code and never values: one may be a secret.
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict, Processor, WrappedLogger

from bucketlog.settings import Settings
from gateway.tally import ACCESS
from topics import request_id

ACCESS_FIELDS = ("operation", "method", "path", "status", "seconds", "received_bytes", "sent_bytes", "user", "peer")


def configure(settings: Settings, stream: TextIO = sys.stderr) -> None:
    is_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_formatter(is_text=is_text, colors=stream.isatty()))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    logging.getLogger(ACCESS).setLevel(logging.INFO)  # asked for by a setting of its own


def _formatter(*, is_text: bool, colors: bool) -> logging.Formatter:
    first: list[Processor] = [
        _add_request,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(ACCESS_FIELDS),
        structlog.processors.TimeStamper("iso", utc=not is_text),
    ]
    last: list[Processor] = [ProcessorFormatter.remove_processors_meta]
    if is_text:
        last.append(structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback))
    else:
        last += [
            structlog.processors.format_exc_info,
            structlog.processors.EventRenamer("message"),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    return ProcessorFormatter(foreign_pre_chain=first, processors=last)


def _add_request(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
    if found := request_id.current.get():
        line["request"] = found
    return line
