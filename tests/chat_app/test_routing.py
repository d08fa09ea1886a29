"""The routing table: request, environment, tenant; the allow-list over all; then fallbacks."""

import pytest

from chat_app import routing
from chat_app.errors import ModelNotAllowed, ModelUnknown
from chat_app.routing import Deployment, Described
from chat_app.schema import ChatCall, parse_chat
from tenants_app.snapshots import Caller
from tests.chat_app.snapshots import caller, model, route, upstream

MODELS = [model(name) for name in "abcdef"]


def call(model_id: str | None = None) -> ChatCall:
    return parse_chat(
        {"sessionId": "11111111-1111-1111-1111-111111111111", "message": "hi", "modelId": model_id}
    )


def chosen(
    who: Caller, requested: str | None = None, env: str = "", env_fallback: str = ""
) -> list[tuple[str, str]]:
    choice = routing.choose(who, call(requested), Deployment(env, env_fallback))
    return [(candidate.model.public_id, candidate.reason) for candidate in choice.candidates]


@pytest.mark.parametrize(
    ("requested", "env", "default", "expected"),
    [
        ("a", "b", "c", ("a", "request")),
        ("a", "", "c", ("a", "request")),
        ("a", "b", None, ("a", "request")),
        (None, "b", "c", ("b", "env")),
        (None, "b", None, ("b", "env")),
        (None, "", "c", ("c", "tenant")),
    ],
)
def test_request_comes_before_environment_before_tenant(
    requested: str | None, env: str, default: str | None, expected: tuple[str, str]
) -> None:
    assert chosen(caller(*MODELS, default=default), requested, env) == [expected]


@pytest.mark.parametrize(
    ("env_fallback", "chain", "expected"),
    [
        ("", (), []),
        ("b", (), ["b"]),
        ("", ("c", "d"), ["c", "d"]),
        ("b", ("c", "d"), ["b", "c", "d"]),
        ("a", ("c",), ["c"]),
        ("b", ("a", "b", "c", "c"), ["b", "c"]),
        ("nowhere", ("elsewhere", "c"), ["c"]),
    ],
)
def test_fallback_of_the_environment_comes_before_the_tenants_chain(
    env_fallback: str, chain: tuple[str, ...], expected: list[str]
) -> None:
    who = caller(*MODELS, default="a", fallbacks=chain)
    assert chosen(who, env_fallback=env_fallback) == [
        ("a", "tenant"),
        *((name, "fallback") for name in expected),
    ]


@pytest.mark.parametrize(
    ("requested", "env", "default", "error"),
    [
        ("d", "", "a", ModelNotAllowed),
        ("nowhere", "", "a", ModelNotAllowed),
        (None, "", "d", ModelNotAllowed),
        (None, "d", "d", ModelNotAllowed),
        (None, "", None, ModelUnknown),
        ("unrouted", "", "a", ModelUnknown),
    ],
)
def test_allow_list_holds_for_request_and_tenant(
    requested: str | None, env: str, default: str | None, error: type[Exception]
) -> None:
    who = caller(*MODELS, default=default, allowed={"a", "b", "unrouted"})
    with pytest.raises(error):
        chosen(who, requested, env)


@pytest.mark.parametrize("env", ["d", "nowhere"])
def test_environment_model_that_the_tenant_cannot_use_is_passed_over_and_noted(env: str) -> None:
    who = caller(*MODELS, default="a", allowed={"a"})
    choice = routing.choose(who, call(), Deployment(env))
    assert [(c.model.public_id, c.reason) for c in choice.candidates] == [("a", "tenant")]
    assert choice.notes == (
        f"MODEL_ID was passed over: The model {env} is not on the tenant's allow-list",
    )


def test_fallback_outside_the_allow_list_is_passed_over_and_noted() -> None:
    who = caller(*MODELS, default="a", fallbacks=["d", "b"], allowed={"a", "b"})
    choice = routing.choose(who, call(), Deployment("", "e"))
    assert [c.model.public_id for c in choice.candidates] == ["a", "b"]
    assert choice.notes == (
        "A fallback was passed over: The model e is not on the tenant's allow-list",
        "A fallback was passed over: The model d is not on the tenant's allow-list",
    )


@pytest.mark.parametrize("allowed", [None, {"gpt-x"}])
def test_model_without_a_route_goes_to_the_default_upstream(allowed: set[str] | None) -> None:
    via = upstream("default")
    who = caller(default_upstream=via, allowed=allowed)
    choice = routing.choose(who, call("gpt-x"), Deployment())
    [candidate] = choice.candidates
    assert (candidate.model.public_id, candidate.route.upstream, candidate.reason) == (
        "gpt-x",
        via,
        "request",
    )


def test_default_upstream_opens_no_way_around_the_allow_list() -> None:
    who = caller(default_upstream=upstream("default"), allowed={"a"})
    with pytest.raises(ModelNotAllowed):
        chosen(who, "gpt-x")


def test_model_without_a_route_or_default_upstream_is_unknown() -> None:
    with pytest.raises(ModelUnknown, match="No upstream serves the model gpt-x"):
        chosen(caller(default="a"), "gpt-x")
    with pytest.raises(ModelUnknown):
        chosen(caller(model("bare", routes=[])), "bare")


def test_routes_of_a_model_are_tried_in_their_order_before_any_fallback() -> None:
    first, second = route("x", upstream("one")), route("y", upstream("two"))
    who = caller(model("a", routes=[first, second]), model("b"), default="a", fallbacks=["b"])
    choice = routing.choose(who, call(), Deployment())
    assert [(c.route.upstream.name, c.reason) for c in choice.candidates] == [
        ("one", "tenant"),
        ("two", "tenant"),
        ("main", "fallback"),
    ]


def test_candidates_are_bounded() -> None:
    many = [model(str(n)) for n in range(50)]
    who = caller(*many, default="0", fallbacks=[str(n) for n in range(50)])
    assert len(chosen(who)) == routing.MAX_CANDIDATES


@pytest.mark.parametrize(
    ("who", "deployment", "expected"),
    [
        (caller(*MODELS, default="a"), Deployment(), Described("a", None)),
        (caller(*MODELS, default="a", fallbacks=["b", "c"]), Deployment(), Described("a", "b")),
        (caller(*MODELS, default="a", fallbacks=["b"]), Deployment("c", "d"), Described("c", "d")),
        (caller(*MODELS, default="a", fallbacks=["a", "b"]), Deployment(), Described("a", "b")),
        (
            caller(*MODELS, default="a", allowed={"a"}),
            Deployment("b", "c"),
            Described(
                "a",
                None,
                (
                    "MODEL_ID was passed over: The model b is not on the tenant's allow-list",
                    "A fallback was passed over: The model c is not on the tenant's allow-list",
                ),
            ),
        ),
        (
            caller(),
            Deployment(),
            Described(
                None, None, ("The request names no model, and the tenant has no default model",)
            ),
        ),
    ],
)
def test_describe_tells_what_an_unnamed_model_would_be(
    who: Caller, deployment: Deployment, expected: Described
) -> None:
    assert routing.describe(who, deployment) == expected
