"""The statements that match a provider's bill with the books, in temporary tables of a transaction.
Text only; `usage_app.bills.provider_bills` runs it.

Theirs: a row for each reference of the bill, and for lines without one for each day and model.
Ours: a row for each request, with everything that later entries say of it. Attempts: those that
failed. Each of ours, and each attempt, is given at most one of theirs.
"""

COPY_LINES = """
COPY usage_app_providerbillline
    (bill_id, line, day, reference, model, input_tokens, output_tokens, amount) FROM STDIN
"""

LOCK = "SELECT 1 FROM usage_app_providerbill WHERE id = %(bill)s FOR UPDATE"

_CLEAR = "DROP TABLE IF EXISTS bill_scope, bill_theirs, bill_names, bill_ours, bill_attempts"

# Upstreams are told by name on entries. A tenant's own hides a shared one of the same name.
_SCOPE = """
CREATE TEMP TABLE bill_scope ON COMMIT DROP AS
SELECT u.name, t.id AS tenant_id
FROM usage_app_providerbill b
CROSS JOIN LATERAL jsonb_to_recordset(b.upstreams) AS u(name text, tenant bigint)
JOIN tenants_app_tenant t ON t.id = u.tenant OR (u.tenant IS NULL AND NOT EXISTS (
    SELECT 1 FROM tenants_app_upstream own WHERE own.tenant_id = t.id AND own.name = u.name))
WHERE b.id = %(bill)s
"""

_THEIRS = """
CREATE TEMP TABLE bill_theirs ON COMMIT DROP AS
SELECT row_number() OVER (ORDER BY g.reference, g.day, g.model) AS id, g.*
FROM (
    SELECT l.reference, min(l.day) AS day, min(l.model) AS model, count(*) AS lines,
        coalesce(sum(l.input_tokens), 0)::bigint AS input_tokens,
        coalesce(sum(l.output_tokens), 0)::bigint AS output_tokens,
        coalesce(sum(l.amount), 0) AS amount
    FROM usage_app_providerbillline l WHERE l.bill_id = %(bill)s
    GROUP BY l.reference, CASE WHEN l.reference = '' THEN l.day END,
        CASE WHEN l.reference = '' THEN l.model END
) g
"""

# How the provider calls a model, where a route says so and the bill does not use our name.
_NAMES = """
CREATE TEMP TABLE bill_names ON COMMIT DROP AS
SELECT DISTINCT ON (s.name, s.tenant_id, m.public_id)
    s.name, s.tenant_id, m.public_id AS model, r.upstream_model AS billed
FROM bill_scope s
JOIN tenants_app_upstream u
    ON u.name = s.name AND (u.tenant_id = s.tenant_id OR u.tenant_id IS NULL)
JOIN tenants_app_route r
    ON r.upstream_id = u.id AND (r.tenant_id = s.tenant_id OR r.tenant_id IS NULL)
JOIN tenants_app_model m ON m.id = r.model_id
WHERE r.upstream_model <> ''
    AND NOT EXISTS (SELECT 1 FROM bill_theirs t WHERE t.model = m.public_id)
ORDER BY s.name, s.tenant_id, m.public_id, u.tenant_id NULLS LAST, r.tenant_id NULLS LAST
"""

