"""The fleet with scripts as workers: their number stays, replacements fail no client, and repeated failures are reported."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.support.program import Program, running_program
from tests.support.waiting import command_line, is_alive, wait_until

RUN = """
import os, socket, sys
from serving_ui.processes.fleet import Fleet
from serving_ui.bootstrap.errors import StartError
script, folder = sys.argv[1:]
def command(listener, ready, successor):
    return [sys.executable, "-S", "-c", script, folder, str(ready), str(successor), str(listener)]
try:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _each in range(2)]
    print("listening", *(each.getsockname()[1] for each in sockets), flush=True)
    Fleet(command, sockets=sockets, env=None, stop_seconds=5, when_ready=lambda: print("ready", flush=True)).run()
except StartError as problem:
    sys.exit(str(problem))
print("stopped", flush=True)
"""
GOOD = """
import os, sys, threading
if sys.argv[3] == "True" and os.path.exists(os.path.join(sys.argv[1], "bad successors")):
    sys.exit(4)
if sys.argv[3] == "True" and os.path.exists(os.path.join(sys.argv[1], "slow successors")):
    print("not yet", flush=True)
    while os.path.exists(os.path.join(sys.argv[1], "slow successors")):
        threading.Event().wait(0.02)
os.write(int(sys.argv[2]), b"!")
print("here I am", flush=True)
threading.Event().wait()
"""
LATE = """
import os, socket, sys
listener = socket.socket(fileno=int(sys.argv[4]))
os.write(int(sys.argv[2]), b"!")
while True:  # until nobody gets in any more
    try:
        socket.create_connection(listener.getsockname(), timeout=0.1).close()
    except TimeoutError:
        break
while True:
    listener.accept()[0].sendall(b"served")
"""
BROKEN = "import sys; print('the reason', file=sys.stderr); sys.exit(3)"
Start = Callable[[str], Program]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    opened = []

    def begin(script: str) -> Program:
        context = running_program([sys.executable, "-c", RUN, script, tmp_path], cwd=ROOT, env=os.environ)
        opened.append(context)
        return context.__enter__()

    yield begin
    for context in opened:
        context.__exit__(None, None, None)


def workers(program: Program) -> set[int]:
    return {child for child in program.descendants() if "here I am" in command_line(child)}


def test_sighup_replaces_all_workers_one_by_one(start: Start):
    program = start(GOOD)
    program.wait_for_line("ready")
    before = workers(program)
    assert len(before) == 2
    program.signal(signal.SIGHUP)
    wait_until(lambda: len(now := workers(program)) == 2 and now.isdisjoint(before), what="two other workers")
    program.signal(signal.SIGTERM)
    assert program.wait_for_exit() == 0
    assert program.out[1:] == ["ready", "stopped"]


def test_a_second_replacement_request_is_executed_after_the_first(start: Start, tmp_path: Path):
    program = start(GOOD)
    program.wait_for_line("ready")
    (tmp_path / "slow successors").touch()
    program.signal(signal.SIGHUP)
    wait_until(lambda: "not yet" in program.err, what="the first successor")
    program.signal(signal.SIGHUP)
    (tmp_path / "slow successors").unlink()
    wait_until(lambda: program.err.count("here I am") == 6, what="four successors in the output")
    wait_until(lambda: len(workers(program)) == 2, what="only the last two workers")


def test_a_killed_worker_is_replaced(start: Start):
    program = start(GOOD)
    program.wait_for_line("ready")
    before = workers(program)
    os.kill(min(before), signal.SIGKILL)
    wait_until(lambda: len(workers(program) - before) == 1, what="another worker")
    assert len(workers(program)) == 2


def test_if_a_successor_fails_the_old_workers_stay(start: Start, tmp_path: Path):
    program = start(GOOD)
    program.wait_for_line("ready")
    before = workers(program)
    (tmp_path / "bad successors").touch()
    program.signal(signal.SIGHUP)
    sentence = "The new worker ended with exit code 4 before it was ready. The old ones keep running."
    wait_until(lambda: sentence in program.err, what="the reason why nothing was replaced")
    assert workers(program) == before
    (tmp_path / "bad successors").unlink()
    program.signal(signal.SIGHUP)
    wait_until(lambda: len(now := workers(program)) == 2 and now.isdisjoint(before), what="two other workers")


def test_a_worker_that_dies_while_its_successor_starts_is_replaced_once(start: Start, tmp_path: Path):
    program = start(GOOD)
    program.wait_for_line("ready")
    before = workers(program)
    (tmp_path / "slow successors").touch()
    program.signal(signal.SIGHUP)
    wait_until(lambda: "not yet" in program.err, what="the first successor")
    for old in before:
        os.kill(old, signal.SIGKILL)
    wait_until(lambda: program.err.count("not yet") == 2, what="the replacement of one worker")
    (tmp_path / "slow successors").unlink()
    wait_until(lambda: program.err.count("here I am") == 4, what="both workers")
    assert len(workers(program)) == 2


def test_repeated_failures_end_the_fleet_with_the_workers_output(start: Start):
    program = start(BROKEN)
    assert program.wait_for_exit() == 1
    assert (
        "The workers ended 5 times in a row just after their start, so everything is stopped." in program.text
    )
    assert "The last one ended with exit code 3, and its last lines were:\n    the reason" in program.text
    assert "Traceback" not in program.text


def test_connections_before_the_end_are_served(start: Start):
    program = start(LATE)
    ports = [int(number) for number in program.wait_for_line("listening").split()[1:]]
    program.wait_for_line("ready")
    with contextlib.ExitStack() as opened:
        callers = [
            opened.enter_context(socket.create_connection(("127.0.0.1", each), timeout=60)) for each in ports
        ]
        program.signal(signal.SIGTERM)
        assert [caller.recv(10) for caller in callers] == [b"served", b"served"]
    assert program.wait_for_exit() == 0


def test_no_process_outlives_the_fleet(start: Start):
    program = start(GOOD)
    program.wait_for_line("ready")
    left = program.descendants()
    program.signal(signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, left)), what="the end of every process")
