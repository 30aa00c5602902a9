"""`manage.py check_usage`: proves that requests answered = rows = what the minutes come to, and says where not."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from serving_ui.gateway.spool import SET_ASIDE
from serving_ui.lib import clock
from serving_ui.usage.reckoning import reckon

MOST_DIFFERENCES = 20


class Command(BaseCommand):
    help = "Compares the requests that gateways answered with the rows and the minutes of usage; fails when they differ."

    def handle(self, *args: Any, **options: Any) -> None:
        found = reckon(folder=settings.SPOOL_FOLDER, now=clock.now())
        for label, number in (
            ("Requests answered", found.answered),
            ("of these waiting in the spool", found.waiting),
            ("of these lost", found.lost),
            ("of these set aside", found.aside),
            ("Rows", found.rows),
            ("Requests in the minutes", found.minutes),
        ):
            self.stdout.write(f"{label:32}{number:>12,}")
        if found.adds_up:
            self.stdout.write("Everything adds up.")
            return
        for sentence in found.differences[:MOST_DIFFERENCES]:
            self.stdout.write(sentence)
        if found.lost:
            self.stdout.write(
                f"{found.lost} rows were never written, or cannot be read: a disk was full, or lost its power. The gateway's log says when."
            )
        if found.aside:
            self.stdout.write(
                f"{found.aside} lines could not be stored. They are kept in {settings.SPOOL_FOLDER / SET_ASIDE}, on the machine "
                "whose worker met them, each with the reason. Read that file, then delete it."
            )
        raise CommandError(
            f"Usage does not add up: {len(found.differences)} differences, {found.lost} lost, {found.aside} set aside."
        )
