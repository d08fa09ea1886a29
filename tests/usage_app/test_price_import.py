"""Importing prices: all or nothing, once is enough, and a used price stays."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pghistory
import pytest
from django.core.management import CommandError, call_command

from tenants_app.models import Model
from tests.architecture.sources import ROOT
from tests.factories import make_model, make_tenant
from tests.usage_app.entries import make_entry
from usage_app.models import Price

pytestmark = pytest.mark.django_db

HEADER = "model,valid_from,input,cached_input,cache_write,output"
SOON = (datetime.now(UTC) + timedelta(days=400)).date()
EXAMPLE = ROOT / "docs" / "examples" / "prices-workers-ai.csv"


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """`run(lines…)` imports them; answers what was written to both outputs, line by line."""

    def run(*lines: str, **options: Any) -> tuple[list[str], list[str]]:
        file = tmp_path / "prices.csv"
        file.write_text("\n".join((HEADER, *lines)))
        out, err = StringIO(), StringIO()
        try:
            call_command("import_prices", str(file), stdout=out, stderr=err, **options)
        except CommandError as error:
            err.write(str(error))
        return out.getvalue().splitlines(), err.getvalue().splitlines()

    return run


def book() -> list[tuple[str, str, list[str | None]]]:
    return [
        (
            price.model.public_id,
            f"{price.valid_from:%Y-%m-%d}",
            [
                None if figure is None else f"{figure.normalize():f}"
                for figure in (price.input, price.cached_input, price.cache_write, price.output)
            ],
        )
        for price in Price.objects.order_by("model__public_id", "valid_from")
    ]


def test_dry_run_tells_the_difference_and_the_run_writes_it(run: Any) -> None:
    make_model("m")
    later = SOON + timedelta(days=1)
    assert run(f"m,{SOON},1,,,2")[0][-1] == "1 new, 0 changed, 0 unchanged"
    lines = (f"m,{SOON},1,0.5,,2.5", f"m,{later},0.25,,0.3,2.5")
    difference = [
        f"~ m from {SOON}: input 1, cached_input as input → 0.5, output 2 → 2.5",
        (
            f"+ m from {later}: input 1 → 0.25, cached_input 0.5 → as input,"
            " cache_write as input → 0.3, output 2.5"
        ),
    ]
    out, err = run(*lines, dry_run=True)
    told = "1 new, 1 changed, 0 unchanged; a dry run, so nothing was written"
    assert (out, err) == ([*difference, told], [])
    assert book() == [("m", str(SOON), ["1", None, None, "2"])]
    assert run(*lines) == ([*difference, "1 new, 1 changed, 0 unchanged"], [])
    assert book() == [
        ("m", str(SOON), ["1", "0.5", None, "2.5"]),
        ("m", str(later), ["0.25", None, "0.3", "2.5"]),
    ]


def test_twice_imported_is_once_imported(run: Any) -> None:
    make_model("m")
    run(f"m,{SOON},1,,,2")
    events: Any = pghistory.core.event_models(tracks_model=Price)[0]
    before = events.objects.count(), book()
    assert run(f"m,{SOON}T00:00Z,1.0000,,,2") == (["0 new, 0 changed, 1 unchanged"], [])
    assert (events.objects.count(), book()) == before


def test_used_price_is_superseded_and_never_edited(run: Any) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    price = Price.objects.create(model=make_model("m"), valid_from=start, input=1, output=2)
    make_entry(make_tenant(), price=price, cost=Decimal(3))
    _, err = run("m,2026-01-01,1,,,3", f"m,{SOON},1,,,3")
    assert err == [
        "warning: 1 of these begins in the past: what was charged meanwhile keeps its cost.",
        (
            "line 2: the price of m from 2026-01-01 on was used and stays as it is: let the new one"
            " begin later"
        ),
        "1 problem, and nothing was imported.",
    ]
    assert len(book()) == 1
    out, _ = run("m,2026-01-01,1,,,2", f"m,{SOON},1,,,3")
    assert out == [f"+ m from {SOON}: input 1, output 2 → 3", "1 new, 0 changed, 1 unchanged"]


def test_one_problem_keeps_out_the_whole_file(run: Any) -> None:
    make_model("m")
    out, err = run(f"m,{SOON},1,,,2", f"n,{SOON},1,,,2")
    assert out == []
    assert err == [
        "line 3, model: n is no model here: make it first, or import with --make-models",
        "1 problem, and nothing was imported.",
    ]
    assert run(f"m,{SOON},1,,,2", f"m,{SOON},0.00001,,,2")[1][-1] == err[-1]
    assert not Price.objects.exists()
    assert not Model.objects.filter(public_id="n").exists()


def test_shipped_example_says_what_it_is_and_prices_every_model_of_the_examples() -> None:
    content = EXAMPLE.read_text()
    assert content.startswith("# AN EXAMPLE")
    assert "as of 2025-03-01" in content.splitlines()[0]
    out, err = StringIO(), StringIO()
    call_command("import_prices", str(EXAMPLE), make_models=True, stdout=out, stderr=err)
    rows = Price.objects.count()
    assert out.getvalue().splitlines()[-1] == f"{rows} new, 0 changed, 0 unchanged"
    assert rows == Model.objects.count() > 10
    named = {"@cf/meta/llama-3.1-8b-instruct-fast", "@cf/meta/llama-3.1-8b-instruct"}
    assert named <= set(Model.objects.values_list("public_id", flat=True))


def test_import_is_audited_with_its_file(run: Any) -> None:
    make_model("m")
    run(f"m,{SOON},1,,,2")
    events: Any = pghistory.core.event_models(tracks_model=Price)[0]
    context = events.objects.get().pgh_context.metadata
    assert context["command"] == "import_prices"
    assert context["reason"].endswith("prices.csv")


def test_file_that_is_not_there_is_told() -> None:
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        call_command("import_prices", "/nowhere/prices.csv")
