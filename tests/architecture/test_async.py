"""Async lives on the request path only."""

from __future__ import annotations

import ast

from tests.architecture.sources import functions, product_files, short

MAY_BE_ASYNC = (
    "chat_app/",
    "usage_app/ledger.py",
    "usage_app/ledger_",
    "usage_app/group_commit.py",
    "usage_app/pricebook.py",
    "usage_app/scopes.py",
    "usage_app/own_usage.py",
    "usage_app/reports/staff_reports.py",
    "usage_app/reports/staff_tokens.py",
    # What the directory, the keys and the ledger are made of.
    "tenants_app/configuration.py",
    "tenants_app/directory.py",
    "tenants_app/key_uses.py",
    "tenants_app/pipeline.py",
    "tenants_app/database.py",
    "tenants_app/keys.py",
    "tenants_app/api.py",
    "gateway_project/asgi.py",
    "gateway_project/site.py",
    "gateway_project/handler.py",
)
# These never, wherever they are.
NEVER = ("admin", "tasks", "selectors", "commands", "ledger_sync")


def may_be_async(name: str) -> bool:
    if any(part in NEVER for part in name.removesuffix(".py").split("/")):
        return False
    return name.startswith(MAY_BE_ASYNC) or "views" in name.rpartition("/")[2]


def test_async_stays_on_the_request_path() -> None:
    assert [
        f"{short(path)}:{function.name}"
        for path in product_files()
        for function in functions(path)
        if isinstance(function, ast.AsyncFunctionDef) and not may_be_async(short(path))
    ] == []
