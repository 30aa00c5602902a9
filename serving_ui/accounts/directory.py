"""Changes of people, service principals and groups, for admins only. Each command is atomic and reports its change.

One active admin always remains: the last one can neither be deactivated nor deleted nor taken out of the admins.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError
from django.utils.translation import gettext as _

from serving_ui.accounts.models import ADMINS, EVERYONE, Group, Membership, User, is_named
from serving_ui.accounts.reports import (
    group_state,
    members_among,
    principal_state,
    report_group,
    report_principal,
)
from serving_ui.lib.refusal import AlreadyExists, Conflict, NotAllowed, NotFound, Refusal

MAX_NAME_LENGTH = 200


def need_admin(actor: User) -> None:
    """Raises NotAllowed unless `actor` is an admin."""
    if not actor.is_admin:
        raise NotAllowed(_("Only an admin may do this. Ask an admin."))


def create_person(
    *, email: str, name: str = "", active: bool = True, external_id: str = "", actor: User
) -> User:
    """Creates a person, who signs in with a link from `manage.py sign_in_link`. Raises AlreadyExists."""
    need_admin(actor)
    email = email.strip()
    try:
        validate_email(email)
    except ValidationError:
        raise Refusal(_("%(email)s is not an e-mail address.") % {"email": email}) from None
    return _create("create_person", actor, email=email, name=name, is_active=active, external_id=external_id)


def create_service_principal(
    *, application_id: str = "", name: str = "", active: bool = True, external_id: str = "", actor: User
) -> User:
    """Creates an account for a program. It cannot sign in; admins create its tokens. Without `application_id` it gets a UUID."""
    need_admin(actor)
    try:
        identity = str(uuid.UUID(application_id)) if application_id else str(uuid.uuid4())
    except ValueError:
        raise Refusal(
            _("An application id is a UUID such as 1b2c3d4e-0000-4000-8000-123456789abc. Or leave it out.")
        ) from None
    return _create(
        "create_service_principal",
        actor,
        email=identity,
        name=name,
        is_active=active,
        external_id=external_id,
        kind=User.Kind.SERVICE_PRINCIPAL,
    )


def change_principal(
    *,
    user: User,
    name: str | None = None,
    active: bool | None = None,
    external_id: str | None = None,
    actor: User,
) -> User:
    """Changes the fields that are not None. A change of `active` ends all sessions, tokens and unused links for good."""
    need_admin(actor)
    changes: dict[str, str | bool | int] = {}
    if name is not None:
        changes["name"] = _fit(name)
    if external_id is not None:
        changes["external_id"] = _fit(external_id)
    with transaction.atomic():
        _lock_admins()
        row = _locked(user)
        before = principal_state(row)
        if active is not None:
            changes["is_active"] = active
        turns = active is not None and active != row.is_active
        if turns:
            changes["access_epoch"] = row.access_epoch + 1
        for field, value in changes.items():
            setattr(user, field, value)
            setattr(row, field, value)
        user.save(update_fields=list(changes))
        if turns:
            _end_access(user)
        _require_active_admin()
        after = principal_state(row)
        if after != before:
            report_principal("change_principal", row, actor=actor, before=before, after=after)
    return user


def _locked(user: User) -> User:
    """Reads the row again and locks it until the transaction ends. Raises NotFound."""
    row = User.objects.select_for_update(no_key=True).filter(pk=user.pk).first()
    if row is None:
        raise NotFound(_("%(name)s no longer exists.") % {"name": user.email})
    return row


def _end_access(user: User) -> None:
    """Deletes tokens and links. Sessions end because `access_epoch` is part of their hash.

    Also called on activation: a token created while the deactivation was committed must not become valid then.
    """
    user.access_tokens.all().delete()
    user.sign_in_links.all().delete()


def delete_principal(*, user: User, actor: User) -> None:
    """Deletes a principal with its tokens and grants. Raises Conflict if it created endpoints, configs or secret scopes."""
    need_admin(actor)
    try:
        with transaction.atomic():
            _lock_admins()
            report_principal("delete_principal", user, actor=actor, before=principal_state(user), after=None)
            user.delete()
            _require_active_admin()
    except ProtectedError:
        raise Conflict(
            _(
                "%(name)s created endpoints, configs or secret scopes that still exist, so it cannot be deleted. "
                "Deactivate it instead: set active to false."
            )
            % {"name": user.email}
        ) from None


def create_group(*, name: str, external_id: str = "", member_ids: Iterable[str] = (), actor: User) -> Group:
    """Creates a group. Raises AlreadyExists, and NotFound for a member id that nobody has."""
    need_admin(actor)
    name = _group_name(name)
    with transaction.atomic():
        if _is_taken(name):
            raise _group_exists(name)
        try:
            with transaction.atomic():
                group = Group.objects.create(name=name, external_id=_fit(external_id))
        except IntegrityError:
            if not Group.objects.filter(is_named("name", name)).exists():
                raise
            raise _group_exists(name) from None  # a racing create took it
        report_group("create_group", group, actor=actor, before=None, after=group_state(group))
        change_members(group=group, add=member_ids, actor=actor)
    return group


def change_group(
    *, group: Group, name: str | None = None, external_id: str | None = None, actor: User
) -> Group:
    """Renames a group, or stores the id that a directory gave it."""
    need_admin(actor)
    before = group_state(group)
    if name is not None and name.strip() != group.name:
        if group.is_built_in:
            raise Refusal(_("The group %(name)s is built in and cannot be renamed.") % {"name": group.name})
        name = _group_name(name)
        if _is_taken(name, by_other_than=group):
            raise _group_exists(name)
        group.name = name
    if external_id is not None:
        group.external_id = _fit(external_id)
    with transaction.atomic():
        group.save()
        report_group("change_group", group, actor=actor, before=before, after=group_state(group))
    return group


def change_members(*, group: Group, add: Iterable[str] = (), remove: Iterable[str] = (), actor: User) -> None:
    """Adds and removes members by id; one in both lists is added. Raises NotFound for an id to add that nobody has."""
    need_admin(actor)
    joining = set(add)
    leaving = set(remove) - joining
    if not (joining or leaving):
        return
    with transaction.atomic():
        _require_principals(joining)
        before = members_among(group, joining | leaving)
        if group.name == ADMINS:
            _set_admins(joining, leaving)
        elif group.is_built_in:
            raise Refusal(
                _("The group %(name)s contains all users. Its members cannot be changed.")
                % {"name": group.name}
            )
        else:
            present = set(group.memberships.filter(user__in=joining).values_list("user", flat=True))
            group.memberships.filter(user__in=leaving).delete()
            Membership.objects.bulk_create(
                (Membership(group=group, user_id=pk) for pk in sorted(joining - present)),
                ignore_conflicts=True,
            )
            group.save()  # gateways follow the group, not each membership
        after = members_among(group, joining | leaving)
        if after != before:
            report_group(
                "change_members", group, actor=actor, before={"members": before}, after={"members": after}
            )


def delete_group(*, group: Group, actor: User) -> None:
    """Deletes a group with its grants."""
    need_admin(actor)
    if group.is_built_in:
        raise Refusal(_("The group %(name)s is built in and cannot be deleted.") % {"name": group.name})
    with transaction.atomic():
        before = {**group_state(group), "members": members_among(group)}
        report_group("delete_group", group, actor=actor, before=before, after=None)
        group.delete()


def _create(action: str, actor: User, *, email: str, name: str, external_id: str, **more: object) -> User:
    taken = AlreadyExists(_("%(name)s exists already.") % {"name": email})
    if User.objects.named(email):
        raise taken
    try:
        with transaction.atomic():
            user = User.objects.create(email=email, name=_fit(name), external_id=_fit(external_id), **more)
            report_principal(action, user, actor=actor, before=None, after=principal_state(user))
            return user
    except IntegrityError:
        if not User.objects.named(email):
            raise
        raise taken from None  # a racing create took it


def _set_admins(joining: set[str], leaving: set[str]) -> None:
    _lock_admins()
    for user in User.objects.filter(pk__in=joining | leaving):
        user.is_admin = user.pk in joining
        user.save(update_fields=["is_admin"])
    _require_active_admin()


def _lock_admins() -> None:
    """Locks the rows of all admins, in one order, before anything is written.

    So two admins who remove each other cannot both succeed, and there is no deadlock. `no_key`: an insert of a row with a
    foreign key to an admin takes a key-share lock at its transaction's end, and would wait for a stronger lock than this.
    """
    list(User.objects.select_for_update(no_key=True).filter(is_admin=True).order_by("pk").values_list("pk"))


def _require_active_admin() -> None:
    if not User.objects.filter(is_admin=True, is_active=True, kind=User.Kind.PERSON).exists():
        raise Conflict(_("This is the last active admin. Make another user an admin first."))


def _require_principals(ids: set[str]) -> None:
    missing = ids - set(User.objects.filter(pk__in=ids).values_list("pk", flat=True))
    if missing:
        raise NotFound(
            _(
                "There is no person or service principal with the id %(id)s. A group cannot contain other groups."
            )
            % {"id": sorted(missing)[0]}
        )


def _group_name(name: str) -> str:
    name = name.strip()
    if not name or "@" in name:
        raise Refusal(_("Give the group a name without @, so that it differs from an e-mail address."))
    return _fit(name)


def _is_taken(name: str, *, by_other_than: Group | None = None) -> bool:
    """Whether another group has the name. Those of the built-in groups are always taken."""
    others = Group.objects.exclude(pk=by_other_than.pk) if by_other_than else Group.objects.all()
    return name.lower() in (ADMINS, EVERYONE) or others.filter(is_named("name", name)).exists()


def _group_exists(name: str) -> AlreadyExists:
    return AlreadyExists(_("A group named %(name)s exists already. Choose another name.") % {"name": name})


def _fit(text: str) -> str:
    text = text.strip()
    if len(text) > MAX_NAME_LENGTH:
        raise Refusal(_("A name can have at most %(limit)s characters.") % {"limit": MAX_NAME_LENGTH})
    return text
