"""Compares the gateway with other gateways in one run: `python -m tests.bench.gateway [--min-ratio mlflow=5 …]`.

One core runs the gateway, the other the load and the upstream, the same for all: wrk and nginx with a canned chat reply for whole
answers, a small server that streams for the rest. Ours is the product's own process, `manage.py gateway`, with everything on: token,
right, two limits, usage. The others are installed into artefacts/peers at the first run, and check a key where they can.

Prints requests/s at 32 connections (the best of three runs, because other load of the machine only makes a run worse), median and
99th percentile in ms at 32 and at 1, the added time to the first token, memory, cold start. Fails when a ratio of `--min-ratio` is
not reached, or with `--budgets` when a promise about time and memory is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import requests

from tests.bench.http_servers import REPLY, ROOT, load, memory, nginx
from tests.bench.other_gateways import MODEL, PEERS, Contender, Make
from tests.bench.streams import NoStream, OpenStreams, first_token
from tests.support.product import Product
from tests.support.waiting import free_port, wait_until

GATEWAY_CORE, LOAD_CORE = 0, 1
ROUNDS = 3
STREAMS = 1000
BODY = {
    "messages": [{"role": "user", "content": "Say hello to the bench, and keep it short."}],
    "max_tokens": 64,
}
SCRIPT = 'wrk.method = "POST"\nwrk.body = {body}\nwrk.headers["Content-Type"] = "application/json"\n'


@dataclass
class Figures:
    """The measurements of one gateway. Times in milliseconds, memory in MB."""

    rate: float
    median_32: float
    p99_32: float
    median_1: float
    p99_1: float
    token: float = 0.0
    memory: float = 0.0
    start: float = 0.0


def main() -> None:
    args = arguments()
    if missing := [tool for tool in ("wrk", "nginx", "taskset") if shutil.which(tool) is None]:
        raise SystemExit(
            f"The bench needs {', '.join(missing)}. Install it with the system's package manager."
        )
    os.sched_setaffinity(0, {LOAD_CORE})
    found: dict[str, Figures] = {}
    say(
        f"{'':20}{'req/s':>8}{'p50/32':>8}{'p99/32':>8}{'p50/1':>8}{'p99/1':>8}{'token':>8}{'MB':>6}{'start s':>9}"
    )
    canned = f"location / {{ default_type application/json; return 200 '{REPLY}'; }}"
    with nginx(core=LOAD_CORE, body=canned) as whole, streaming() as streamed:
        base = Base(args.seconds, whole, streamed)
        found["direct"] = base.direct()
        show("direct", found["direct"], found["direct"])
        for name in args.only:
            found[name] = base.proxy() if name == "nginx" else base.contender(name)
            show(name, found[name], found["direct"])
        held = base.hold() if "ours" in args.only else 0.0
    if "ours" in found:
        judge(found, held, args)


def arguments() -> argparse.Namespace:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--seconds", type=int, default=4, help="of each run (%(default)s)")
    every = ["nginx", "ours", *PEERS]
    options.add_argument(
        "--only", nargs="+", choices=every, default=every, metavar="NAME", help=", ".join(every)
    )
    options.add_argument(
        "--min-ratio", nargs="+", default=[], metavar="NAME=RATIO", help="fail when ours is below"
    )
    options.add_argument(
        "--budgets", action="store_true", help="fail when a budget of time or memory is broken"
    )
    return options.parse_args()


@dataclass
class Base:
    """The two upstreams (host:port), and how long each run takes."""

    seconds: int
    whole: str
    streamed: str

    def direct(self) -> Figures:
        url, headers = f"http://{self.whole}/v1/chat/completions", {"Authorization": "Bearer sk-bench"}
        figures = self._loaded(url, headers)
        figures.token = first_token(
            f"http://{self.streamed}/v1/chat/completions", {}, model=MODEL, times=300
        )[0]
        return figures

    def proxy(self) -> Figures:
        body = 'location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; {more} }}'
        extra = "upstream up {{ server {0}; keepalive 64; }}"
        with nginx(core=GATEWAY_CORE, body=body.format(more=""), extra=extra.format(self.whole)) as address:
            figures = self._loaded(f"http://{address}/v1/chat/completions", {})
        with nginx(
            core=GATEWAY_CORE,
            body=body.format(more="proxy_buffering off;"),
            extra=extra.format(self.streamed),
        ) as address:
            figures.token = first_token(f"http://{address}/v1/chat/completions", {}, model=MODEL, times=300)[
                0
            ]
        return figures

    def contender(self, name: str) -> Figures:
        """Measure a gateway with the immediate upstream, then a new one with the streaming upstream."""
        with self._running(name, self.whole) as (contender, url, process, start):
            figures = self._loaded(url, contender.headers, contender.model)
            figures.memory, figures.start = memory(process), start
        with self._running(name, self.streamed) as (contender, url, process, start):
            try:
                figures.token = first_token(url, contender.headers, model=contender.model, times=300)[0]
            except NoStream as failure:
                if name == "ours":
                    raise
                sys.stderr.write(f"{failure}\n")
        return figures

    def hold(self) -> float:
        """The memory of one gateway process with a thousand open streams, which all end completely."""
        with self._running("ours", self.streamed) as (contender, url, process, _start):
            many = OpenStreams(url, contender.headers, model=contender.model, count=STREAMS)

            async def held() -> float:
                await many.start()
                size = memory(process)
                urllib.request.urlopen(f"http://{self.streamed}/release", timeout=30).close()
                if (whole := await many.finish()) != STREAMS:
                    raise SystemExit(f"Only {whole} of {STREAMS} streams were whole.")
                return size

            return asyncio.run(held())

    @contextmanager
    def _running(
        self, name: str, upstream: str
    ) -> Iterator[tuple[Contender, str, subprocess.Popen[bytes], float]]:
        with tempfile.TemporaryDirectory() as folder:
            port = free_port()
            make: Make = ours if name == "ours" else PEERS[name]
            contender = make(port, upstream, Path(folder))
            url = f"http://127.0.0.1:{port}{contender.path}"
            began = perf_counter()
            process = subprocess.Popen(
                ["taskset", "-c", str(GATEWAY_CORE), *contender.command], cwd=folder,
                env={**os.environ, **contender.environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip
            try:
                wait_until(
                    lambda: process.poll() is not None or answers(url, contender),
                    seconds=contender.start_timeout,
                )
                if process.poll() is not None:
                    raise SystemExit(f"{contender.name} ended with exit code {process.returncode}.")
                yield contender, url, process, perf_counter() - began
            finally:
                process.terminate()
                process.wait(30)
                with contextlib.suppress(ProcessLookupError):  # some do not stop their workers
                    os.killpg(process.pid, signal.SIGKILL)

    def _loaded(self, url: str, headers: Mapping[str, str], model: str | None = MODEL) -> Figures:
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(SCRIPT.format(body=json.dumps(json.dumps(chat_request(model)))))
            for name, value in headers.items():
                script.write(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}\n")
            script.flush()
            path = Path(script.name)
            load(url, path, connections=32, seconds=1)
            rate, median, p99 = max(
                load(url, path, connections=32, seconds=self.seconds) for _ in range(ROUNDS)
            )
            one = max(load(url, path, connections=1, seconds=self.seconds) for _ in range(ROUNDS))
        return Figures(rate, median, p99, one[1], one[2])


def ours(port: int, upstream: str, folder: Path) -> Contender:
    """Creates an endpoint with limits through the product's API; then runs its gateway process only."""
    product = Product(folder)
    with product.up():
        token = product.command("create_token", "bench@example.com")
        with requests.Session() as session:
            session.headers["Authorization"] = f"Bearer {token}"
            address = f"{product.url}/api/2.0/serving-endpoints"
            config = {"openai_api_base": f"http://{upstream}/v1", "openai_api_key_plaintext": "sk-bench"}
            model = {"provider": "openai", "name": "gpt-4o", "task": "llm/v1/chat", "openai_config": config}
            limits = [
                {"key": key, "calls": 1_000_000_000, "renewal_period": "minute"}
                for key in ("endpoint", "user")
            ]
            body = {
                "name": MODEL,
                "config": {"served_entities": [{"external_model": model}]},
                "rate_limits": limits,
            }
            session.post(address, json=body, timeout=30).raise_for_status()

            def is_ready() -> bool:
                state = session.get(f"{address}/{MODEL}", timeout=30).json()["state"]
                return bool(state["ready"] == "READY")

            wait_until(is_ready, seconds=30)
    return Contender(
        name="Serving UI",
        command=[sys.executable, str(ROOT / "manage.py"), "gateway", "--port", str(port), "--workers", "1"],
        path=f"/serving-endpoints/{MODEL}/invocations",
        headers={"Authorization": f"Bearer {token}"},
        environment=product.env,
    )