# A request that another bill has by its reference is no longer ours to look for: an answer that
# began on the last day of a bill may be on the next one.
_OURS = """
CREATE TEMP TABLE bill_ours ON COMMIT DROP AS
WITH later AS (
    SELECT e.corrects AS id, sum(e.input_tokens)::bigint AS input_tokens,
        sum(e.output_tokens)::bigint AS output_tokens, sum(e.cost) AS cost,
        max(e.upstream) FILTER (WHERE e.kind = 'adjustment') AS upstream,
        max(e.model) FILTER (WHERE e.kind = 'adjustment') AS model,
        max(e.upstream_reference) FILTER (WHERE e.kind = 'adjustment') AS reference
    FROM usage_app_ledgerentry e
    WHERE e.corrects IS NOT NULL AND e.created_at >= %(since)s GROUP BY e.corrects
), charged AS (
    SELECT e.id, e.tenant_id, e.created_at, coalesce(l.upstream, e.upstream) AS upstream,
        coalesce(l.model, e.model) AS model,
        coalesce(nullif(l.reference, ''), e.upstream_reference) AS reference,
        e.input_tokens + coalesce(l.input_tokens, 0) AS input_tokens,
        e.output_tokens + coalesce(l.output_tokens, 0) AS output_tokens,
        coalesce(e.cost, 0) + coalesce(l.cost, 0) AS cost,
        e.cost IS NULL AND l.cost IS NULL AS unpriced
    FROM usage_app_ledgerentry e LEFT JOIN later l ON l.id = e.id
    WHERE e.kind = 'usage' AND e.created_at >= %(since)s AND e.created_at < %(until)s
)
SELECT c.id, c.tenant_id, c.created_at, (c.created_at AT TIME ZONE 'UTC')::date AS day,
    coalesce(n.billed, c.model) AS model, c.reference, c.input_tokens, c.output_tokens, c.cost,
    c.unpriced, c.input_tokens <> 0 OR c.output_tokens <> 0 OR c.cost <> 0 AS counts,
    c.created_at >= %(first)s AS inside, NULL::bigint AS theirs
FROM charged c
JOIN bill_scope s ON s.name = c.upstream AND s.tenant_id = c.tenant_id
LEFT JOIN bill_names n
    ON n.name = c.upstream AND n.tenant_id = c.tenant_id AND n.model = c.model
WHERE NOT EXISTS (
    SELECT 1 FROM usage_app_providerbillmatch m
    WHERE m.request_id = c.id AND m.outcome = 'reference' AND m.bill_id <> %(bill)s)
"""

# The last attempt of a request that was charged is what the charge is for.
_ATTEMPTS = """
CREATE TEMP TABLE bill_attempts ON COMMIT DROP AS
SELECT row_number() OVER (ORDER BY e.created_at, e.id, a.place) AS id,
    coalesce(e.corrects, e.id) AS request_id, e.tenant_id,
    (e.created_at AT TIME ZONE 'UTC')::date AS day,
    coalesce(n.billed, a.told ->> 'model') AS model,
    coalesce(a.told ->> 'reference', '') AS reference,
    coalesce(a.told -> 'maybeBilled' = 'true', false) AS maybe_billed, NULL::bigint AS theirs
FROM usage_app_ledgerentry e
CROSS JOIN LATERAL jsonb_array_elements(
    CASE jsonb_typeof(e.attempts) WHEN 'array' THEN e.attempts ELSE '[]' END
) WITH ORDINALITY AS a(told, place)
JOIN bill_scope s ON s.name = a.told ->> 'upstream' AND s.tenant_id = e.tenant_id
LEFT JOIN bill_ours o ON o.id = coalesce(e.corrects, e.id)
LEFT JOIN bill_names n
    ON n.name = s.name AND n.tenant_id = s.tenant_id AND n.model = a.told ->> 'model'
WHERE e.kind IN ('usage', 'adjustment')
    AND e.created_at >= %(since)s AND e.created_at < %(until)s
    AND a.told ->> 'outcome' IS DISTINCT FROM 'ok'
    AND (coalesce(a.told ->> 'reference', '') <> '' OR a.told -> 'maybeBilled' = 'true')
    AND NOT (coalesce(o.counts, false) AND a.place = jsonb_array_length(e.attempts))
"""

_FREE = """
NOT EXISTS (SELECT 1 FROM bill_ours x WHERE x.theirs = t.id)
AND NOT EXISTS (SELECT 1 FROM bill_attempts x WHERE x.theirs = t.id)
"""


