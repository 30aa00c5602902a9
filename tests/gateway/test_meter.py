"""Metrics: what is counted, the sums over several processes, and who may read them in Prometheus's format."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from serving_ui.gateway import meter as metering
from serving_ui.gateway.exposition import Exposition, text
from serving_ui.gateway.meter import Gauge, Meter
from serving_ui.gateway.record import Record
from serving_ui.gateway.snapshot import SnapshotHolder
from tests.architecture.sources import ROOT
from tests.gateway.conftest import first_snapshot
from tests.gateway.test_spool import room_for
from tests.support.asgi_server import serve
from tests.support.waiting import wait_until

Samples = dict[str, float]


def record(**changes: Any) -> Record:
    usual = {"endpoint": "chat", "status": 200, "total_ms": 80.0, "overhead_ms": 0.25, "first_byte_ms": 30.0}
    return Record(request_id="a", at=0, **{**usual, **changes})


def samples(content: str) -> Samples:
    """The samples by `name{label=value,…}`, parsed by Prometheus's own parser."""
    found: Samples = {}
    for family in text_string_to_metric_families(content):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sample.labels.items())
            key = f"{sample.name}{{{labels}}}" if labels else sample.name
            assert key not in found
            found[key] = sample.value
    return found


def read(meter: Meter) -> Samples:
    return samples(text(*meter.total()))


def test_requests_tokens_and_times_are_counted(tmp_path: Path):
    meter = Meter(tmp_path)
    details = {"tokens_cached": 2, "tokens_cache_written": 1, "tokens_reasoning": 5}
    meter.record(record(tokens_in=3, tokens_out=7, retries=1, **details))
    meter.record(record(tokens_in=1, total_ms=8000.0))
    meter.record(record(status=429, completeness="limited", total_ms=0.2, first_byte_ms=0.0))
    found = read(meter)
    assert found["serving_ui_requests_total{endpoint=chat,status=200}"] == 2
    assert found["serving_ui_requests_total{endpoint=chat,status=429}"] == 1
    assert found["serving_ui_tokens_total{endpoint=chat,direction=in}"] == 4
    assert found["serving_ui_tokens_total{endpoint=chat,direction=out}"] == 7
    assert found["serving_ui_token_details_total{endpoint=chat,detail=cached}"] == 2
    assert found["serving_ui_token_details_total{endpoint=chat,detail=cache_written}"] == 1
    assert found["serving_ui_token_details_total{endpoint=chat,detail=reasoning}"] == 5
    assert found["serving_ui_retries_total{endpoint=chat}"] == 1
    assert found["serving_ui_upstream_seconds_bucket{endpoint=chat,le=0.1}"] == 1
    assert found["serving_ui_upstream_seconds_bucket{endpoint=chat,le=+Inf}"] == 2
    assert found["serving_ui_upstream_seconds_sum{endpoint=chat}"] == pytest.approx(8.0795)
    assert found["serving_ui_gateway_overhead_seconds_count"] == 3
    assert found["serving_ui_gateway_overhead_seconds_bucket{le=0.0003}"] == 3


def test_metrics_can_be_read_before_the_first_query(tmp_path: Path):
    assert read(Meter(tmp_path))["serving_ui_gateway_overhead_seconds_count"] == 0


def test_gauges_are_read_at_scrape_time(tmp_path: Path):
    meter = Meter(tmp_path)
    meter.gauges.append(lambda: [Gauge("serving_ui_circuit_open", "Open.", 1, {"host": 'a"b\\c\nd'})])
    assert read(meter)['serving_ui_circuit_open{host=a"b\\c\nd}'] == 1


CHILD = """
import sys
from pathlib import Path
from serving_ui.gateway.meter import Gauge, Meter
from serving_ui.gateway.record import Record
meter = Meter(Path(sys.argv[1]))
meter.gauges.append(lambda: [Gauge("serving_ui_circuit_open", "Open.", 1)])
meter.start()
print("counting", flush=True)
for line in sys.stdin:
    if line == "stop\\n":
        meter.stop()
        break
    for _ in range(int(line)):
        meter.record(Record(request_id="a", at=0, endpoint="chat", status=200))
    print("counted", flush=True)
"""


