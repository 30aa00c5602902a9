"""The supervisor with scripts as children: ended children are restarted, and no process outlives it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT
from tests.support.program import Program, running_program
from tests.support.waiting import command_line, is_alive, wait_until

SUPERVISE = """
import sys
from serving_ui.bootstrap.errors import StartError
from serving_ui.processes.programs import Program
from serving_ui.processes.supervisor import Supervisor
script, folder, stop_seconds = sys.argv[1:]
command = [sys.executable, "-S", "-c", script, folder]
import os
ready = lambda: os.path.exists(os.path.join(folder, "ready"))
others = {"model": Program([sys.executable, "-S", "-c", "raise SystemExit(7)"], is_optional=True)} if script.endswith("# with another") else {}
try:
    Supervisor({"worker": Program(command, stop_seconds=float(stop_seconds)), **others}, is_ready=ready, when_ready=lambda: print("ready", flush=True)).run()
except StartError as problem:
    sys.exit(str(problem))
print("stopped", flush=True)
"""
GOOD = """
import os, sys, threading
open(os.path.join(sys.argv[1], "ready"), "w").close()
print("here I am", flush=True)
threading.Event().wait()
"""
WITH_A_CHILD_OF_ITS_OWN = """
import os, subprocess, sys, threading
subprocess.Popen([sys.executable, "-S", "-c", "import signal, threading; signal.signal(15, signal.SIG_IGN); threading.Event().wait()"])
open(os.path.join(sys.argv[1], "ready"), "w").close()
threading.Event().wait()
"""
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)" + GOOD
BROKEN = "import sys; print('the reason', file=sys.stderr); sys.exit(3)"


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[object]:
    opened = []

    def start(script: str, stop_seconds: float = 6) -> Program:
        command = [sys.executable, "-c", SUPERVISE, script, str(tmp_path), str(stop_seconds)]
        context = running_program(command, cwd=ROOT, env=os.environ)
        opened.append(context)
        return context.__enter__()

    yield start
    for context in opened:
        context.__exit__(None, None, None)


def children(program: Program, words: str = "here I am") -> list[int]:
    return [child for child in program.descendants() if words in command_line(child)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_all_processes(supervise, number):
    program = supervise(GOOD)
    program.wait_for_line("ready")
    left = program.descendants()
    program.signal(number)
    assert program.wait_for_exit() == 0
    assert program.out[-1] == "stopped"
    assert "Traceback" not in program.text
    wait_until(lambda: not any(map(is_alive, left)), what="the end of every process")


def test_ctrl_c_stops_all_processes(supervise):
    program = supervise(GOOD)
    program.wait_for_line("ready")
    program.signal_group(signal.SIGINT)
    assert program.wait_for_exit() == 0
    assert program.err == ["here I am"]


def test_a_killed_child_is_restarted(supervise):
    program = supervise(GOOD)
    program.wait_for_line("ready")
    (first,) = children(program)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: children(program) not in ([], [first]), what="another child")
    wait_until(lambda: program.err.count("here I am") == 2, what="the output of the second child")
    assert "The worker was ended by SIGKILL; starting it again." in program.err


def test_processes_started_by_a_killed_child_end_with_it(supervise):
    program = supervise(WITH_A_CHILD_OF_ITS_OWN)
    program.wait_for_line("ready")
    mine = children(program, "subprocess")
    grandchildren = [child for child in children(program, "SIG_IGN") if child not in mine]
    os.kill(mine[0], signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, grandchildren)), what="the end of the grandchild")


def test_a_child_that_fails_repeatedly_ends_the_supervisor_with_its_output(supervise):
    program = supervise(BROKEN)
    assert program.wait_for_exit() == 1
    output = program.text
    assert "The worker ended 5 times in a row just after its start, so everything is stopped." in output
    assert "It ended with exit code 3, and its last lines were:\n    the reason" in output
    assert "Traceback" not in output


def test_an_optional_child_that_fails_repeatedly_stops_nothing(supervise):
    program = supervise(GOOD + "# with another")
    program.wait_for_line("ready")
    failure = "The model ended with exit code 7; starting it again."
    wait_until(lambda: program.err.count(failure) > 5, what="more failures than a required child may have")
    assert program.process.poll() is None
    assert len(children(program)) == 1


def test_a_child_that_ignores_sigterm_is_killed(supervise):
    program = supervise(DEAF)
    program.wait_for_line("ready")
    left = program.descendants()
    program.signal(signal.SIGTERM)
    assert program.wait_for_exit() == 0
    wait_until(lambda: not any(map(is_alive, left)), what="the end of every process")


def test_a_second_ctrl_c_kills_immediately(supervise):
    program = supervise(DEAF, stop_seconds=300)
    program.wait_for_line("ready")
    program.signal(signal.SIGINT)
    program.signal(signal.SIGINT)
    program.signal(signal.SIGTERM)
    assert program.wait_for_exit() == 0


@pytest.mark.parametrize("script", [GOOD, DEAF, WITH_A_CHILD_OF_ITS_OWN], ids=["good", "deaf", "family"])
def test_a_killed_supervisor_leaves_no_orphan(supervise, script):
    program = supervise(script)
    program.wait_for_line("ready")
    left = program.descendants()
    assert len(left) >= 2
    program.signal(signal.SIGKILL)
    program.wait_for_exit()
    wait_until(lambda: not any(map(is_alive, left)), what="the end of every process")


def test_a_supervisor_continues_without_its_reaper(supervise):
    program = supervise(GOOD)
    program.wait_for_line("ready")
    (reaper,) = children(program, "reaper_script")
    os.kill(reaper, signal.SIGKILL)
    (first,) = children(program)
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: program.err.count("here I am") == 2, what="the output of the second child")
    program.signal(signal.SIGTERM)
    assert program.wait_for_exit() == 0