def _by_reference(table: str, order: str) -> str:
    return f"""
UPDATE {table} o SET theirs = f.theirs FROM (
    SELECT DISTINCT ON (t.id) t.id AS theirs, o.id
    FROM bill_theirs t JOIN {table} o ON o.reference = t.reference
    WHERE t.reference <> '' AND {_FREE} ORDER BY t.id, {order}
) f WHERE o.id = f.id
"""


def _one_by_one(table: str, condition: str, size: str) -> str:
    """A line whose reference nothing here knows, with one that has none: the smallest of a day and
    model with the smallest.
    """
    return f"""
WITH t AS (
    SELECT t.id, t.day, t.model, row_number() OVER (
        PARTITION BY t.day, t.model ORDER BY t.input_tokens + t.output_tokens, t.id) AS place
    FROM bill_theirs t WHERE t.reference <> '' AND {_FREE}
), o AS (
    SELECT o.id, o.day, o.model,
        row_number() OVER (PARTITION BY o.day, o.model ORDER BY {size}, o.id) AS place
    FROM {table} o WHERE o.theirs IS NULL AND o.reference = '' AND {condition}
)
UPDATE {table} SET theirs = t.id FROM t JOIN o USING (day, model, place) WHERE {table}.id = o.id
"""


def _by_day(table: str, condition: str) -> str:
    """Lines without a reference, with all that is left of their day and model."""
    return f"""
UPDATE {table} o SET theirs = t.id FROM bill_theirs t
WHERE t.reference = '' AND t.day = o.day AND t.model = o.model AND o.theirs IS NULL
    AND {condition} AND (o.reference = '' OR NOT EXISTS (
        SELECT 1 FROM bill_theirs r
        WHERE r.reference <> '' AND r.day = o.day AND r.model = o.model))
"""


_RESULT = """
INSERT INTO usage_app_providerbillmatch (
    bill_id, outcome, day, model, reference, lines, requests, attempts, request_id, tenant_id,
    billed_input_tokens, billed_output_tokens, billed_amount, input_tokens, output_tokens, cost,
    unpriced)
SELECT * FROM (
    SELECT %(bill)s, CASE WHEN o.reference = t.reference AND t.reference <> '' THEN 'reference'
        WHEN o.requests > 0 THEN 'day' WHEN a.attempts > 0 THEN 'attempt' ELSE 'missing_here'
        END AS outcome, t.day, t.model, t.reference, t.lines, coalesce(o.requests, 0),
        coalesce(a.attempts, 0), coalesce(o.request_id, a.request_id),
        coalesce(o.tenant_id, a.tenant_id), t.input_tokens, t.output_tokens, t.amount,
        coalesce(o.input_tokens, 0), coalesce(o.output_tokens, 0), coalesce(o.cost, 0),
        coalesce(o.unpriced, 0)
    FROM bill_theirs t
    LEFT JOIN (
        SELECT o.theirs, min(o.reference) AS reference, count(*) AS requests,
            CASE count(*) WHEN 1 THEN (array_agg(o.id))[1] END AS request_id,
            CASE WHEN min(o.tenant_id) = max(o.tenant_id) THEN min(o.tenant_id) END AS tenant_id,
            sum(o.input_tokens)::bigint AS input_tokens,
            sum(o.output_tokens)::bigint AS output_tokens, sum(o.cost) AS cost,
            count(*) FILTER (WHERE o.unpriced) AS unpriced
        FROM bill_ours o WHERE o.theirs IS NOT NULL GROUP BY o.theirs
    ) o ON o.theirs = t.id
    LEFT JOIN (
        SELECT a.theirs, count(*) AS attempts,
            CASE count(*) WHEN 1 THEN (array_agg(a.request_id))[1] END AS request_id,
            CASE WHEN min(a.tenant_id) = max(a.tenant_id) THEN min(a.tenant_id) END AS tenant_id
        FROM bill_attempts a WHERE a.theirs IS NOT NULL GROUP BY a.theirs
    ) a ON a.theirs = t.id
    UNION ALL
    SELECT %(bill)s, 'missing_there', o.day, o.model, o.reference, 0, 1, 0, o.id, o.tenant_id,
        0, 0, 0, o.input_tokens, o.output_tokens, o.cost, o.unpriced::integer
    FROM bill_ours o WHERE o.theirs IS NULL AND o.inside AND o.counts
) r ORDER BY r.outcome, r.day, r.model, r.reference
"""

