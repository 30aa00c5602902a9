"""The state machine of an endpoint as a table. No Django, no clock, no database.

    ready          config_update                          trigger  becomes
    any            NOT_UPDATING, UPDATE_FAILED/_CANCELED  submit   same ready, IN_PROGRESS
    any            IN_PROGRESS                            succeed  READY, NOT_UPDATING
    any            IN_PROGRESS                            fail     same ready, UPDATE_FAILED
    any            IN_PROGRESS                            cancel   same ready, UPDATE_CANCELED
    READY          any                                    revoke   NOT_READY, same update
    NOT_READY      any                                    restore  READY, same update
    any            NOT_UPDATING, UPDATE_FAILED/_CANCELED  stop     NOT_READY, NOT_UPDATING

Every other pair raises IllegalTransition. `ready` becomes READY when an update succeeds. No update makes it NOT_READY. Three things do:
the loss of a right on a secret of the active config, until it is restored; the loss of what answers the queries, until it answers again;
and a person who stops the endpoint, until the update that starts it succeeds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Ready(StrEnum):
    NOT_READY = "NOT_READY"
    READY = "READY"


class Update(StrEnum):
    NOT_UPDATING = "NOT_UPDATING"
    IN_PROGRESS = "IN_PROGRESS"
    UPDATE_FAILED = "UPDATE_FAILED"
    UPDATE_CANCELED = "UPDATE_CANCELED"


class Trigger(StrEnum):
    SUBMIT = "submit"
    SUCCEED = "succeed"
    FAIL = "fail"
    CANCEL = "cancel"
    REVOKE = "revoke"
    RESTORE = "restore"
    STOP = "stop"


class Unready(StrEnum):
    """Why an endpoint with an active config is NOT_READY."""

    RIGHTS = ""
    """A secret of the active config may not be sent."""
    HEALTH = "health"
    """What answers its queries does not answer."""
    STOPPED = "stopped"
    """A person stopped it."""


class State(NamedTuple):
    """Whether the endpoint answers queries, and the state of its last update."""

    ready: Ready
    update: Update


class IllegalTransition(Exception):
    """The trigger does not fit the state."""


NEW = State(Ready.NOT_READY, Update.NOT_UPDATING)
SETTLED = (Update.NOT_UPDATING, Update.UPDATE_FAILED, Update.UPDATE_CANCELED)

TABLE: dict[tuple[State, Trigger], State] = {}
for _ready in Ready:
    _running = State(_ready, Update.IN_PROGRESS)
    for _settled in SETTLED:
        TABLE[State(_ready, _settled), Trigger.SUBMIT] = _running
        TABLE[State(_ready, _settled), Trigger.STOP] = State(Ready.NOT_READY, Update.NOT_UPDATING)
    TABLE[_running, Trigger.SUCCEED] = State(Ready.READY, Update.NOT_UPDATING)
    TABLE[_running, Trigger.FAIL] = State(_ready, Update.UPDATE_FAILED)
    TABLE[_running, Trigger.CANCEL] = State(_ready, Update.UPDATE_CANCELED)
for _update in Update:
    TABLE[State(Ready.READY, _update), Trigger.REVOKE] = State(Ready.NOT_READY, _update)
    TABLE[State(Ready.NOT_READY, _update), Trigger.RESTORE] = State(Ready.READY, _update)


def step(state: State, trigger: Trigger) -> State:
    """The state after `trigger`. Raises IllegalTransition when the trigger does not fit."""
    try:
        return TABLE[state, trigger]
    except KeyError:
        raise IllegalTransition(f"{trigger} does not fit {state.ready}, {state.update}") from None
