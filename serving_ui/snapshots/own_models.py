"""Own models as the gateway sees them: entities of Ray Serve, at each proxy of the cluster that answers."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from serving_ui.catalogue.providers.ray_serve import PROVIDER, RayServeConfig
from serving_ui.catalogue.spec import ConfigSpec
from serving_ui.endpoints.models import ConfigVersion
from serving_ui.gateway import snapshot as gateway


def build_entities(
    version: ConfigVersion, config: ConfigSpec, proxies: Sequence[str]
) -> tuple[gateway.Entity, ...]:
    """The served entities; none if no proxy answers. Each has a first proxy of its own, so that they share the load."""
    if not proxies:
        return ()
    found = []
    for entity in config.served_entities:
        planned = version.deployments[entity.name]
        start = crc32(planned["application"].encode()) % len(proxies)
        first, *others = (
            RayServeConfig(url=proxy + planned["route"]) for proxy in (*proxies[start:], *proxies[:start])
        )
        name, model, task = entity.name, entity.own.entity_name, entity.task
        found.append(gateway.Entity(name, PROVIDER.name, model, task, first, tuple(others)))
    return tuple(found)
