"""The log of Celery processes."""

from __future__ import annotations

import io
import logging

from serving_ui.celery import app


def test_beat_logs_one_line_if_its_broker_is_unreachable():
    assert app.main == "serving_ui"
    heard = io.StringIO()
    log, handler = logging.getLogger("celery.beat"), logging.StreamHandler(heard)
    log.addHandler(handler)
    try:
        raise OSError("Connection refused")
    except OSError as error:
        log.error("Message Error: %s\n%s", error, ["a stack"], exc_info=True)
    finally:
        log.removeHandler(handler)
    assert heard.getvalue() == "Message Error: Connection refused\n"
