"""The Celery application: the broker, beat's schedule, and a filesystem transport that never reads half a message.

The worker uses a pool of four threads: its tasks wait for the database only, and calls to providers run in threads of their own
(endpoints/reconcile_queue.py). Measured on two cores with the filesystem broker, from the message to the claimed row (median), and memory of
worker and beat: threads 101 ms and 99 MiB, prefork with two children 101 ms and 134 MiB.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from queue import Empty
from time import monotonic
from typing import Any
from uuid import uuid4

from celery import Celery
from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps, loads

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving_ui.settings")

from django.conf import settings

from serving_ui.lib.env import EnvError

try:
    settings.DATA  # noqa: B018 -- loads the settings
except EnvError as problem:  # Celery's own command line would print a traceback
    raise SystemExit(str(problem)) from None

from serving_ui.endpoints import celery_messages
from serving_ui.model_hosts import schedule as host_checks
from serving_ui.processes.celery_liveness import Every
from serving_ui.usage import schedule

log = logging.getLogger(__name__)
BROKER_SECONDS = 2.0
POLL_SECONDS = 0.5


class OneLineFilter(logging.Filter):
    """While the broker is unreachable, beat would log the stack of every attempt, 300 lines a second."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = record.getMessage().partition("\n")[0], ()
        record.exc_info = record.exc_text = None
        return True


logging.getLogger("celery.beat").addFilter(OneLineFilter())


class _FolderChannel(filesystem.Channel):
    """Writes each message to a temporary file and renames it. Kombu's channel writes in place: a worker that reads the file at that
    moment, or one that a full disk has truncated, ends with an error."""

    def _put(  # type: ignore[override]  # its two bases name the message differently
        self, queue: str, message: Any, **_options: Any
    ) -> None:
        path = Path(self.data_folder_out, f"{round(monotonic() * 1000)}_{uuid4()}.{queue}.msg")
        unfinished = path.with_suffix(".new")
        unfinished.write_text(dumps(message))
        unfinished.replace(path)

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        for path in sorted(Path(self.data_folder_in).glob(f"*.{queue}.msg")):
            claimed = path.with_suffix(".taken")
            try:
                path.rename(claimed)  # only one of two workers succeeds
                content = claimed.read_bytes()
                claimed.unlink()
                return loads(content)
            except FileNotFoundError:
                continue
            except ValueError:
                log.warning("A message that cannot be read was dropped; the next sweep repeats its work.")
        raise Empty


class FolderTransport(filesystem.Transport):
    """Replaces Kombu's transport for `filesystem://`."""

    Channel = _FolderChannel

    def drain_events(  # type: ignore[override]  # its two bases disagree
        self, connection: Any, timeout: float | None = None
    ) -> None:
        """With a short timeout: the worker checks between two calls whether it is to end."""
        super().drain_events(connection, timeout=min(timeout or POLL_SECONDS, POLL_SECONDS))


TRANSPORT_ALIASES["filesystem"] = f"{__name__}:FolderTransport"


def _transport_options() -> dict[str, object]:
    if not settings.BROKER_URL.startswith("filesystem"):
        # Tasks are short, and the sweep repeats those of a killed worker long before 300 s.
        # A Redis that accepts a message and does not answer must not delay the request that changed an endpoint.
        timeouts = {"socket_timeout": BROKER_SECONDS, "socket_connect_timeout": BROKER_SECONDS}
        return {"visibility_timeout": 300, **(timeouts if settings.BROKER_URL.startswith("redis") else {})}
    folder = settings.BROKER_FOLDER
    try:
        for name in ("messages", "control"):
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SystemExit(
            f"The broker's folder {folder} cannot be created ({(error.strerror or '').lower()}). Make room there, or give "
            "yourself the right to write, and start again."
        ) from None
    return {
        "data_folder_in": str(folder / "messages"),
        "data_folder_out": str(folder / "messages"),
        "control_folder": str(folder / "control"),
        "polling_interval": 0.1,
    }


app = Celery("serving_ui")
app.conf.update(
    broker_url=settings.BROKER_URL,
    broker_transport_options=_transport_options(),
    broker_connection_retry_on_startup=True,
    result_backend=None,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    worker_consumer="serving_ui.processes.celery_liveness:Consumer",
    beat_scheduler="serving_ui.processes.celery_liveness:Scheduler",
    beat_schedule={
        name.removeprefix("serving_ui."): {
            "task": name,
            "schedule": Every(every),
            # Without an expiry, which the worker would compare with a different machine's clock.
            "options": {"retry": False},
        }
        for name, every in (
            (celery_messages.SWEEP, settings.SWEEP_SECONDS),
            *(
                [(celery_messages.CHECK_CLUSTER, celery_messages.CHECK_CLUSTER_SECONDS)]
                if settings.RAY_ADDRESS
                else []
            ),
            (schedule.INGEST, schedule.INGEST_SECONDS),
            (host_checks.CHECK, host_checks.CHECK_SECONDS),
            (schedule.DELETE_EXPIRED, schedule.DELETE_EXPIRED_SECONDS),
            *([(schedule.EXPORT, schedule.EXPORT_SECONDS)] if settings.OTLP_ENDPOINT else []),
        )
    },
    beat_schedule_filename=str(settings.DATA / "beat"),
    beat_max_loop_interval=settings.SWEEP_SECONDS,
    timezone="UTC",
)
app.autodiscover_tasks(["serving_ui"])
