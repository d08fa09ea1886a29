"""The web process itself: it starts, answers, and ends when it is told to."""

from __future__ import annotations

import signal

import pytest

from tests.factories import make_key, make_model, make_route, make_tenant
from tests.live import Servers, frames

pytestmark = pytest.mark.xdist_group("live")


def test_a_server_answers_and_stops_when_told(servers: Servers) -> None:
    first, second = servers.start(2)
    model = make_model()
    make_route(model)
    key = make_key(make_tenant(default_model=model))

    answers = [server.chat(key, {"stream": True}) for server in (first, second)]

    assert [answer.status_code for answer in answers] == [200, 200]
    assert [frames(answer.text)[-1][0] for answer in answers] == ["done", "done"]
    # uvicorn ends by the signal that it was sent, after all is drained.
    assert [server.terminate() for server in (first, second)] == [-signal.SIGTERM] * 2
    assert "Finished server process" in second.log_text()
