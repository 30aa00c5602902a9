"""`manage.py check_usage`: checks that requests answered = rows = sum of the minutes, and prints the differences."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from serving_ui.gateway.spool import SET_ASIDE
from serving_ui.lib import clock
from serving_ui.usage.consistency import check_consistency

MAX_DIFFERENCES = 20


class Command(BaseCommand):
    help = "Compares the requests that gateways answered with the rows and the minutes of usage; fails when they differ."

    def handle(self, *args: Any, **options: Any) -> None:
        report = check_consistency(folder=settings.SPOOL_FOLDER, now=clock.now())
        for label, number in (
            ("Requests answered", report.answered),
            ("of these waiting in the spool", report.waiting),
            ("of these lost", report.lost),
            ("of these set aside", report.set_aside),
            ("Rows", report.rows),
            ("Requests in the minutes", report.minutes),
        ):
            self.stdout.write(f"{label:32}{number:>12,}")
        if report.is_consistent:
            self.stdout.write("Usage is consistent.")
            return
        for sentence in report.differences[:MAX_DIFFERENCES]:
            self.stdout.write(sentence)
        if report.lost:
            self.stdout.write(
                f"{report.lost} rows were not written or cannot be read, because a disk was full or the power failed. The gateway's log says when."
            )
        if report.set_aside:
            self.stdout.write(
                f"{report.set_aside} lines could not be stored. They are in {settings.SPOOL_FOLDER / SET_ASIDE}, each with the reason, on the machine "
                "whose worker read them. Read that file, then delete it."
            )
        raise CommandError(
            f"Usage is inconsistent: {len(report.differences)} differences, {report.lost} lost, {report.set_aside} set aside."
        )