_SUMMARY = """
UPDATE usage_app_providerbill b SET matched_at = clock_timestamp(), missing_here = s.here,
    missing_there = s.there, difference = CASE WHEN b.amount IS NOT NULL THEN s.difference END
FROM (
    SELECT coalesce(sum(lines) FILTER (WHERE outcome = 'missing_here'), 0) AS here,
        coalesce(sum(requests) FILTER (WHERE outcome = 'missing_there'), 0) AS there,
        coalesce(sum(billed_amount - cost), 0) AS difference
    FROM usage_app_providerbillmatch WHERE bill_id = %(bill)s
) s WHERE b.id = %(bill)s
"""

_OPEN = "o.inside AND o.counts"
_OUR_SIZE = "o.input_tokens + o.output_tokens"
_MAYBE = "o.maybe_billed"

# In this order: what names itself first, then charges, then attempts that may have been billed.
MATCH = (
    *(_CLEAR, _SCOPE, _THEIRS, "ANALYZE bill_theirs", _NAMES, _OURS, "ANALYZE bill_ours"),
    *(_ATTEMPTS, "ANALYZE bill_attempts"),
    _by_reference("bill_ours", "o.created_at, o.id"),
    _by_reference("bill_attempts", "o.id"),
    _one_by_one("bill_ours", _OPEN, _OUR_SIZE),
    _by_day("bill_ours", _OPEN),
    _one_by_one("bill_attempts", _MAYBE, "o.id"),
    _by_day("bill_attempts", _MAYBE),
    "DELETE FROM usage_app_providerbillmatch WHERE bill_id = %(bill)s",
    *(_RESULT, _SUMMARY, _CLEAR),
)

# What each class comes to.
SUMS = """
SELECT outcome, count(*), sum(lines)::bigint, sum(requests)::bigint, sum(attempts)::bigint,
    count(*) FILTER (WHERE billed_input_tokens <> input_tokens
        OR billed_output_tokens <> output_tokens),
    sum(billed_input_tokens)::bigint, sum(billed_output_tokens)::bigint, sum(billed_amount),
    sum(input_tokens)::bigint, sum(output_tokens)::bigint, sum(cost), sum(unpriced)::bigint
FROM usage_app_providerbillmatch WHERE bill_id = %s GROUP BY outcome
"""

# Each upstream that was charged on a day of the month, and the bill that tells of that day, if any.
# The demo provider bills nobody.
USED = """
WITH used AS MATERIALIZED (
    SELECT DISTINCT e.tenant_id, e.upstream, (e.created_at AT TIME ZONE 'UTC')::date AS day
    FROM usage_app_ledgerentry e
    WHERE e.kind = 'usage' AND e.created_at >= %(since)s AND e.created_at < %(until)s
        AND (e.total_tokens <> 0 OR e.cost <> 0)
        AND (%(tenant_id)s::bigint IS NULL OR e.tenant_id = %(tenant_id)s)
)
SELECT DISTINCT u.upstream, b.id
FROM used u
LEFT JOIN tenants_app_upstream own ON own.name = u.upstream AND own.tenant_id = u.tenant_id
LEFT JOIN tenants_app_upstream shared ON shared.name = u.upstream AND shared.tenant_id IS NULL
LEFT JOIN usage_app_providerbill b ON u.day BETWEEN b.first_day AND b.last_day
    AND b.upstreams @> jsonb_build_array(
        jsonb_build_object('name', u.upstream, 'tenant', own.tenant_id))
WHERE coalesce(own.kind, shared.kind, '') <> 'demo'
"""
