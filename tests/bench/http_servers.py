"""Compares servers and upstream clients for the gateway, and the gateway itself: `python -m tests.bench.http_servers [--seconds N]`.

One core runs the measured program, another the load (wrk) and the upstream (nginx with a canned chat reply). Combinations whose
packages are not installed are left out; to have all of them: `pip install granian aiohttp pyreqwest httpx`.
Prints requests/s with 32 connections, median and 99th percentile in ms with 32 and with 1, processor time of a request, memory.
Rates are the best of three runs, because other load of the machine only makes a run worse. It hardly affects processor time.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from tests.bench.proxy import TOKEN
from tests.support.waiting import free_port, wait_until

ROOT = Path(__file__).parents[2]
REPLY = (
    '{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":[{"index":0,'
    '"message":{"role":"assistant","content":"Hello there, this is a canned reply of the bench. It is as long as a short '
    'answer of a chat model, so that what is measured looks like what people do."},"finish_reason":"stop"}],'
    '"usage":{"prompt_tokens":12,"completion_tokens":40,"total_tokens":52}}'
)
NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000; {extra}
  server {{ listen 127.0.0.1:{port}; {body} }} }}
"""
WRK = """
wrk.method = "POST"
wrk.body = '{{"messages":[{{"role":"user","content":"Say hello to the bench, and keep it short."}}],"max_tokens":64}}'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer {token}"
"""
UVICORN = [
    "-m",
    "uvicorn",
    "--loop",
    "uvloop",
    "--http",
    "httptools",
    "--no-access-log",
    "--log-level",
    "error",
]
GRANIAN = ["-m", "granian", "--loop", "uvloop", "--no-access-log", "--log-level", "error", "--interface"]
SERVERS = {
    "uvicorn": [*UVICORN, "tests.bench.proxy:asgi"],
    "granian ASGI": [*GRANIAN, "asgi", "tests.bench.proxy:asgi"],
    "granian RSGI": [*GRANIAN, "rsgi", "tests.bench.proxy:rsgi"],
}
ROUNDS = 3
CLIENTS = ["ours", "pyreqwest", "aiohttp", "httpx", "none"]


@contextmanager
def running(
    command: list[str], *, core: int, url: str = "", **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command on one core until the block ends; it answers when the block begins."""
    process = subprocess.Popen(
        ["taskset", "-c", str(core), *command], cwd=ROOT, env={**os.environ, **environment},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_until(lambda: process.poll() is not None or answers(url), seconds=20)
        yield process
    finally:
        process.terminate()
        process.wait(20)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(url, data=b"{}"), timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, ConnectionError):
        return False
    return True


@contextmanager
def nginx(*, core: int, body: str, extra: str = "") -> Iterator[str]:
    """Runs nginx on a free port; yields its host:port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, port=port, body=body, extra=extra))
        with running(["nginx", "-c", str(config), "-p", folder], core=core, url=f"http://127.0.0.1:{port}/"):
            yield f"127.0.0.1:{port}"


def load(url: str, script: Path, *, connections: int, seconds: int) -> tuple[float, float, float]:
    """Requests/s, median and 99th percentile in milliseconds."""
    command = [
        "taskset",
        "-c",
        "1",
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds}",
        "--latency",
        "-s",
        str(script),
        url,
    ]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output:
        raise SystemExit(f"Not every answer was 200:\n{output}")
    rate = float(re.findall(r"Requests/sec:\s+([\d.]+)", output)[0])
    median, p99 = (milliseconds(re.findall(rf"\s{share}%\s+(\S+)", output)[0]) for share in (50, 99))
    return rate, median, p99


def milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit]


def memory(process: subprocess.Popen[bytes]) -> float:
    """The memory of the process and its children, in MB."""
    command = ["ps", "-o", "rss=", "--ppid", str(process.pid), "-p", str(process.pid)]
    return (
        sum(map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()))
        / 1024
    )


def processor_seconds(process: subprocess.Popen[bytes]) -> float:
    """The CPU time of the process and its children so far."""
    command = ["ps", "-o", "pid=", "--ppid", str(process.pid), "-p", str(process.pid)]
    total = 0
    for pid in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def measure(
    name: str, url: str, script: Path, seconds: int, process: subprocess.Popen[bytes] | None = None
) -> None:
    load(url, script, connections=32, seconds=1)
    used = processor_seconds(process) if process else 0.0
    runs = [load(url, script, connections=32, seconds=seconds) for _ in range(ROUNDS)]
    answered = sum(run[0] for run in runs) * seconds
    each = f"{(processor_seconds(process) - used) / answered * 1e6:7.1f}" if process else "      -"
    one = max(load(url, script, connections=1, seconds=seconds) for _ in range(ROUNDS))
    size = f"{memory(process):6.0f}" if process else "     -"
    rate, median, p99 = max(runs)
    say(f"{name:32}{rate:8.0f}{median:8.2f}{p99:8.2f}{one[1]:8.2f}{one[2]:8.2f}{each}{size}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    options = argparse.ArgumentParser(description="Compares servers and upstream clients for the gateway.")
    options.add_argument("--seconds", type=int, default=2)
    options.add_argument("--only", default="", help="only rows whose name contains this")
    args = options.parse_args()
    if missing := [tool for tool in ("wrk", "nginx", "taskset") if shutil.which(tool) is None]:
        raise SystemExit(
            f"The bench needs {', '.join(missing)}. Install it with the system's package manager."
        )
    began = monotonic()
    say(f"{'':32}{'req/s':>8}{'p50/32':>8}{'p99/32':>8}{'p50/1':>8}{'p99/1':>8}{'CPU us':>7}{'MB':>6}")
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(WRK.format(token=TOKEN))
        script.flush()
        body = f"location / {{ default_type application/json; return 200 '{REPLY}'; }}"
        with nginx(core=1, body=body) as upstream:
            rows(upstream, Path(script.name), args)
    say(f"took {monotonic() - began:.0f} s on {os.cpu_count()} cores")


def rows(upstream: str, script: Path, args: argparse.Namespace) -> None:
    def wanted(name: str) -> bool:
        return args.only in name

    if wanted("direct"):
        measure("direct, nothing between", f"http://{upstream}/", script, args.seconds)
    if wanted("nginx"):
        body = 'location / { proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }'
        with nginx(core=0, body=body, extra=f"upstream up {{ server {upstream}; keepalive 64; }}") as address:
            measure("nginx, plain proxy", f"http://{address}/", script, args.seconds)
    combinations = [(server, client) for client in CLIENTS for server in SERVERS]
    for server, client in combinations:
        packages = {server.split()[0], client} - {"ours", "none"}
        name = f"{server} + {client}"
        if wanted(name) and all(find_spec(package) for package in packages):
            run(name, [*SERVERS[server]], script, args.seconds, upstream=upstream, client=client)
    if wanted("gateway"):
        command = [*UVICORN, "tests.bench.proxy:governed"]
        path = "/serving-endpoints/bench/invocations"
        run(
            "the gateway, limits + usage on",
            command,
            script,
            args.seconds,
            upstream=upstream,
            client="ours",
            path=path,
        )


def run(
    name: str, command: list[str], script: Path, seconds: int, *, upstream: str, client: str, path: str = "/"
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}{path}"
    with tempfile.TemporaryDirectory() as spool:
        surroundings = {"BENCH_CLIENT": client, "BENCH_UPSTREAM": upstream, "BENCH_SPOOL": spool}
        started = [sys.executable, *command, "--port", str(port)]
        with running(started, core=0, url=url, **surroundings) as process:
            measure(name, url, script, seconds, process)


if __name__ == "__main__":
    main()