class Sibling:
    """Another process with a Meter in the same folder, which counts when a test says so."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.read_line()

    def read_line(self) -> None:
        assert self.process.stdout
        assert self.process.stdout.readline()

    def send_line(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def count(self, number: int) -> None:
        self.send_line(str(number))
        self.read_line()

    def end(self) -> None:
        self.send_line("stop")
        self.process.communicate(timeout=60)

    def __enter__(self) -> Sibling:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def sibling(tmp_path: Path) -> Iterator[Sibling]:
    with Sibling(tmp_path) as started:
        yield started


def requests_of(meter: Meter) -> float:
    return read(meter).get("serving_ui_requests_total{endpoint=chat,status=200}", 0)


def test_counts_of_another_process_are_added_and_stay_after_its_end(tmp_path: Path, sibling: Sibling):
    meter = Meter(tmp_path)
    meter.record(record())
    sibling.count(3)
    wait_until(lambda: requests_of(meter) == 4, what="the sibling's counts")
    assert read(meter)["serving_ui_circuit_open"] == 1
    sibling.count(2)
    sibling.end()
    assert [requests_of(meter) for _ in range(3)] == [6, 6, 6]
    assert "serving_ui_circuit_open" not in read(meter)


def test_the_last_counts_of_a_process_that_ends_during_a_scrape_are_added(
    tmp_path: Path, sibling: Sibling, monkeypatch: pytest.MonkeyPatch
):
    meter = Meter(tmp_path)
    sibling.count(3)
    wait_until(lambda: requests_of(meter) == 3, what="the sibling's counts")
    sibling.count(2)
    is_alive = metering._is_alive

    def look(lock: Path) -> bool:
        sibling.end()
        return is_alive(lock)

    monkeypatch.setattr(metering, "_is_alive", look)
    assert requests_of(meter) == 5
    assert requests_of(meter) == 5
    assert not list(tmp_path.glob("*.lock"))


def test_a_sum_does_not_fall_when_another_process_is_killed(tmp_path: Path, sibling: Sibling):
    meter = Meter(tmp_path)
    sibling.count(5)
    wait_until(lambda: requests_of(meter) == 5, what="the sibling's counts")
    sibling.process.kill()
    sibling.process.wait()
    assert requests_of(meter) == 5
    with Sibling(tmp_path) as successor:
        successor.count(1)
        successor.end()
    assert requests_of(meter) == 6


def test_counts_that_were_added_and_not_deleted_are_not_added_again(tmp_path: Path, sibling: Sibling):
    """A process that adds the counts of an ended one may be killed before it deletes their file."""
    meter = Meter(tmp_path)
    sibling.count(4)
    sibling.end()
    (left,) = tmp_path.glob("*.counts")
    content = left.read_bytes()
    assert requests_of(meter) == 4
    left.write_bytes(content)
    assert [requests_of(meter), requests_of(meter)] == [4, 4]
    assert not left.exists()


def test_a_truncated_file_is_ignored(tmp_path: Path):
    (tmp_path / "strange.counts").write_bytes(b'{"counts": {')
    meter = Meter(tmp_path)
    meter.record(record())
    assert requests_of(meter) == 1


def test_an_unusable_folder_only_hides_the_counts_of_other_processes(tmp_path: Path):
    (tmp_path / "metrics").write_text("a file stands in its place")
    meter = Meter(tmp_path / "metrics")
    meter.start()
    meter.record(record())
    assert requests_of(meter) == 1
    meter.stop()


def test_a_full_disk_is_reported_once_until_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(metering, "WRITE_INTERVAL_SECONDS", 0.02)
    meter = Meter(tmp_path)
    attempts: list[int] = []

    def count_attempt() -> list[Gauge]:
        attempts.append(1)
        return []

    meter.gauges.append(count_attempt)
    meter.start()
    with room_for(0):
        meter.record(record())
        wait_until(meter.check_health, what="the report of the failure")
        attempts.clear()
        wait_until(lambda: len(attempts) > 3, what="further attempts")
        assert "(file too large)" in str(meter.check_health())
        assert "Make room there" in str(meter.check_health())
    wait_until(lambda: meter.check_health() is None, what="the counts to be shared again")
    meter.stop()
    assert [bool(record.exc_info) for record in caplog.records] == [False]
    assert "Make room there" in caplog.text
    assert requests_of(Meter(tmp_path)) == 1


@pytest.mark.parametrize(
    ("token", "is_open", "status"),
    [
        (None, False, 401),
        ("token-wrong", False, 401),
        ("token-owner", False, 403),
        ("token-admin", False, 200),
        (None, True, 200),
    ],
)
def test_metrics_are_for_admins_unless_the_network_is_trusted(
    tmp_path: Path, token: str | None, is_open: bool, status: int
):
    meter = Meter(tmp_path)
    exposition = Exposition(meter, SnapshotHolder(first_snapshot()), is_open=is_open)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await exposition(scope, receive, send)
            return
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})

    with serve(app) as server:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        reply = requests.get(f"{server.url}/metrics", headers=headers, timeout=60)
    assert reply.status_code == status
    if status == 200:
        assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert "serving_ui_gateway_overhead_seconds_count" in samples(reply.text)
    else:
        assert json.loads(reply.text)["error_code"] in ("UNAUTHENTICATED", "PERMISSION_DENIED")
