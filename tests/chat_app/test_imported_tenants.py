"""Tenants from files, as clients see them: imported while the server runs, and served at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenants_app.keys import IssuedKey
from tenants_app.models import ApiKey
from tests.factories import make_upstream
from tests.live import Server
from tests.loopback import Loopback
from tests.tenants_app.files import SECRET, run_export, run_import, tenant_file

pytestmark = pytest.mark.xdist_group("live")


def test_key_of_a_file_chats_within_what_the_file_allows(
    live: Server, loopback: Loopback, tmp_path: Path
) -> None:
    make_upstream("shared", kind="openai", base_url=loopback.url, is_default=True)
    file = tenant_file(
        aiModels={"chat": "good"},
        featureFlags={"modelAllowList": True},
        allowedModels=["good"],
        allowedHosts=["acme.example"],
        rateLimit={"perMinute": 2, "burst": None},
        apiKeys=[SECRET],
    )
    key = IssuedKey(ApiKey(), SECRET)
    assert live.chat(key).status_code == 401

    assert not run_import(tmp_path, file).failed
    answer = live.chat(key, host="acme.example")
    assert answer.status_code == 200
    assert answer.json()["data"]["modelId"] == "good"
    assert answer.headers["x-ratelimit-limit"] == "2"
    refused = live.chat(key, {"modelId": "split"})
    assert refused.json()["error"]["code"] == "model_not_allowed"

    # From the next request on, in a process that remembered the tenant.
    run_import(tmp_path, file | {"status": "suspended"})
    assert live.chat(key).json()["error"]["code"] == "tenant_suspended"
    run_import(tmp_path, file)
    assert live.chat(key).json()["error"]["code"] == "tenant_suspended"  # absent: as it is
    run_import(tmp_path, file | {"status": "active", "tokenBudget": {"daily": 1}})
    assert live.chat(key).json()["error"]["code"] == "budget_exceeded"
    assert SECRET[7:] not in live.log_text()
    assert run_export("acme")[0]["allowedHosts"] == ["acme.example"]
