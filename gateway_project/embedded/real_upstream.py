"""The real upstream that serves the demo tenant of `./dev run`, as the environment asks for it.

The local model comes first, then OPENAI_*, then CLOUDFLARE_*. Reads only; demo.py makes the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway_project.embedded import local_model

OPENAI, CLOUDFLARE, LOCAL = "openai", "cloudflare", "local-model"
# Rows of these names, of the demo tenant, are the seed's.
UPSTREAMS = (OPENAI, CLOUDFLARE, LOCAL)
CLOUDFLARE_NEEDS = ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_GATEWAY_ID", "CLOUDFLARE_API_TOKEN")

Environment = Mapping[str, str]


@dataclass(frozen=True)
class RealUpstream:
    """An upstream, and the model of it that becomes the default."""

    name: str
    model: str
    columns: Mapping[str, str]
    token: str = field(default="", repr=False)
    # An address that no column has, to be judged like one.
    address: str = ""
    # Which variable a column comes from, for whoever has to correct it.
    variables: Mapping[str, str] = field(default_factory=dict)

    def blame(self, problems: Mapping[str, list[str]]) -> str:
        """What is wrong with which variable; `problems` are those of columns."""
        return " ".join(
            f"{self.variables.get(column, self.name)}: {' '.join(told)}"
            for column, told in problems.items()
        )


def asked_for(environment: Environment) -> RealUpstream | None:
    """The first that is asked for in full; None leaves the demo provider."""
    return _local(environment) or _openai(environment) or _cloudflare(environment)


def unused(environment: Environment) -> str:
    """A sentence about what is set to no effect, or ""."""
    given = [name for name in CLOUDFLARE_NEEDS if environment.get(name)]
    if not given or environment.get(local_model.URL):
        return ""  # `./dev run` has said it
    if _openai(environment):
        return f"{given[-1]} is not used: OPENAI_API_KEY serves the demo tenant."
    missing = [name for name in CLOUDFLARE_NEEDS if name not in given]
    if missing:
        return f"{given[-1]} is not used for the demo tenant: {' and '.join(missing)} not set."
    return ""


def _local(environment: Environment) -> RealUpstream | None:
    url = environment.get(local_model.URL)
    if not url:
        return None
    columns = {"kind": "openai", "base_url": f"{url}/v1"}
    return RealUpstream(LOCAL, local_model.MODEL_ID, columns, environment[local_model.KEY])


def _openai(environment: Environment) -> RealUpstream | None:
    token = environment.get("OPENAI_API_KEY")
    if not token:
        return None
    base_url = environment.get("OPENAI_BASE_URL") or "https://api.openai.com/v1"
    return RealUpstream(
        OPENAI,
        environment.get("OPENAI_MODEL") or "gpt-4o-mini",
        {"kind": "openai", "base_url": base_url},
        token,
        variables={"base_url": "OPENAI_BASE_URL"},
    )


def _cloudflare(environment: Environment) -> RealUpstream | None:
    """Its token and address stay with the deployment: see CLOUDFLARE_* in settings.py."""
    if not all(environment.get(name) for name in CLOUDFLARE_NEEDS):
        return None
    return RealUpstream(
        CLOUDFLARE,
        environment.get("CLOUDFLARE_MODEL") or "@cf/meta/llama-3.1-8b-instruct-fast",
        {
            "kind": "cloudflare",
            "form": environment.get("CLOUDFLARE_FORM") or "rest",
            "base_url": "",
            "account_id": environment["CLOUDFLARE_ACCOUNT_ID"],
            "gateway_id": environment["CLOUDFLARE_GATEWAY_ID"],
        },
        address=environment.get("CLOUDFLARE_BASE_URL", ""),
        variables={
            "form": "CLOUDFLARE_FORM",
            "base_url": "CLOUDFLARE_BASE_URL",
            "__all__": "CLOUDFLARE_*",
        },
    )
