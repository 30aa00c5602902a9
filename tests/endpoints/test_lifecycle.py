"""The result of every pair of state and trigger, listed independently of the product's table."""

from __future__ import annotations

from itertools import product

import pytest

from serving_ui.endpoints.lifecycle import IllegalTransition, Ready, State, Trigger, Update, step

PAIRS = list(product(Ready, Update, Trigger))
ENDS = {
    Trigger.SUCCEED: Update.NOT_UPDATING,
    Trigger.FAIL: Update.UPDATE_FAILED,
    Trigger.CANCEL: Update.UPDATE_CANCELED,
}


def fits(ready: Ready, update: Update, trigger: Trigger) -> bool:
    if trigger is Trigger.REVOKE:
        return ready is Ready.READY
    if trigger is Trigger.RESTORE:
        return ready is Ready.NOT_READY
    return (trigger in (Trigger.SUBMIT, Trigger.STOP)) != (update is Update.IN_PROGRESS)


@pytest.mark.parametrize(("ready", "update", "trigger"), PAIRS)
def test_each_pair_of_state_and_trigger_has_its_result(ready: Ready, update: Update, trigger: Trigger):
    if not fits(ready, update, trigger):
        with pytest.raises(IllegalTransition):
            step(State(ready, update), trigger)
        return
    after = step(State(ready, update), trigger)
    if trigger in (Trigger.REVOKE, Trigger.RESTORE):
        assert after == State(Ready.READY if trigger is Trigger.RESTORE else Ready.NOT_READY, update)
    elif trigger is Trigger.SUBMIT:
        assert after == State(ready, Update.IN_PROGRESS)
    elif trigger is Trigger.STOP:
        assert after == State(Ready.NOT_READY, Update.NOT_UPDATING)
    else:
        assert after == State(Ready.READY if trigger is Trigger.SUCCEED else ready, ENDS[trigger])


def test_there_are_56_pairs_of_which_26_are_legal():
    assert (len(PAIRS), sum(fits(*pair) for pair in PAIRS)) == (56, 26)


@pytest.mark.parametrize("trigger", [each for each in Trigger if each not in (Trigger.REVOKE, Trigger.STOP)])
@pytest.mark.parametrize("update", Update)
def test_ready_never_falls_back_because_of_an_update(update: Update, trigger: Trigger):
    try:
        assert step(State(Ready.READY, update), trigger).ready is Ready.READY
    except IllegalTransition:
        assert not fits(Ready.READY, update, trigger)
