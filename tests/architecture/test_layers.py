"""Imports run downhill, and PURE modules stay pure."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, parse, product_files, short

# No Django, no I/O: they decide, and the CORE modules act.
PURE = (
    "usage_app/admission.py",
    "usage_app/amounts.py",
    "usage_app/bills/files.py",
    "usage_app/figures.py",
    "usage_app/fills.py",
    "usage_app/histograms.py",
    "usage_app/holds.py",
    "usage_app/currencies.py",
    "usage_app/reports/focus.py",
    "usage_app/periods.py",
    "usage_app/reports/chart.py",
    "usage_app/reports/lines.py",
    "usage_app/reports/query.py",
    "usage_app/prices/files.py",
    "usage_app/pricing.py",
    "usage_app/story.py",
    "usage_app/swept.py",
    "usage_app/usage_query.py",
    "chat_app/providers/base.py",
    "chat_app/providers/dialect.py",
    "chat_app/providers/excerpts.py",
    "chat_app/providers/openai_wire.py",
    "chat_app/providers/workers_ai.py",
    "chat_app/attempts.py",
    "chat_app/circuits.py",
    "chat_app/context.py",
    "chat_app/retries.py",
    "chat_app/routing.py",
    "chat_app/schema.py",
    "chat_app/session_query.py",
    "chat_app/sse.py",
    "chat_app/tokens.py",
    "chat_app/turn.py",
    "tenants_app/networks.py",
    "tenants_app/tracing.py",
    "tenants_app/key_format.py",
    "tenants_app/strict_csv.py",
    "tenants_app/strict_json.py",
    "tenants_app/tenant_csv.py",
    "tenants_app/budget_files.py",
    "tenants_app/key_files.py",
    "tenants_app/team_files.py",
    "tenants_app/tenant_files.py",
    "tenants_app/tenant_state.py",
    "gateway_project/login/tokens.py",
)
IMPURE = {"aiohttp", "celery", "django", "httpx", "psycopg", "requests", "rest_framework"}


def test_imports_run_downhill() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_every_module_that_calls_itself_pure_is_held_to_it() -> None:
    docs = {short(path): ast.get_docstring(parse(path)) or "" for path in product_files()}
    assert {name for name, doc in docs.items() if "PURE" in doc} - set(PURE) == set()


@pytest.mark.parametrize("name", PURE)
def test_pure_module_imports_neither_django_nor_io(name: str) -> None:
    imported = set()
    for node in ast.walk(parse(ROOT / name)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module.split(".")[0])
    assert imported & IMPURE == set()
