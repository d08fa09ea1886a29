"""No budget is overspent by many at once, from one process or two, whether they stay or leave."""

from collections.abc import Iterator

import pytest

from tests.factories import make_budget, make_key, make_team
from tests.faults.books import settled
from tests.faults.conftest import EXACT_INPUT, EXACT_OUTPUT, World
from tests.faults.crowd import crowd, outcomes
from tests.live import Server, Servers
from tests.loopback import Loopback
from tests.loopback_plays import (
    DONE,
    JSON,
    ROLE,
    STOP,
    Play,
    Step,
    completion,
    data,
    plain,
    stream,
    words,
)

pytestmark = pytest.mark.xdist_group("faults")

FIT, CROWD = 50, 200
USAGE = {"prompt_tokens": EXACT_INPUT, "completion_tokens": EXACT_OUTPUT}
EXACT = EXACT_INPUT + EXACT_OUTPUT


@pytest.fixture(scope="module")
def two(running_servers: Servers) -> list[Server]:
    return running_servers.start(2)


@pytest.fixture
def exact(loopback: Loopback) -> str:
    """A model whose answer comes to exactly what was held for it."""
    loopback.plays["exact"] = plain(completion(usage=USAGE))
    return "exact"


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("budget", [("requests", FIT), ("tokens", FIT * EXACT)], ids=lambda b: b[0])
def test_exactly_as_many_succeed_as_fit(
    two: list[Server], acme: World, exact: str, processes: int, budget: tuple[str, int]
) -> None:
    metric, limit = budget
    make_budget(acme.tenant, metric, "day", limit)

    endings = crowd(two[:processes], [acme.key], count=CROWD, modelId=exact, maxTokens=EXACT_OUTPUT)

    assert outcomes(endings) == {(200, None): FIT, (429, "budget_exceeded"): CROWD - FIT}
    written = settled(acme.tenant, FIT)
    assert sum(entry.total_tokens for entry in written) == FIT * EXACT


@pytest.mark.parametrize("processes", [1, 2])
def test_exactly_as_many_succeed_as_fit_when_half_of_them_leave(
    two: list[Server], acme: World, loopback: Loopback, processes: int
) -> None:
    make_budget(acme.tenant, "requests", "day", FIT)
    make_budget(acme.tenant, "requests", "month", FIT + 1, api_key=acme.key.key)
    pauses = [step for word in words() for step in (word, 0.2)]
    loopback.plays["talk"] = stream(ROLE, *pauses, STOP, data({"usage": USAGE}), DONE)

    endings = crowd(
        two[:processes],
        [acme.key],
        count=CROWD,
        leaves=lambda number: number // 2 % 2 == 0,
        modelId="talk",
        stream=True,
    )

    assert outcomes(endings) == {(200, None): FIT, (429, "budget_exceeded"): CROWD - FIT}
    written = settled(acme.tenant, FIT)
    stayed = [entry for entry in written if entry.outcome == "ok"]
    assert len(stayed) == len([e for e in endings if e.status == 200 and not e.left])
    assert {entry.total_tokens for entry in stayed} == {EXACT}
    gone = [entry for entry in written if entry.outcome == "aborted"]
    assert {entry.usage_source for entry in gone} <= {"partial"}
    assert len(gone) + len(stayed) == FIT


def test_two_tenants_do_not_disturb_each_other(
    two: list[Server], acme: World, globex: World, exact: str
) -> None:
    make_budget(acme.tenant, "requests", "day", 20)
    make_budget(globex.tenant, "tokens", "month", 30 * EXACT)

    endings = crowd(two, [acme.key, globex.key], modelId=exact, maxTokens=EXACT_OUTPUT)

    assert outcomes(endings) == {(200, None): 50, (429, "budget_exceeded"): 150}
    assert len(settled(acme.tenant)) == 20
    assert len(settled(globex.tenant)) == 30


def test_two_keys_share_their_tenants_budget_within_their_own(
    two: list[Server], acme: World, exact: str
) -> None:
    other = make_key(acme.tenant)
    make_budget(acme.tenant, "tokens", "month", 30 * EXACT)
    make_budget(acme.tenant, "tokens", "day", 10 * EXACT, api_key=acme.key.key)

    crowd(two, [acme.key, other], count=100, modelId=exact, maxTokens=EXACT_OUTPUT)

    written = settled(acme.tenant, 30)
    assert len([entry for entry in written if entry.api_key_id == acme.key.key.id]) <= 10


def test_two_keys_of_a_team_share_its_budget(two: list[Server], acme: World, exact: str) -> None:
    team = make_team(acme.tenant)
    ours = [make_key(acme.tenant, name, team=team) for name in ("a", "b")]
    make_budget(acme.tenant, "tokens", "day", FIT * EXACT, team=team)

    endings = crowd(two, ours, count=CROWD, modelId=exact, maxTokens=EXACT_OUTPUT)

    assert outcomes(endings) == {(200, None): FIT, (429, "budget_exceeded"): CROWD - FIT}
    written = settled(acme.tenant, FIT)
    assert {entry.api_key for entry in written} <= {key.key for key in ours}


def test_no_more_run_at_once_than_allowed(
    two: list[Server], acme: World, loopback: Loopback
) -> None:
    make_budget(acme.tenant, "requests", "concurrent", 5)
    running, most = 0, 0

    class Counted(list[Step]):
        def __iter__(self) -> Iterator[Step]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            yield from super().__iter__()
            running -= 1

    loopback.plays["counted"] = Play(Counted([0.1, completion()]), headers=JSON)

    endings = crowd(two, [acme.key], count=100, modelId="counted")

    assert set(outcomes(endings)) == {(200, None), (429, "rate_limited")}
    assert 1 <= most <= 5
    settled(acme.tenant, outcomes(endings)[200, None])
