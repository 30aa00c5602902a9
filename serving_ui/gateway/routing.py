"""Which served entity answers a query, by the traffic split, and which ones are its fallbacks. Pure."""

from __future__ import annotations

from serving_ui.gateway.snapshot import Endpoint, Entity

MAX_FALLBACKS = 2
_GOLDEN_RATIO = 0.6180339887498949


def candidates(endpoint: Endpoint, *, query_number: int) -> tuple[Entity, ...]:
    """The entity that gets the endpoint's `query_number`-th query, then its fallbacks: those listed after it, then those from the top."""
    entities = endpoint.entities
    if len(entities) < 2:
        return entities
    first = _chosen(endpoint, query_number)
    if not endpoint.fallback:
        return (entities[first],)
    return (entities[first:] + entities[:first])[: 1 + MAX_FALLBACKS]


def _chosen(endpoint: Endpoint, query_number: int) -> int:
    """The index of the entity. A golden-ratio sequence instead of random numbers splits any run of queries as evenly as possible."""
    shares = dict(endpoint.routes)
    weights = [shares.get(entity.name, 0) for entity in endpoint.entities]
    point = query_number * _GOLDEN_RATIO % 1 * sum(weights)
    for position, weight in enumerate(weights):
        point -= weight
        if point < 0:
            return position
    return 0
