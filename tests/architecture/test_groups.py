"""Tests that share a machine's port, cluster or patience run on one worker, if xdist can tell."""

import pytest


@pytest.mark.xdist_group("of-one")
def test_groups_are_told_to_xdist(request: pytest.FixtureRequest) -> None:
    if not hasattr(request.config, "workerinput") or not request.config.getoption("loadgroup"):
        pytest.skip("only workers have groups")
    assert request.node.nodeid.endswith("@of-one")
