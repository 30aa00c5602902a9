"""`manage.py rotate_keys`: encrypts the secrets again with the first of the vault's keys, while the product runs.

If it is interrupted, the next run goes on from there.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from serving_ui.vault import ciphers, commands


class Command(BaseCommand):
    help = "Encrypts the secrets again with the first of the vault's keys."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            while left := commands.rewrap():
                self.stdout.write(f"{left} secrets to go.")
        except ciphers.CannotDecrypt as reason:
            raise CommandError(f"A secret cannot be read: {reason}.") from None
        self.stdout.write(f"Every secret is encrypted with the key {ciphers.ring().primary_id}.")
