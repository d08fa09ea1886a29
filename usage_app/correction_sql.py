"""The statements that write corrections and credits; `ledger_corrections` runs them. Neither moves
a window: a budget limits what is asked for, not what is found out later.
"""

from usage_app.ledger_sql import ENTRY_COLUMNS

# One at a time for a tenant, in a statement of its own: what waits for it must then see what the
# other has written.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"

WRITTEN = "SELECT EXISTS (SELECT 1 FROM usage_app_ledgerentry WHERE id = %s)"

# Who asked, and on whose account, is the request's own.
_INTO_THE_LEDGER = f"""
INSERT INTO usage_app_ledgerentry ({ENTRY_COLUMNS})
SELECT i.id, clock_timestamp(), i.local_day, e.tenant_id, e.api_key_id, e.trace_id, e.cost_center,
    e.stream, e.user_hash, e.metadata, 0, 0, e.id, i.reason, i.author, clock_timestamp(),
    'correction', '[]', i.model, e.model_reason, e.upstream, i.price_id,
    i.input_tokens, i.cached_tokens, i.cache_write_tokens, i.output_tokens, i.reasoning_tokens,
    i.input_tokens + i.output_tokens, i.cost, e.usage_source, e.outcome, '', NULL, 0,
    e.upstream_reference
FROM input i JOIN usage_app_ledgerentry e
    ON e.id = i.corrects AND e.created_at = i.admitted_at AND e.kind = 'usage'
"""

CORRECT = f"""
WITH input AS (
    SELECT * FROM json_to_recordset(%s) AS r(
        id uuid, corrects uuid, admitted_at timestamptz, local_day date, model text, reason text,
        author text, price_id bigint, input_tokens bigint, cached_tokens bigint,
        cache_write_tokens bigint, output_tokens bigint, reasoning_tokens bigint, cost numeric)
)
{_INTO_THE_LEDGER}
"""

CREDIT = f"""
INSERT INTO usage_app_ledgerentry ({ENTRY_COLUMNS}, credit)
SELECT i.id, clock_timestamp(), i.local_day, i.tenant_id, NULL, '', i.cost_center,
    false, '', '{{}}', 0, 0, NULL, i.reason, i.author, clock_timestamp(),
    'credit', '[]', '', '', '', NULL, 0, 0, 0, 0, 0, 0, 0, 'provider', 'ok', '', NULL, 0, '',
    i.credit
FROM json_to_recordset(%s) AS i(
    id uuid, tenant_id bigint, local_day date, cost_center text, reason text, author text,
    credit numeric)
"""

# Days of a tenant on which it made requests.
DAYS = """
SELECT DISTINCT local_day FROM usage_app_ledgerentry
WHERE tenant_id = %s AND local_day BETWEEN %s AND %s AND kind = 'usage' ORDER BY local_day
"""

_TOKENS = (
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)
_FACT = ", ".join(f"e.{name}" for name in ("kind", "model", "price_id", *_TOKENS, "cost"))
_SUMS = ", ".join(
    f"sum({name})::bigint AS {name},"
    f" coalesce(sum({name}) FILTER (WHERE cost IS NULL), 0)::bigint AS unpriced_{name}"
    for name in _TOKENS
)
_UNPRICED = ", ".join(f"unpriced_{name}" for name in _TOKENS)
_TAKEN_BACK = ", ".join(f"-unpriced_{name}" for name in _TOKENS)

# What each request of a tenant's day comes to, and what it would at the price that the book has now
# for the instant of its admission. A cost that somebody gave by hand has no price: it stays.
_DIFFERING = f"""
requests AS MATERIALIZED (
    SELECT e.id AS request_id, e.created_at AS admitted_at, e.settled_at, {_FACT}
    FROM usage_app_ledgerentry e
    WHERE e.tenant_id = %(tenant_id)s AND e.local_day = %(day)s AND e.kind = 'usage'
), facts AS (
    SELECT * FROM requests
    UNION ALL
    SELECT r.request_id, r.admitted_at, e.settled_at, {_FACT}
    FROM requests r JOIN usage_app_ledgerentry e ON e.corrects = r.request_id
), standing AS (
    SELECT request_id, admitted_at, {_SUMS}, sum(cost) AS cost,
        (array_agg(model ORDER BY settled_at DESC) FILTER (WHERE kind <> 'correction'))[1] AS model,
        (array_agg(price_id ORDER BY settled_at DESC) FILTER (WHERE price_id IS NOT NULL))[1]
            AS old_price_id,
        bool_or(kind = 'correction' AND price_id IS NULL AND cost IS NOT NULL) AS by_hand
    FROM facts GROUP BY request_id, admitted_at
), book AS (
    SELECT m.public_id, p.*,
        lead(p.valid_from) OVER (PARTITION BY p.model_id ORDER BY p.valid_from) AS valid_to
    FROM usage_app_price p JOIN tenants_app_model m ON m.id = p.model_id
), compared AS (
    SELECT s.*, p.id AS price_id, ({_UNPRICED}) <> (0, 0, 0, 0, 0) AS has_unpriced,
        ((s.input_tokens - s.cached_tokens - s.cache_write_tokens) * p.input
            + s.cached_tokens * coalesce(p.cached_input, p.input)
            + s.cache_write_tokens * coalesce(p.cache_write, p.input)
            + s.output_tokens * p.output) * 0.000001 AS new_cost
    FROM standing s LEFT JOIN book p ON p.public_id = s.model AND p.valid_from <= s.admitted_at
        AND (p.valid_to IS NULL OR s.admitted_at < p.valid_to)
    WHERE %(model)s::text IS NULL OR s.model = %(model)s
), differing AS MATERIALIZED (
    SELECT c.*, CASE WHEN price_id IS NULL THEN 'no price' WHEN by_hand THEN 'by hand'
        ELSE 'differs' END AS state
    FROM compared c
    WHERE has_unpriced OR (price_id IS NOT NULL AND coalesce(cost, 0) <> new_cost)
)
"""

_SUMMARY = """
SELECT state, model, old_price_id, price_id, count(*), coalesce(sum(cost), 0),
    coalesce(sum(new_cost), 0)
FROM differing GROUP BY 1, 2, 3, 4 ORDER BY 2, 1, 3, 4
"""

COMPARE = f"WITH {_DIFFERING} {_SUMMARY}"

# Tokens that had no price are taken back and written anew with one: so they count as priced.
REPRICE = f"""
WITH {_DIFFERING}, amounts AS (
    SELECT request_id, admitted_at, model, NULL::bigint AS price_id, {_TAKEN_BACK},
        NULL::numeric AS cost
    FROM differing WHERE state = 'differs' AND has_unpriced
    UNION ALL
    SELECT request_id, admitted_at, model, price_id, {_UNPRICED}, new_cost - coalesce(cost, 0)
    FROM differing WHERE state = 'differs'
), input AS (
    SELECT gen_random_uuid() AS id, a.request_id AS corrects, %(local_day)s::date AS local_day,
        %(reason)s AS reason, %(author)s AS author, a.*
    FROM amounts a(request_id, admitted_at, model, price_id, {", ".join(_TOKENS)}, cost)
), written AS ({_INTO_THE_LEDGER})
{_SUMMARY}
"""
