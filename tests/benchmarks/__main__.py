"""`./dev bench`: CPU time of the web process per plain answer and per relayed chunk, everything on.

Everything is real: a durable Postgres, one web process as `./dev run` starts it, a loopback
upstream in a process of its own. The tenant has a key, session memory, day and month budgets in
tokens and money, and requests per minute. CPU time is the kernel's count for the web process, so it
holds on a noisy machine; rates and latencies do not.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4, uuid5

import psutil

from gateway_project.embedded import home
from tests.benchmarks import books, load

PARALLEL = 16
SHORT, LONG = 10, 210
# A conversation: each turn sends the ones before it along.
TURNS = 5
# Nothing but the server, the handler and a view: how fast this machine is at the moment.
HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


def main() -> None:
    """Run the whole benchmark and print its figures; or that of the books."""
    if sys.argv[1:2] == ["books"]:
        books.main(sys.argv[2:])
        return
    arguments = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    arguments.add_argument("--requests", type=int, default=4000, help="plain answers a round")
    arguments.add_argument("--rounds", type=int, default=3, help="rounds; each prints a line")
    arguments.add_argument("--profile", metavar="FILE", help="record the web process with py-spy")
    options = arguments.parse_args()
    place = Path(os.environ.get("TOLLGATE_HOME") or home.home()) / "bench"
    shutil.rmtree(place, ignore_errors=True)
    os.environ["TOLLGATE_HOME"] = str(place)
    with postgres(place), upstream() as upstream_port:
        secret = seed(upstream_port)
        with web() as (process, port), profiled(process, options.profile):
            asyncio.run(measure(process, port, secret, options))


@contextlib.contextmanager
def postgres(place: Path) -> Iterator[None]:
    """A durable Postgres of our own, gone afterwards."""
    os.environ.pop("DATABASE_URL", None)
    os.environ["LOG_FORMAT"] = "json"
    place.mkdir(parents=True)
    home.prepare_environment(place)
    server = home.postgres(place)
    server.start()
    os.environ["DATABASE_URL"] = server.url()
    try:
        yield
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


@contextlib.contextmanager
def upstream() -> Iterator[int]:
    """The loopback upstream's port."""
    command = [sys.executable, "-m", "tests.benchmarks.upstream"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


def seed(upstream_port: int) -> str:
    """Migrate, make the benchmark's tenant, and answer with its key's secret."""
    os.environ["UPSTREAM_ALLOWED_NETWORKS"] = "127.0.0.0/8"
    os.environ["DJANGO_SETTINGS_MODULE"] = "gateway_project.settings"
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    from django.db import connections
    from django.utils import timezone

    from tenants_app import keys
    from tenants_app.models import Budget, Model, Route, Tenant, Upstream
    from usage_app.models import Price

    server = Upstream(name="bench", kind="openai", base_url=f"http://127.0.0.1:{upstream_port}/v1")
    server.seal_token("sk-bench-0123456789")
    server.save()
    model = Model.objects.create(public_id="bench")
    Route.objects.create(model=model, upstream=server)
    Price.objects.create(model=model, valid_from=timezone.now(), input="0.1", output="0.4")
    tenant = Tenant.objects.create(slug="bench", name="Bench", default_model=model)
    for metric, period, limit in (
        ("tokens", "day", 10**11),
        ("tokens", "month", 10**12),
        ("cost", "month", 10**8),
        ("requests", "minute", 10**8),
    ):
        Budget.objects.create(tenant=tenant, metric=metric, period=period, limit=limit)
    secret = keys.issue(tenant, name="bench").secret
    connections.close_all()
    return secret


@contextlib.contextmanager
def web() -> Iterator[tuple[psutil.Process, int]]:
    """One web process, ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "gateway_project.asgi:application"]
    options = ["--port", str(port), "--no-access-log", "--log-level", "warning"]
    with Path(os.devnull).open("w") as nowhere:
        process = subprocess.Popen([*command, *options], stdout=nowhere, stderr=nowhere)
        try:
            wait_for(f"http://127.0.0.1:{port}/health")
            yield psutil.Process(process.pid), port
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def profiled(process: psutil.Process, file: str | None) -> Iterator[None]:
    """py-spy's record of the process in `file`, if one is named."""
    if file is None:
        yield
        return
    command = [
        "py-spy",
        "record",
        "--pid",
        str(process.pid),
        "--output",
        file,
        "--rate",
        "500",
        "--gil",
    ]
    if file.endswith(".txt"):
        command += ["--format", "raw"]
    spy = subprocess.Popen([str(Path(sys.executable).parent / command[0]), *command[1:]])
    try:
        yield
    finally:
        spy.send_signal(2)
        spy.wait()


def wait_for(url: str) -> None:
    """Until it answers 200."""
    for _ in range(600):
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):
            return
        time.sleep(0.05)
    raise SystemExit(f"{url} does not answer")


async def measure(
    process: psutil.Process, port: int, secret: str, options: argparse.Namespace
) -> None:
    """Warm up, then round by round: plain answers, short streams, long streams."""
    plain = chat(secret, "Hello", streamed=False)
    short, long = (chat(secret, f"chunks={chunks}") for chunks in (SHORT, LONG))
    await load.send(port, plain, requests=500, parallel=PARALLEL)
    await load.send(port, short, requests=64, parallel=PARALLEL)
    for number in range(1, options.rounds + 1):
        _, health_cpu = await timed(process, port, lambda _: HEALTH, options.requests)
        answers, plain_cpu = await timed(process, port, plain, options.requests)
        _, short_cpu = await timed(process, port, short, 4 * PARALLEL)
        _, long_cpu = await timed(process, port, long, 4 * PARALLEL)
        chunk = (long_cpu - short_cpu) / (LONG - SHORT)
        sys.stdout.write(
            f"round {number}: {answers.rate:.0f} requests/s,"
            f" p50 {answers.percentile(50):.1f} ms, p99 {answers.percentile(99):.1f} ms,"
            f" CPU {plain_cpu * 1e3:.3f} ms per plain answer,"
            f" {chunk * 1e6:.1f} µs per relayed chunk,"
            f" {health_cpu * 1e3:.3f} ms per GET /health\n"
        )
        sys.stdout.flush()


async def timed(
    process: psutil.Process, port: int, request: load.Request, requests: int
) -> tuple[load.Load, float]:
    """The load's figures, and the web process's CPU seconds per request."""
    before = process.cpu_times()
    answers = await load.send(port, request, requests=requests, parallel=PARALLEL)
    after = process.cpu_times()
    if answers.failures:
        raise SystemExit(f"{len(answers.failures)} failed, the first: {answers.failures[0]!r}")
    spent = after.user + after.system - before.user - before.system
    return answers, spent / requests


def chat(secret: str, text: str, *, streamed: bool = True) -> load.Request:
    """Chat requests in sessions of `TURNS` turns each."""
    run = uuid4()
    head = (
        f"POST /chat HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {secret}\r\n"
        "content-type: application/json\r\ncontent-length: "
    )

    def request(number: int) -> bytes:
        session = str(uuid5(run, str(number // TURNS)))
        call = {"sessionId": session, "message": text, "stream": streamed, "maxTokens": 300}
        body = json.dumps(call)
        return f"{head}{len(body)}\r\n\r\n{body}".encode()

    return request


if __name__ == "__main__":
    main()
