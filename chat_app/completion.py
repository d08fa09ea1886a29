"""One turn of a conversation: choose, reserve, open. What follows, up to its one ledger entry, is
`chat_stream`'s.

Read `start` from top to bottom: whatever may refuse the request comes before the upstream is
called, and whatever may change the answer's status comes before there is an answer.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic

import structlog
from django.conf import settings

from chat_app import context, routing, sessions, tokens
from chat_app.chat_stream import ChatStream
from chat_app.routing import Candidate, Deployment
from chat_app.schema import ChatCall, Message
from chat_app.turn import Quotes, Turn, affordable
from tenants_app import keys
from tenants_app.errors import TollgateError
from tenants_app.snapshots import Caller
from tenants_app.tracing import Trace
from usage_app import ledger, pricebook

# Of a refusal's details, those that say which budget it was.
TOLD = ("reason", "scope", "metric", "period", "limit", "used", "held")

log = structlog.get_logger("tollgate.chat")


async def start(caller: Caller, call: ChatCall, trace: Trace) -> ChatStream:
    """Admit the turn and open its upstream.

    Raises ModelNotAllowed, ModelUnknown, ModelUnpriced, RateLimited, BudgetExceeded,
    ServiceUnavailable, and ConfigurationChanged when the caller's snapshot is out of date. An
    upstream that fails is no exception here: the stream's `error` says it.
    """
    began = monotonic()
    environment = deployment()
    choice = routing.choose(caller, call, environment)
    quotes = await _quotes(caller, choice.candidates)
    candidates = affordable(caller, choice.candidates, quotes)
    room = context.room(caller.tenant, call, candidates)
    earlier = await sessions.recall(caller, call.session_id, room)
    messages = (*earlier, Message("user", call.message))
    turn = Turn(
        caller=caller,
        call=call,
        trace=trace,
        began=began,
        deployment=environment,
        candidates=candidates,
        notes=choice.notes,
        quotes=quotes,
        messages=messages,
        estimated_input=tokens.estimate(messages),
        user_hash=keys.pseudonym(caller.tenant, call.user_id) if call.user_id else "",
    )
    stream = ChatStream(turn, await ledger.reserve(turn.wish()))
    await stream.open()
    return stream


def note_refusal(caller: Caller, trace: Trace, error: TollgateError) -> None:
    """A refused turn has no ledger entry; it is counted, and has its line in the log."""
    ledger.count_refusal(caller, error.code)
    log.info(
        "chat_refused",
        tenantId=caller.tenant.slug,
        traceId=trace.id,
        requestId=str(trace.request_id),
        error=error.code,
        **{name: error.details[name] for name in TOLD if name in error.details},
    )


def deployment() -> Deployment:
    """What the environment says for every tenant."""
    return Deployment(settings.MODEL_ID, settings.FALLBACK_MODEL_ID)


async def _quotes(caller: Caller, candidates: Sequence[Candidate]) -> Quotes:
    """What each candidate's tokens cost now; None: unpriced."""
    await pricebook.ensure(caller.tenant.shared_version)
    now = datetime.now(UTC)
    models = {candidate.model.public_id for candidate in candidates}
    return {model: pricebook.rates_at(model, now) for model in models}
