"""What a person does to an endpoint, for pages and API: create, edit, cancel, retry and delete.

Permissions are given in `granting`, secrets taken over in `takeover`. Each command is atomic: one transaction, or a savepoint in
that of the request. Bad input raises SpecErrors, everything else a `lib.refusal.Refusal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from serving_ui.accounts.models import User
from serving_ui.catalogue.problems import Problem, SpecErrors
from serving_ui.catalogue.served_entity import Kind
from serving_ui.catalogue.spec import ConfigSpec, EndpointSpec
from serving_ui.catalogue.translatable import TranslatableText
from serving_ui.endpoints import bindings, celery_messages, queries
from serving_ui.endpoints.admission import Admitted, admit
from serving_ui.endpoints.edits import GATEWAY_SETTINGS, Columns, EndpointChanges, columns_of
from serving_ui.endpoints.errors import UpdateInProgress, UpdateNotRunning
from serving_ui.endpoints.events import EventKind
from serving_ui.endpoints.lifecycle import NEW, Trigger
from serving_ui.endpoints.models import ConfigVersion, Endpoint, SecretBinding, Workspace
from serving_ui.endpoints.permissions import Action
from serving_ui.endpoints.reports import permissions_of, report_endpoint, reported, state_of
from serving_ui.endpoints.transitions import (
    drop,
    record_event,
    refuse_stale,
    retry_on_concurrent_change,
    submit,
    swap,
)
from serving_ui.lib.refusal import NotAllowed, NotFound
from serving_ui.revisions.changes import Subject, bump_revision
from serving_ui.vault import commands as vault

TAKEN = "taken"  # the code of the problem with a name that another endpoint has


def create_endpoint(*, spec: EndpointSpec, actor: User, now: datetime) -> Endpoint:
    """A new endpoint, NOT_READY, with its config, if it has one, pending as version 1. Raises SpecErrors."""
    try:
        with transaction.atomic():
            columns = columns_of(Endpoint(), EndpointChanges.of(spec), ai_gateway_at=("ai_gateway",))
            problems = _name_problems(spec.name, actor) + columns.problems
            admitted = spec.config and _admitted(
                spec.config, prefix=("config",), earlier=[], problems=problems, actor=actor, now=now
            )
            if problems:
                raise SpecErrors(problems)
            endpoint = Endpoint.objects.create(
                workspace=Workspace.here(),
                name=spec.name,
                creator=actor,
                created_at=now,
                modified_at=now,
                ready=NEW.ready,
                config_update=NEW.update,
                **columns.values,
            )
            if admitted:
                _make_pending(endpoint, admitted, actor=actor, now=now)
                celery_messages.reconcile_on_commit(endpoint.pk)
            about = {} if admitted else {"is_without_config": True}
            record_event(endpoint, EventKind.CREATED, now=now, actor=actor, **about)
            bump_revision(Subject.ENDPOINT, endpoint.pk)  # gateways answer "not ready", not "unknown"
            report_endpoint("create_endpoint", endpoint, actor=actor, before=None, after=state_of(endpoint))
    except IntegrityError:
        if not queries.is_taken(name=spec.name):
            raise
        # A racing create took the name between the check and the insert.
        raise SpecErrors(_name_problems(spec.name, actor)) from None
    return endpoint


@retry_on_concurrent_change
def edit_endpoint(
    *, name: str, changes: EndpointChanges, generation: int | None = None, actor: User, now: datetime
) -> Endpoint:
    """Makes all of `changes` or none. A config becomes the pending version, everything else is in force at once.

    `generation` is the one that the person saw. Raises SpecErrors, UpdateInProgress, StaleEdit, NotFound and NotAllowed.
    """
    with transaction.atomic():
        endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
        if changes.config:
            _refuse_foundation(endpoint)
            refuse_while_updating(endpoint)
        refuse_stale(endpoint, generation)
        columns = columns_of(endpoint, changes)
        with reported("edit_endpoint", endpoint, actor=actor):
            if changes.config:
                _submit_config(endpoint, changes.config, columns, actor=actor, now=now)
            elif columns.problems:
                raise SpecErrors(columns.problems)
            elif columns.values:
                swap(endpoint, modified_at=now, **columns.values)
        for kind in columns.events:
            record_event(endpoint, kind, now=now, actor=actor)
        if GATEWAY_SETTINGS.intersection(columns.events):
            bump_revision(Subject.ENDPOINT, endpoint.pk)
    return endpoint


def _submit_config(
    endpoint: Endpoint, config: ConfigSpec, columns: Columns, *, actor: User, now: datetime
) -> None:
    problems = list(columns.problems)
    if endpoint.kind and endpoint.kind != config.kind:
        message = (
            _("This endpoint serves external models, and never models of your own. Create another endpoint.")
            if endpoint.kind == Kind.EXTERNAL_MODEL
            else _(
                "This endpoint serves models of your own, and never external models. Create another endpoint."
            )
        )
        problems.append(Problem(path=("served_entities",), message=TranslatableText(message), code="kind"))
    earlier = list(queries.versions(endpoint=endpoint))
    admitted = _admitted(config, earlier=earlier, problems=problems, actor=actor, now=now)
    submit_admitted(endpoint, admitted, actor=actor, now=now, **columns.values)


def submit_admitted(
    endpoint: Endpoint, admitted: Admitted, *, actor: User, now: datetime, **changes: Any
) -> None:
    """Makes the config pending, together with other `changes` of columns, and has it deployed after the commit."""
    version = _make_pending(endpoint, admitted, actor=actor, now=now, **changes)
    record_event(endpoint, EventKind.SUBMITTED, now=now, actor=actor, version=version.number)
    celery_messages.reconcile_on_commit(endpoint.pk)


def _make_pending(
    endpoint: Endpoint, admitted: Admitted, *, actor: User, now: datetime, **changes: Any
) -> ConfigVersion:
    config, bound, sources = admitted.config, admitted.bindings, admitted.sources
    return submit(endpoint, config, bindings=bound, sources=sources, actor=actor, now=now, **changes)


@retry_on_concurrent_change
def cancel_update(*, name: str, actor: User, now: datetime) -> Endpoint:
    """Stops the running update; the active config keeps serving. Raises UpdateNotRunning."""
    with transaction.atomic():
        endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
        _refuse_foundation(endpoint)
        if not endpoint.is_updating:
            raise UpdateNotRunning(_("No update is running, so there is nothing to cancel."))
        with reported("cancel_update", endpoint, actor=actor):
            drop(endpoint, Trigger.CANCEL, actor=actor, now=now)
    return endpoint


@retry_on_concurrent_change
def retry_update(*, name: str, number: int | None = None, actor: User, now: datetime) -> Endpoint:
    """Makes an earlier config pending again, as a new version; the newest one if `number` is not given."""
    with transaction.atomic():
        endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
        _refuse_foundation(endpoint)
        refuse_while_updating(endpoint)
        versions = list(queries.versions(endpoint=endpoint))
        chosen = next((v for v in versions if number in (None, v.number)), None)
        if chosen is None:
            raise NotFound(_("This endpoint has no configuration version %(number)s.") % {"number": number})
        admitted = admit(chosen.config, earlier=versions, resubmitted=chosen, actor=actor, now=now)
        with reported("retry_update", endpoint, actor=actor):
            submit_admitted(endpoint, admitted, actor=actor, now=now)
    return endpoint


@retry_on_concurrent_change
def delete_endpoint(*, name: str, actor: User, now: datetime) -> None:
    """Removes the endpoint with its history and the secrets pasted into it. It cannot be brought back."""
    with transaction.atomic():
        endpoint = queries.get_endpoint(name=name, actor=actor, action=Action.MANAGE)
        _refuse_foundation(endpoint)
        remove_endpoints([endpoint], action="delete_endpoint", actor=actor)


def remove_endpoints(endpoints: Sequence[Endpoint], *, action: str, actor: User | None) -> None:
    """Removes endpoints in the transaction of the caller, who has checked the right. Raises ConcurrentChange."""
    ids = [endpoint.pk for endpoint in endpoints]
    for endpoint in endpoints:
        before = {**state_of(endpoint), "permissions": permissions_of(endpoint)}
        swap(endpoint)  # the row is ours first: an update submitted at this moment finds it gone
        report_endpoint(action, endpoint, actor=actor, before=before, after=None)
    versions = ConfigVersion.objects.filter(endpoint__in=ids)
    found = [secret for version in versions for secret in version.config.secrets().values()]
    vault.forget(ids={secret.stored_id for secret in found if secret.stored_id})
    bindings.delete_frozen_values(SecretBinding.objects.filter(version__endpoint__in=ids, held__isnull=False))
    Endpoint.objects.filter(pk__in=ids).delete()
    for endpoint_id in ids:
        bump_revision(Subject.ENDPOINT, endpoint_id)


def _name_problems(name: str, actor: User) -> list[Problem]:
    message = queries.name_problem(name=name, actor=actor)
    if not message:
        return []
    code = TAKEN if queries.is_taken(name=name) else "name"
    return [Problem(path=("name",), message=TranslatableText(message), code=code)]


def _admitted(
    config: ConfigSpec,
    *,
    prefix: tuple[str, ...] = (),
    earlier: list[ConfigVersion],
    problems: list[Problem],
    actor: User,
    now: datetime,
) -> Admitted:
    """`admit`, with earlier problems told in one go with its own, whose paths start at `prefix`."""
    try:
        admitted = admit(config, earlier=earlier, actor=actor, now=now)
    except SpecErrors as errors:
        raise SpecErrors([*problems, *(problem.under(*prefix) for problem in errors.problems)]) from None
    if problems:
        raise SpecErrors(problems)
    return admitted


def _refuse_foundation(endpoint: Endpoint) -> None:
    if endpoint.kind == Kind.FOUNDATION_MODEL:
        raise NotAllowed(
            _(
                "%(name)s is a foundation model, whose configuration follows its model host. Change its rights and limits here, everything else on the page Model hosts."
            )
            % {"name": endpoint.name}
        )


def refuse_while_updating(endpoint: Endpoint) -> None:
    if endpoint.is_updating:
        number = endpoint.pending.number if endpoint.pending else "?"
        raise UpdateInProgress(
            _(
                "An update of %(name)s to version %(number)s is running. Wait until it ends, or cancel it first."
            )
            % {"name": endpoint.name, "number": number}
        )
