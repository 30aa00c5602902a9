"""Sessions, which are created by a redeemed sign-in link only: there are no passwords."""

from __future__ import annotations

from django.contrib.auth.backends import BaseBackend
from django.contrib.sessions.backends import db
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.exceptions import SessionInterrupted
from django.db import InterfaceError, OperationalError

from serving_ui.accounts.models import User


class LinkBackend(BaseBackend):
    """Loads the person of a session. It authenticates nobody: `commands.redeem_sign_in_link` does."""

    def get_user(self, user_id: str) -> User | None:
        return User.objects.filter(pk=user_id, is_active=True).first()


class SessionStore(db.SessionStore):
    """Django's store in the database. A request that changes something saves the session in the transaction of the change."""

    is_final = False

    def save(self, must_create: bool = False) -> None:
        """Does nothing after `save_in_transaction`: Django's middleware saves after the commit, when the database may be unreachable."""
        if not self.is_final:
            super().save(must_create)

    def save_in_transaction(self) -> None:
        """Saves the session in the current transaction. Raises SessionInterrupted if another request ended it."""
        try:
            if self.modified and not self.is_empty():
                self.save()
        except UpdateError as error:
            if isinstance(error.__context__, OperationalError | InterfaceError):
                raise error.__context__ from None
            raise SessionInterrupted(str(error)) from None
        self.is_final = True

    def lock_and_reload(self) -> SessionStore:
        """Reads the session again and locks its row until the transaction ends."""
        locked = self.get_model_class().objects.select_for_update().filter(pk=self.session_key)
        list(locked.values_list("pk"))
        return type(self)(self.session_key)
