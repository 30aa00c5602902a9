"""Heartbeats: a child that hangs is ended and replaced; children that were stopped together with their parent are not."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue

import pytest
from celery.concurrency.thread import TaskPool

from serving_ui.processes import celery_liveness, liveness, programs
from serving_ui.processes.child import Child
from serving_ui.processes.liveness import (
    MAX_STEP_SECONDS,
    SILENCE_SECONDS,
    START_SECONDS,
    AwakeClock,
    Heartbeat,
    HeartbeatMonitor,
)
from serving_ui.processes.ray_cluster import RayCluster
from tests.architecture.sources import ROOT
from tests.support.program import Program, running_program
from tests.support.waiting import command_line, descendants, free_port, is_alive, wait_until

SCRIPT = """
import os, socket, sys, time
from serving_ui.processes.liveness import Heartbeat
heartbeat = Heartbeat()
if sys.argv[1] != "-":
    listener = socket.socket(fileno=int(sys.argv[1]))
    listener.setblocking(False)
if sys.argv[2] != "-":
    os.write(int(sys.argv[2]), b"!")
print("here I am", flush=True)
while True:
    heartbeat.send()
    try:
        listener.accept()[0].sendall(b"served by %d" % os.getpid())
    except (BlockingIOError, NameError):
        time.sleep(0.02)
"""
FLEET = """
import socket, sys
from serving_ui.processes.fleet import Fleet
port = int(sys.argv[2])
sockets = [socket.create_server(("127.0.0.1", port), reuse_port=True) for _each in range(2)]
def command(listener, ready, successor):
    return [sys.executable, "-c", sys.argv[1], str(listener), str(ready)]
