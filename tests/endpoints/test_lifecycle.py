"""The result of every pair of state and event, listed independently of the product's table."""

from __future__ import annotations

from itertools import product

import pytest

from serving_ui.endpoints.lifecycle import Event, IllegalTransition, Ready, State, Update, step

PAIRS = list(product(Ready, Update, Event))
ENDS = {
    Event.SUCCEED: Update.NOT_UPDATING,
    Event.FAIL: Update.UPDATE_FAILED,
    Event.CANCEL: Update.UPDATE_CANCELED,
}


def fits(ready: Ready, update: Update, event: Event) -> bool:
    if event is Event.REVOKE:
        return ready is Ready.READY
    if event is Event.RESTORE:
        return ready is Ready.NOT_READY
    return (event is Event.SUBMIT) != (update is Update.IN_PROGRESS)


@pytest.mark.parametrize(("ready", "update", "event"), PAIRS)
def test_each_pair_of_state_and_event_has_its_result(ready: Ready, update: Update, event: Event):
    if not fits(ready, update, event):
        with pytest.raises(IllegalTransition):
            step(State(ready, update), event)
        return
    after = step(State(ready, update), event)
    if event in (Event.REVOKE, Event.RESTORE):
        assert after == State(Ready.READY if event is Event.RESTORE else Ready.NOT_READY, update)
    elif event is Event.SUBMIT:
        assert after == State(ready, Update.IN_PROGRESS)
    else:
        assert after == State(Ready.READY if event is Event.SUCCEED else ready, ENDS[event])


def test_there_are_48_pairs_of_which_20_are_legal():
    assert (len(PAIRS), sum(fits(*pair) for pair in PAIRS)) == (48, 20)


@pytest.mark.parametrize("event", [event for event in Event if event is not Event.REVOKE])
@pytest.mark.parametrize("update", Update)
def test_ready_never_falls_back_because_of_an_update(update: Update, event: Event):
    try:
        assert step(State(Ready.READY, update), event).ready is Ready.READY
    except IllegalTransition:
        assert not fits(Ready.READY, update, event)
