"""A wrong value of a setting is reported in one sentence that names the setting and the valid values, and shows no secret."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from serving_ui.lib import env
from serving_ui.lib.env import EnvError
from tests.architecture.sources import ROOT

KEY = "x" * 43 + "="
WRONG: dict[str, tuple[str, ...]] = {
    "HOST": ("http://127.0.0.1", "127.0.0.1:80", "two words"),
    "PORT": ("http", "0", "65536", "8080.0", "tcp://10.0.0.1:8080", "¹"),
    "DEBUG": ("maybe", "2", "nein"),
    "SECRET_KEY": ("hidden", "hidden" * 5, "h" * 64),
    "VAULT_KEYS": ("hidden", "id hidden", f"id {KEY[1:]}", "a b hidden"),
    "ALLOWED_HOSTS": (
        "https://x.example",
        "x.example:443",
        "x.example y.example",
        "*",
        "x.example/serving",
        "*.x.example",
    ),
    "PUBLIC_URL": (
        "x.example",
        "https://x.example/serving",
        "ftp://x.example",
        "https://",
        "https://x.example:port",
        "https://x.example?a=b",
        "https://x.exam ple",
        "https://me:hidden@x.example",
    ),
    "BEHIND_PROXY": ("proxy", "2", "127.0.0.1"),
    "DATABASE_URL": (
        "hidden",
        "mysql://me:hidden@db/name",
        "postgres://me:hidden@db",
        "postgres://me:hid#den@db/name",
        "postgres://me:hidden@db:port/name",
        "sqlite://",
        "sqlite:///hidden.sqlite3",
    ),
    "BROKER_URL": (
        "hidden",
        "http://hidden",
        "redis://me:hidden@h:port/0",
        "redis://hidden:6379/first",
        "redis://",
    ),
    "REDIS_URL": (
        "hidden",
        "amqp://me:hidden@h",
        "redis://me:hidden@h:port/0",
        "redis://hidden:6379/first",
        "redis://",
    ),
    "EGRESS_ALLOW": (
        "http://models.internal",
        "10.0.0.0/33",
        "models.internal:port",
        "models.internal:0",
        "models.internal:",
        "*.internal",
        "10.0.0.5 10.0.0.6",
        "me@models.internal",
    ),
    "EGRESS_LOOPBACK": ("2", "127.0.0.1", "maybe"),
    "BASE_URL_OPENAI": ("nowhere", "http://127.0.0.1:9000/v1", "ws://127.0.0.1", "http://me:hidden@h"),
    "BASE_URL_OPENIA": ("http://127.0.0.1:9000", "", "nowhere"),
    "GATEWAY_URL": ("8081", "127.0.0.1:8081", "http://127.0.0.1:99999", "http://me:hidden@h"),
    "RAY_ADDRESS": (
        "ray-head:8265",
        "ray://ray-head:10001",
        "http://ray-head:8265/api",
        "http://me:hidden@h",
    ),
    "RAY_TOKEN": ("hidden token", "hiddén", "hidden\ttoken"),
    "RAY_PROXIES": ("ray-1:8000", "http://ray-1:8000,ray-2:8000", "http://me:hidden@h", "http://ray-1:port"),
    "DEPLOY_DEADLINE_SECONDS": ("4", "half an hour", "86401"),
    "MLFLOW_TRACKING_URI": ("mlflow:5000", "databricks", "sqlite:///mlflow.db", "http://me:hidden@h"),
    "MLFLOW_TRACKING_TOKEN": ("hidden token", "hiddén", "hidden\ttoken"),
    "MLFLOW_TRACKING_USERNAME": ("me", "me:hidden", ":"),
    "MLFLOW_TRACKING_PASSWORD": ("hidden", "hidden:hidden", "hiddén"),  # without a user
    "CHECK_DEADLINE_SECONDS": ("0", "-5", "1.5", "ten", "3601", "9" * 5000),
    "CONTROL_BODY_BYTES": ("4 MB", "0", "65535", "1073741825", "1e6"),
    "QUERY_BODY_BYTES": ("16MB", "-1", "65535", "1073741825", "unlimited"),
    "METRICS": ("1", "closed", "public"),
    "OTLP_ENDPOINT": ("collector", "collector:4318", "grpc://collector:4317", "https://me:hidden@collector"),
    "USAGE_ROW_DAYS": ("0", "-1", "two weeks", "36501"),
    "USAGE_MINUTE_DAYS": ("13", "0", "a year"),
    "LOG_LEVEL": ("LOUD", "10", "warn,error"),
}
COMMANDS = (
    "manage.py up",
    "manage.py gateway",
    "manage.py create_token ada@example.com",
    "manage.py sign_in_link ada@example.com",
    "manage.py check_usage",
    "manage.py migrate",
    "-m celery --app serving_ui worker",
    "-m celery --app serving_ui beat",
    "-m serving_ui.server --port 9",
    "-m serving_ui.server.gateway_worker --listen 0 --ready 1 --drain-seconds 1",
)


def run(command: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SERVING_UI_")}
    ours = {
        "SERVING_UI_DATA": str(folder),
        **{f"SERVING_UI_{name}": value for name, value in settings.items()},
    }
    return subprocess.run(
        [sys.executable, *command.split()],
        cwd=ROOT, env={**clean, **ours}, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def problem(monkeypatch: pytest.MonkeyPatch, folder: Path, **settings: str) -> str:
    """The error message of the settings, which every command loads first."""
    monkeypatch.setenv("SERVING_UI_DATA", str(folder))
    for name, value in settings.items():
        monkeypatch.setenv(f"SERVING_UI_{name}", value)
    with pytest.raises(EnvError) as refusal:
        runpy.run_path(str(ROOT / "serving_ui" / "settings.py"))
    return str(refusal.value)


def cases() -> list[tuple[str, str]]:
    return [(name, value) for name, values in WRONG.items() for value in values]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.mark.parametrize(("name", "value"), cases())
def test_a_wrong_value_is_refused_with_a_message(monkeypatch, folder: Path, name: str, value: str):
    message = problem(monkeypatch, folder, **{name: value})
    assert f"SERVING_UI_{name}" in message
    assert message.endswith(".")
    assert "hidden" not in message
    assert "hid#den" not in message


def described() -> set[str]:
    import serving_ui.settings  # noqa: F401 -- reads all of them

    return {setting.name for setting in env.described()} - {"BASE_URL_<PROVIDER>"}


def test_every_setting_has_three_wrong_values_in_the_table():
    assert all(len(values) >= 3 for values in WRONG.values())
    assert described() - {"DATA"} <= WRONG.keys()


def test_every_setting_that_is_read_is_described():
    assert described() == {name for name in env.known_settings() if not name.startswith("BASE_URL_")}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("name", "value"), [("PUBLIC_URL", "x.example"), ("SECRET_KEY_FILE", "/gone")])
def test_no_command_ends_in_a_traceback(tmp_path: Path, command: str, name: str, value: str):
    done = run(command, tmp_path, **{name: value})
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"SERVING_UI_{name} ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    ["manage.py up", "manage.py create_token ada@example.com", "-m serving_ui.server --port 9"],
)
def test_a_data_folder_that_cannot_be_created_is_named(tmp_path: Path, command: str):
    (tmp_path / "file").touch()
    for wrong in (tmp_path / "file", tmp_path / "file" / "data", Path("/proc/data")):
        done = run(command, wrong)
        assert (done.returncode, done.stdout) == (1, "")
        assert str(wrong) in done.stderr
        assert "Traceback" not in done.stderr


def test_a_value_can_be_read_from_a_file(tmp_path: Path):
    (tmp_path / "value").write_text("https://x.example\n")
    done = run(
        "-c print(__import__('serving_ui.settings').settings.PUBLIC_URL)",
        tmp_path,
        PUBLIC_URL_FILE=str(tmp_path / "value"),
    )
    assert (done.stdout, done.stderr) == ("https://x.example\n", "")
    (tmp_path / "value").write_text("http://127.0.0.1:9\n")
    done = run(
        "-c print(__import__('serving_ui.settings').settings.PROVIDER_ADDRESSES['anthropic'])",
        tmp_path,
        BASE_URL_ANTHROPIC_FILE=str(tmp_path / "value"),
    )
    assert (done.stdout, done.stderr) == ("http://127.0.0.1:9\n", "")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "which is empty"), (b" \n", "which is empty"), (b"\xff\xfe", "which is not UTF-8 text")],
)
def test_an_empty_file_is_refused(monkeypatch, tmp_path: Path, content: bytes, words: str):
    (tmp_path / "value").write_bytes(content)
    message = problem(monkeypatch, tmp_path, SECRET_KEY_FILE=str(tmp_path / "value"))
    assert f"SERVING_UI_SECRET_KEY_FILE names {tmp_path / 'value'}, {words}" in message


def test_a_value_and_a_file_for_one_setting_are_refused(monkeypatch, tmp_path: Path):
    message = problem(monkeypatch, tmp_path, PUBLIC_URL="https://x.example", PUBLIC_URL_FILE=str(tmp_path))
    assert "SERVING_UI_PUBLIC_URL and SERVING_UI_PUBLIC_URL_FILE are both set." in message


def test_host_and_port_of_up_can_be_read_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from serving_ui.server.address import ListenAddress, export, parse

    (tmp_path / "port").write_text("9001")
    for name in ("HOST", "PORT", "GATEWAY_URL", "BASE_URL_SANDBOX"):
        monkeypatch.setenv(f"SERVING_UI_{name}", "")
    monkeypatch.setenv("SERVING_UI_PORT_FILE", str(tmp_path / "port"))
    export(parse([]))
    assert parse([]) == ListenAddress(host="127.0.0.1", port=9001)
    assert os.environ["SERVING_UI_GATEWAY_URL"] == "http://127.0.0.1:9001"


@pytest.mark.parametrize("name", ["session.key", "vault.key"])
def test_a_damaged_key_file_is_named_and_not_replaced(monkeypatch, tmp_path: Path, name: str):
    for content in (b"", b"\xff", b"x"):
        (tmp_path / name).write_bytes(content)
        message = problem(monkeypatch, tmp_path)
        assert name in message or "SERVING_UI_SECRET_KEY" in message
        assert (tmp_path / name).read_bytes() == content


def test_an_unknown_setting_is_reported_and_ignored(tmp_path: Path):
    done = run("manage.py create_token ada@example.com", tmp_path, ALLOWED_HOST="x.example", TEA="green")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert (
        "Ignored, because no setting has this name: SERVING_UI_ALLOWED_HOST (is SERVING_UI_ALLOWED_HOSTS meant?), SERVING_UI_TEA.\n"
        in done.stderr
    )


def test_two_vault_keys_with_one_id_are_refused(monkeypatch, tmp_path: Path):
    from cryptography.fernet import Fernet

    keys = [Fernet.generate_key().decode() for _each in range(2)]
    message = problem(monkeypatch, tmp_path, VAULT_KEYS="\n".join(f"id {key}" for key in keys))
    assert message.endswith("Two vault keys have the same id. Give each line an id of its own.")
    assert not any(key in message for key in keys)


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("x.example", ["x.example"]),
        ("::1, .x.example", ["[::1]", ".x.example"]),
        ("[fd00::1],10.0.0.1", ["[fd00::1]", "10.0.0.1"]),
    ],
)
def test_usual_forms_of_hosts_are_accepted(monkeypatch: pytest.MonkeyPatch, entry: str, found: list[str]):
    monkeypatch.setenv("SERVING_UI_SOME_HOSTS", entry)
    assert env.hosts("SOME_HOSTS") == found
    env._read.discard("SOME_HOSTS")


@pytest.mark.parametrize(
    "entry",
    [
        "models.internal",
        "10.0.0.5:8000",
        "10.1.0.0/16",
        "fd00::/8",
        "[fd00::5]:8000",
        "10.0.0.7/8",
        "host_name:1",
    ],
)
def test_usual_forms_of_private_hosts_are_accepted(monkeypatch: pytest.MonkeyPatch, entry: str):
    monkeypatch.setenv("SERVING_UI_SOME_NETWORKS", entry)
    assert env.networks("SOME_NETWORKS") == (entry,)
    env._read.discard("SOME_NETWORKS")


def test_the_error_of_settings_is_a_value_error():
    assert issubclass(EnvError, ValueError)
