"""`manage.py sign_in_link EMAIL`: prints the path of a one-time sign-in link and nothing else."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from serving_ui.accounts import commands
from serving_ui.lib import clock
from serving_ui.lib.refusal import Refusal


class Command(BaseCommand):
    help = "Prints a one-time sign-in path for a person, who is created if missing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--admin", action="store_true", help="make the person an admin")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with transaction.atomic():
                user = commands.ensure_user(email=options["email"], admin=options["admin"])
                link = commands.create_sign_in_link(user=user, now=clock.now())
        except Refusal as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(link)
