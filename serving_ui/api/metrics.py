"""Metrics of one endpoint in the text format of Prometheus: its state, and totals since it was created.

Names and the unit milliseconds are those of Databricks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from django.utils.translation import gettext as _

from serving_ui.catalogue.limit_kinds import LIMIT_UNITS
from serving_ui.endpoints import limits
from serving_ui.endpoints.lifecycle import Ready
from serving_ui.endpoints.models import Endpoint
from serving_ui.gateway.exposition import Sample, family, histogram
from serving_ui.gateway.meter import LATENCY_MS
from serving_ui.usage.models import Total


def exposition(endpoint: Endpoint, totals: Iterable[Total]) -> str:
    by_entity = [({"endpoint": endpoint.name, "served_entity": total.entity}, total) for total in totals]
    return "\n".join([*_state(endpoint), *_counters(by_entity), *_latency(by_entity)]) + "\n"


def _state(endpoint: Endpoint) -> Iterable[str]:
    labels = {"endpoint": endpoint.name}
    version = endpoint.active.number if endpoint.active else 0
    for name, help_text, value in (
        ("ready", _("1 when the endpoint answers queries."), int(endpoint.ready == Ready.READY)),
        ("updating", _("1 while an update runs."), int(endpoint.is_updating)),
        ("config_version", _("The active config version; 0 when there is none."), version),
    ):
        full = f"serving_ui_endpoint_{name}"
        yield from family(full, "gauge", help_text, [(full, labels, value)])
    for unit, kind in LIMIT_UNITS.items():
        full = f"serving_ui_endpoint_rate_limit_{unit}"
        samples: list[Sample] = [
            (full, {**labels, "key": key, "principal": principal}, value)
            for (key, principal), value in _strictest(endpoint, unit).items()
        ]
        if samples:
            yield from family(full, "gauge", kind.metric_help.translated(_), samples)


def _strictest(endpoint: Endpoint, unit: str) -> dict[tuple[str, str], int]:
    """The lowest limit of each key and principal: Prometheus rejects a scrape that has a sample twice."""
    found: dict[tuple[str, str], int] = {}
    for limit in limits.stored(endpoint):
        value, whose = limit.get(unit), (limit["key"], limit.get("principal") or "")
        if value is not None:
            found[whose] = min(value, found.get(whose, value))
    return found


def _counters(by_entity: Sequence[tuple[Mapping[str, str], Total]]) -> Iterable[str]:
    for name, help_text, field in (
        ("request_count_total", _("Requests that reached the endpoint."), "requests"),
        (
            "request_4xx_count_total",
            _("Requests that were answered with a status from 400 to 499."),
            "errors_4xx",
        ),
        (
            "request_5xx_count_total",
            _("Requests that were answered with a status from 500 on."),
            "errors_5xx",
        ),
        ("input_tokens_total", _("Tokens of requests."), "tokens_in"),
        ("output_tokens_total", _("Tokens of answers."), "tokens_out"),
        ("cached_input_tokens_total", _("Input tokens read from a provider's cache."), "tokens_cached"),
        (
            "cache_written_input_tokens_total",
            _("Input tokens written to a provider's cache."),
            "tokens_cache_written",
        ),
        ("reasoning_output_tokens_total", _("Output tokens used for reasoning."), "tokens_reasoning"),
    ):
        samples: list[Sample] = [(name, labels, getattr(total, field)) for labels, total in by_entity]
        yield from family(name, "counter", help_text, samples)


def _latency(by_entity: Sequence[tuple[Mapping[str, str], Total]]) -> Iterable[str]:
    name = "request_latency_ms"
    samples = [
        sample
        for labels, total in by_entity
        for sample in histogram(name, labels, LATENCY_MS, buckets=total.latency, total=total.total_ms, unit=1)
    ]
    yield from family(name, "histogram", _("Time from a request to the end of its answer."), samples)
