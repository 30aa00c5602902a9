"""Every pair of state and event, spelled out here independently of the table."""

from __future__ import annotations

from itertools import product

import pytest

from serving_ui.endpoints.lifecycle import Event, Ready, Refused, State, Update, step

PAIRS = list(product(Ready, Update, Event))


@pytest.mark.parametrize(("ready", "update", "event"), PAIRS)
def test_each_pair_of_state_and_event_is_decided(ready: Ready, update: Update, event: Event):
    running = update is Update.IN_PROGRESS
    if (event is Event.SUBMIT) == running:
        with pytest.raises(Refused):
            step(State(ready, update), event)
        return
    after = step(State(ready, update), event)
    expected_update = {
        Event.SUBMIT: Update.IN_PROGRESS,
        Event.SUCCEED: Update.NOT_UPDATING,
        Event.FAIL: Update.UPDATE_FAILED,
        Event.CANCEL: Update.UPDATE_CANCELED,
    }[event]
    assert after == State(Ready.READY if event is Event.SUCCEED else ready, expected_update)


def test_there_are_32_pairs_of_which_12_are_legal():
    legal = [pair for pair in PAIRS if (pair[2] is Event.SUBMIT) != (pair[1] is Update.IN_PROGRESS)]
    assert (len(PAIRS), len(legal)) == (32, 12)


@pytest.mark.parametrize("event", [Event.FAIL, Event.CANCEL, Event.SUBMIT])
@pytest.mark.parametrize("update", Update)
def test_ready_never_falls_back(update: Update, event: Event):
    try:
        assert step(State(Ready.READY, update), event).ready is Ready.READY
    except Refused:
        assert (event is Event.SUBMIT) == (update is Update.IN_PROGRESS)
