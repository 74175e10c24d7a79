"""The composition root: command line, wiring, supervision."""

from dyff.serve import plain_log  # noqa: F401  # before anything else imports structlog