@contextmanager
def streaming() -> Iterator[str]:
    """Runs the upstream that streams; yields its host:port."""
    port = free_port()
    command = [
        *(
            "taskset",
            "-c",
            str(LOAD_CORE),
            sys.executable,
            "-m",
            "uvicorn",
            "--loop",
            "uvloop",
            "--http",
            "httptools",
        ),
        *("--no-access-log", "--log-level", "error", "--port", str(port), "tests.bench.upstream:app"),
    ]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        wait_until(lambda: reached(f"http://127.0.0.1:{port}/"), seconds=20)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def chat_request(model: str | None) -> dict[str, object]:
    return {**BODY, "model": model} if model else BODY


def reached(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.RequestException:
        return False


def answers(url: str, contender: Contender) -> bool:
    """Whether it answers a streamed request with 200. Both upstreams accept such a request."""
    try:
        body = chat_request(contender.model)
        return requests.post(url, json=body, headers=dict(contender.headers), timeout=10).status_code == 200
    except requests.RequestException:
        return False


def show(name: str, figures: Figures, direct: Figures) -> None:
    token = f"{figures.token - direct.token:+8.2f}" if figures.token else f"{'-':>8}"
    size = f"{figures.memory:6.0f}" if figures.memory else f"{'-':>6}"
    start = f"{figures.start:9.1f}" if figures.start else f"{'-':>9}"
    times = "".join(
        f"{each:8.2f}" for each in (figures.median_32, figures.p99_32, figures.median_1, figures.p99_1)
    )
    say(f"{name:20}{figures.rate:8.0f}{times}{token}{size}{start}")


def judge(found: dict[str, Figures], held: float, args: argparse.Namespace) -> None:
    """Compare with the ratios and budgets. Exits with a message for each one that is missed."""
    mine, direct = found["ours"], found["direct"]
    ratios = {
        name: mine.rate / figures.rate for name, figures in found.items() if name not in ("ours", "direct")
    }
    say("requests/s of ours: " + ", ".join(f"{ratio:.2f} x {name}" for name, ratio in ratios.items()))
    added, later = mine.median_1 - direct.median_1, mine.token - direct.token
    say(
        f"added at one connection {added:.2f} ms, first token {later:+.2f} ms, {STREAMS} open streams {held:.0f} MB"
    )
    missed = []
    for wanted in args.min_ratio:
        name, _, least = wanted.partition("=")
        if name in ratios and ratios[name] < float(least):
            missed.append(f"{ratios[name]:.2f} x {name} is less than {least}")
    if args.budgets:
        budgets = (
            ("added at one connection", added, 0.5),
            ("first token later", later, 1.0),
            ("MB with open streams", held, 300),
        )
        missed += [f"{what}: {value:.2f} is more than {p99}" for what, value, p99 in budgets if value > p99]
    if missed:
        raise SystemExit("Missed: " + "; ".join(missed))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
