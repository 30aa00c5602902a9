"""The Celery application: broker by setting, beat's one sweep, no result backend.

The worker runs with a pool of threads, because a step only waits, for a provider and for the database. Measured on two
cores, filesystem broker, from the nudge to the claimed row (median) and memory of worker and beat: threads 101 ms and 99 MiB,
prefork with two children 101 ms and 134 MiB; solo takes 3 ms but lets one slow provider hold up every other endpoint.
"""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "serving_ui.settings")

from django.conf import settings

from serving_ui.endpoints import nudge


def _transport_options() -> dict[str, object]:
    if not settings.BROKER_URL.startswith("filesystem"):
        # A task is short and leased in the database; one that its worker took to the grave is swept up long before.
        return {"visibility_timeout": 300}
    folder = settings.BROKER_FOLDER
    for name in ("messages", "control"):
        (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
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
    beat_schedule={
        "sweep": {
            "task": nudge.SWEEP,
            "schedule": settings.SWEEP_SECONDS,
            "options": {"expires": settings.SWEEP_SECONDS * 2},
        }
    },
    beat_schedule_filename=str(settings.DATA / "beat"),
    beat_max_loop_interval=settings.SWEEP_SECONDS,
    timezone="UTC",
)
app.autodiscover_tasks(["serving_ui"])