Fleet(command, sockets=sockets, env=None, stop_seconds=5, when_ready=lambda: print("ready", flush=True)).run()
"""
SUPERVISOR = """
import socket, sys
from serving_ui.processes.programs import Program
from serving_ui.processes.supervisor import Supervisor
port = int(sys.argv[2])
listener = socket.create_server(("127.0.0.1", port))
command = [sys.executable, "-c", sys.argv[1]]
programs = {
    "server": Program([*command, str(listener.fileno()), "-"], files=(listener.fileno(),)),
    "worker": Program([*command, "-", "-"]),
}
Supervisor(programs, sockets=[listener], is_ready=lambda: True, when_ready=lambda: print("ready", flush=True)).run()
"""


@pytest.fixture(params=[FLEET, SUPERVISOR], ids=["fleet", "supervisor"])
def program(request: pytest.FixtureRequest) -> Iterator[tuple[Program, int]]:
    """Two children that send heartbeats, and the port."""
    port = free_port()
    with running_program(
        [sys.executable, "-c", request.param, SCRIPT, str(port)], cwd=ROOT, env=os.environ
    ) as started:
        started.wait_for_line("ready")
        wait_until(lambda: started.err.count("here I am") == 2, what="both children")
        yield started, port


def children(program: Program) -> set[int]:
    return {each for each in program.descendants() if "here I am" in command_line(each)}


def read_greeting(port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as caller:
        return caller.recv(100)


@pytest.mark.slow
def test_a_hanging_child_is_replaced_and_its_clients_are_answered_by_the_next(program: tuple[Program, int]):
    started, port = program
    before = children(started)
    server = int(read_greeting(port).split()[-1])
    os.kill(server, signal.SIGSTOP)
    answers = [read_greeting(port) for _each in range(20)]
    assert all(answer.startswith(b"served by ") for answer in answers)
    assert str(server).encode() not in {answer.split()[-1] for answer in answers}
    wait_until(lambda: len(now := children(started)) == 2 and server not in now, what="another child")
    assert len(children(started) & before) == 1
    assert f"(process {server}) has sent no heartbeat for 10 s or more. It is killed." in started.text


@pytest.mark.parametrize("has_heartbeats", [True, False])
def test_only_a_child_that_sends_heartbeats_is_killed_for_silence(has_heartbeats: bool):
    ended: SimpleQueue[Child] = SimpleQueue()
    child = Child(
        name="quiet",
        command=[sys.executable, "-c", "import time; time.sleep(600)"],
        env=None,
        on_exit=ended.put,
        stop_seconds=1,
        has_heartbeats=has_heartbeats,
    )
    child.start()
    try:
        child.check_heartbeat(START_SECONDS + 1)
        if has_heartbeats:
            assert ended.get(timeout=60) is child
        else:
            assert child.is_running()
    finally:
        child.kill()
        wait_until(lambda: child.has_ended, what="the end of the child")
        if child.heartbeats:
            child.heartbeats.read(0)  # the end of the pipe, which closes it


def test_programs_that_send_no_heartbeats_say_so():
    cluster = RayCluster("python", "token", (1, 2, 3, 4, 5)).program()
    models = programs.local_models(root="root", data_folder="data")
    for program in (cluster, models):
        module = importlib.import_module(program.command[program.command.index("-m") + 1])
        assert program.has_heartbeats == hasattr(module, "Heartbeat")


@pytest.mark.slow
@pytest.mark.faults
def test_the_reaper_is_replaced_if_it_hangs_or_ends(program: tuple[Program, int]):
    started, _port = program
    left = children(started)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        (reaper,) = [each for each in started.descendants() if "reaper_script" in command_line(each)]
        os.kill(reaper, number)
        wait_until(lambda reaper=reaper: not is_alive(reaper), what="the end of the first reaper", seconds=30)  # type: ignore[misc]
        wait_until(
            lambda: any("reaper_script" in command_line(each) for each in started.descendants()),
            what="another reaper",
        )
    assert children(started) == left
    started.signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, left)), what="the end of both children")


@pytest.mark.slow
@pytest.mark.faults
def test_no_child_is_replaced_after_all_processes_were_stopped_together(program: tuple[Program, int]):
    started, port = program
    everybody = {started.process.pid, *descendants(started.process.pid)}
    for process in everybody:
        os.kill(process, signal.SIGSTOP)
    over = time.monotonic() + SILENCE_SECONDS + 2
    wait_until(lambda: time.monotonic() > over, what="as much time as on a suspended machine", seconds=60)
    for process in sorted(everybody):  # the parent first, which is the harder case
        os.kill(process, signal.SIGCONT)
    over = time.monotonic() + 3  # longer than several checks of the parent
    wait_until(
        lambda: time.monotonic() > over and read_greeting(port).startswith(b"served by "), what="an answer"
    )
    assert {started.process.pid, *descendants(started.process.pid)} == everybody
    assert "has sent no heartbeat" not in started.text


def test_missing_heartbeats_count_only_while_the_parent_runs(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = AwakeClock()
    now[0] += 0.5
    assert clock.passed() == 0.5
    now[0] += 3600
    assert clock.passed() == MAX_STEP_SECONDS


def test_the_timeout_for_the_first_heartbeat_is_longer():
    read_end, write_end = os.pipe()
    monitor = HeartbeatMonitor(read_end)
    monitor.read(START_SECONDS)
    assert not monitor.is_overdue
    os.write(write_end, b".")
    monitor.read(1.0)
    assert monitor.has_started
    monitor.read(SILENCE_SECONDS)
    assert not monitor.is_overdue
    monitor.read(0.5)
    assert monitor.is_overdue
    os.write(write_end, b".")
    monitor.read(0.5)
    assert not monitor.is_overdue
    os.close(write_end)
    monitor.read(1.0)


def test_a_parent_that_does_not_read_does_not_block_its_child(monkeypatch: pytest.MonkeyPatch):
    read_end, write_end = os.pipe()
    monkeypatch.setenv(liveness.FILE, str(write_end))
    monkeypatch.setattr(liveness, "EVERY_SECONDS", 0.0)
    heartbeat = Heartbeat()
    for _each in range(70_000):  # a pipe takes 65,536
        heartbeat.send()
    os.close(read_end)
    heartbeat.send()
    os.close(write_end)


class _Consumer(celery_liveness.Consumer):
    """Has no broker: the tests call only the method that sends heartbeats."""

    def __init__(self, pool: TaskPool) -> None:
        self.pool = pool
        self._heartbeat = Heartbeat()
        self._is_probe_running = False
        self._pool_answered_at = time.monotonic()


def test_a_worker_whose_pool_takes_no_tasks_sends_no_heartbeats(monkeypatch: pytest.MonkeyPatch):
    read_end, write_end = os.pipe()
    monkeypatch.setenv(liveness.FILE, str(write_end))
    monkeypatch.setattr(liveness, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(celery_liveness, "POOL_SECONDS", 0.5)
    pool, held = TaskPool(2), threading.Event()
    consumer = _Consumer(pool)
    os.set_blocking(read_end, False)

    def sends_heartbeats() -> bool:
        while True:
            try:
                os.read(read_end, 4096)
            except BlockingIOError:
                break
        consumer._probe_pool()
        try:
            return bool(os.read(read_end, 1))
        except BlockingIOError:
            return False

    try:
        wait_until(sends_heartbeats, what="heartbeats")
        for _thread in range(2):
            pool.apply_async(held.wait, callback=lambda _result: None)
        wait_until(lambda: not sends_heartbeats(), what="no heartbeats")
        held.set()
        wait_until(sends_heartbeats, what="heartbeats again")
    finally:
        held.set()
        pool.on_stop()
        os.close(read_end)
        os.close(write_end)
