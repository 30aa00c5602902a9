"""The backend of external and foundation models: the gateway of this server calls their providers, so there is nothing to start."""

from __future__ import annotations

from collections.abc import Sequence

from serving_ui.backends.credential_checks import check_credentials
from serving_ui.backends.protocol import Observation, Progress
from serving_ui.backends.transport import Calls
from serving_ui.catalogue.served_entity import ServedEntity
from serving_ui.catalogue.upstream import Addresses


class Local:
    """Checks the credentials of external models. A foundation model was just listed by its host, which is as good."""

    def __init__(self, calls: Calls, addresses: Addresses) -> None:
        self._calls = calls
        self._addresses = addresses

    def deploy(self, entities: Sequence[ServedEntity]) -> dict[str, Observation]:
        return {entity.name: self._check(entity) for entity in entities}

    def _check(self, entity: ServedEntity) -> Observation:
        if entity.foundation_model:
            return Observation(Progress.READY)
        with self._calls.create() as call:
            return check_credentials(entity.external, addresses=self._addresses, call=call)
