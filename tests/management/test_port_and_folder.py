"""The port and the data folder, which are checked before anything starts."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving_ui.bootstrap.errors import StartError
from serving_ui.management import data_folder
from serving_ui.server import ports
from serving_ui.server.address import ListenAddress, export, parse
from tests.architecture.sources import ROOT
from tests.support.waiting import free_port


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken


def test_checking_a_free_port_releases_it():
    options = ListenAddress(host="127.0.0.1", port=free_port())
    ports.check_free(options)
    ports.check_free(options)


def test_a_port_in_use_is_reported(listener):
    number = listener.getsockname()[1]
    with pytest.raises(StartError) as problem:
        ports.check_free(ListenAddress(host="127.0.0.1", port=number))
    assert str(problem.value) == (
        f"Port {number} is in use by another program. Stop that one, or choose a port with --port."
    )


def test_a_port_used_with_so_reuseport_is_reported():
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StartError, match="is in use by another program"):
            ports.check_free(ListenAddress(host="127.0.0.1", port=taken.getsockname()[1]))


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_that_this_machine_does_not_have_is_refused(host):
    with pytest.raises(StartError, match="is not an address of this machine"):
        ports.check_free(ListenAddress(host=host, port=free_port()))


def test_a_host_with_several_addresses_is_opened_on_each():
    options = ListenAddress(host="localhost", port=free_port())
    opened = ports.open_all(options)
    found = {each[4][0] for each in socket.getaddrinfo("localhost", options.port, type=socket.SOCK_STREAM)}
    assert {each.getsockname()[0] for each in opened} == found
    for each in opened:
        each.close()


def test_a_port_that_does_not_answer_is_not_ready():
    assert not ports.is_ready(ListenAddress(host="127.0.0.1", port=free_port()))


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", ""])
def test_an_invalid_port_is_refused_with_a_message(port, capsys):
    with pytest.raises(SystemExit):
        parse(["--port", port] if not port.startswith("-") else [f"--port={port}"])
    assert "is not a port. Give a number from 1 to 65535." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "page", "local"),
    [
        ("127.0.0.1", "http://127.0.0.1:81", "http://127.0.0.1:81"),
        ("0.0.0.0", "http://0.0.0.0:81", "http://127.0.0.1:81"),
        ("::", "http://[::]:81", "http://[::1]:81"),
    ],
)
def test_a_listener_on_every_address_is_found_on_loopback(host, page, local):
    options = ListenAddress(host=host, port=81)
    assert (options.url, options.local_url) == (page, local)


def test_a_setting_is_the_default_and_the_command_line_wins(monkeypatch):
    monkeypatch.setenv("SERVING_UI_PORT", "9000")
    monkeypatch.setenv("SERVING_UI_HOST", "::1")
    assert parse([]) == ListenAddress(host="::1", port=9000)
    assert parse(["--port", "9001", "--host", "127.0.0.1"]) == ListenAddress(host="127.0.0.1", port=9001)
    monkeypatch.delenv("SERVING_UI_PORT")
    monkeypatch.delenv("SERVING_UI_HOST")
    assert parse([]) == ListenAddress(host="127.0.0.1", port=8080)


def test_values_set_by_a_person_override_defaults(monkeypatch):
    for name in ("SERVING_UI_HOST", "SERVING_UI_PORT", "SERVING_UI_GATEWAY_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SERVING_UI_BASE_URL_SANDBOX", "http://127.0.0.1:9")
    export(ListenAddress(host="127.0.0.1", port=82))

    assert os.environ["SERVING_UI_BASE_URL_SANDBOX"] == "http://127.0.0.1:9"
    assert os.environ["SERVING_UI_GATEWAY_URL"] == "http://127.0.0.1:82"
    assert os.environ["SERVING_UI_PORT"] == "82"


def test_a_new_data_folder_is_readable_by_its_owner_only(tmp_path):
    folder = tmp_path / "deep" / "data"
    data_folder.make(str(folder))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not list(folder.iterdir())


def test_an_existing_folder_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o755)
    data_folder.make(str(tmp_path))
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_data_folder_that_cannot_be_created_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StartError) as problem:
        data_folder.make(str(tmp_path / "file" / "data"))
    assert str(problem.value) == (
        f"The data folder {tmp_path / 'file' / 'data'} cannot be written (not a directory). "
        "Give yourself the right to write there, or name another folder in SERVING_UI_DATA."
    )


def test_a_data_folder_that_refuses_files_is_named():
    with pytest.raises(StartError, match=r"The data folder /proc cannot be written"):
        data_folder.make("/proc")


def test_the_data_folder_is_beside_manage_py_unless_named(monkeypatch, tmp_path):
    monkeypatch.delenv("SERVING_UI_DATA", raising=False)
    assert data_folder.path("/checkout") == "/checkout/data"
    monkeypatch.setenv("SERVING_UI_DATA", str(tmp_path))
    assert data_folder.path("/checkout") == str(tmp_path)


def test_a_data_folder_can_be_locked_once(tmp_path):
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys; from serving_ui.management import data_folder as d; d.claim(sys.argv[1]); print(flush=True); input()",
            str(tmp_path),
        ],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout and holder.stdout.readline()
        with pytest.raises(StartError) as problem:
            data_folder.claim(str(tmp_path))
        holder.kill()  # the lock is released however the process ends
    assert str(problem.value) == (
        f"Another `manage.py up` already uses the data folder {tmp_path}. "
        "Stop that one, or name another folder in SERVING_UI_DATA."
    )
    data_folder.claim(str(tmp_path))
    assert Path(tmp_path / data_folder.LOCK).exists()


@pytest.mark.parametrize("command", ["check_usage", "create_token somebody@example.com", "migrate"])
def test_an_unreachable_database_is_reported_in_one_sentence(tmp_path: Path, command: str):
    url = f"postgres://nobody@127.0.0.1:{free_port()}/none"
    env = {**os.environ, "SERVING_UI_DATA": str(tmp_path), "SERVING_UI_DATABASE_URL": url}
    done = subprocess.run(
        [sys.executable, "manage.py", *command.split()],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("The database cannot be used. It reported: connection failed")
    assert "Traceback" not in done.stderr
