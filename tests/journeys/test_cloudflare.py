"""`./dev run` with CLOUDFLARE_*: the demo tenant is served by a stand-in for the gateway."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.dev_run import Run, free_port, processes_of
from tests.loopback import Loopback

pytestmark = [
    pytest.mark.journey,
    pytest.mark.timeout(300),
    pytest.mark.xdist_group("journeys"),
]

TOKEN = "cf-token-that-nobody-prints"


@pytest.fixture
def place(place: Path) -> Iterator[Path]:
    """A TOLLGATE_HOME that leaves no process, also when a test fails."""
    yield place / "home"
    for process in processes_of(place):
        process.kill()


def run_with(place: Path, **more: str) -> Run:
    ids = {"CLOUDFLARE_ACCOUNT_ID": "acc1", "CLOUDFLARE_GATEWAY_ID": "gate_1"}
    return Run(place, free_port(), CLOUDFLARE_API_TOKEN=TOKEN, **ids, **more)


def test_run_with_a_gateway_is_served_by_it(place: Path, loopback: Loopback) -> None:
    run = run_with(place, CLOUDFLARE_BASE_URL=loopback.url)
    greeting = run.greeting()
    answer = subprocess.run(
        shlex.split(greeting["curl"]), capture_output=True, text=True, timeout=30, check=True
    ).stdout

    done = json.loads(answer.strip().rpartition("data: ")[2])
    assert done["usage"] | {"latencyMs": 0, "ttftMs": 0} == {
        "modelId": "@cf/meta/llama-3.1-8b-instruct-fast",
        "tokensIn": 10,
        "tokensOut": 6,
        "totalTokens": 16,
        "latencyMs": 0,
        "ttftMs": 0,
        "usageSource": "provider",
    }
    asked = loopback.last
    assert asked.path == "/v1/accounts/acc1/ai/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {TOKEN}"
    assert asked.headers["cf-aig-gateway-id"] == "gate_1"
    assert not [command for command in run.processes() if TOKEN in command]
    assert run.stop(signal.SIGTERM) == 0
    assert TOKEN not in run.log.read_text()


def test_run_that_cannot_be_as_asked_for_ends_with_one_sentence(place: Path) -> None:
    run = run_with(place, CLOUDFLARE_FORM="soap")
    assert run.process.wait(100) == 1
    run.output.close()
    told = run.log.read_text()
    assert "CLOUDFLARE_FORM: Value 'soap' is not a valid choice." in told
    assert "Traceback" not in told
    assert TOKEN not in told
