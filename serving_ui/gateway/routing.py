"""Which served entity answers a query, and which ones are asked after it. Pure."""

from __future__ import annotations

from serving_ui.gateway.snapshot import Endpoint, Entity

MOST_FALLBACKS = 2
_GOLDEN = 0.6180339887498949


def candidates(endpoint: Endpoint, *, turn: int) -> tuple[Entity, ...]:
    """The entity that the traffic split gives the `turn`-th query to, then its fallbacks in listed order, from the top after the last."""
    entities = endpoint.entities
    if len(entities) < 2:
        return entities
    first = _chosen(endpoint, turn)
    if not endpoint.fallback:
        return (entities[first],)
    return (entities[first:] + entities[:first])[: 1 + MOST_FALLBACKS]


def _chosen(endpoint: Endpoint, turn: int) -> int:
    """By the golden ratio and no dice: any run of queries is split as evenly as whole numbers can be."""
    shares = dict(endpoint.routes)
    weights = [shares.get(entity.name, 0) for entity in endpoint.entities]
    point = turn * _GOLDEN % 1 * sum(weights)
    for position, weight in enumerate(weights):
        point -= weight
        if point < 0:
            return position
    return 0
