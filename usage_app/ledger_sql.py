"""The statements that write windows, holds and entries, shared by `ledger` (async) and
`ledger_sync`.

Rows travel as one JSON array a statement: exact (amounts are strings), and several times cheaper
for the client than one array a column. Order of locks, everywhere: windows by id, then buckets by
id; a hold is only ever deleted by its own process or, skipping locked ones, by the sweep.
"""

from usage_app.swept import BY_HEARTBEAT, IN_FULL, REFUSED, SILENT

LOCK_WINDOWS = """
SELECT id, period, starts_at, ends_at, requests, tokens, trunc(cost * 10000000000),
    held_requests, held_tokens, trunc(held_cost * 10000000000)
FROM usage_app_usagewindow WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
"""

LOCK_WINDOW_IDS = (
    "SELECT 1 FROM usage_app_usagewindow WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
)

LOCK_BUCKETS = """
SELECT id, level_micro, refilled_at FROM usage_app_ratebucket
WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
"""

# A statement of its own, after the locks were granted: a statement that waited for a lock shows the
# new counters beside the OLD values of everything else in it.
READ_VERSIONS = """
SELECT clock_timestamp(), v.tenant_id, v.version FROM (SELECT 1) one
LEFT JOIN tenants_app_configurationversion v ON v.tenant_id = ANY(%s) OR v.tenant_id IS NULL
"""

_CHARGE_COLUMNS = """
    id, created_at, local_day, tenant_id, api_key_id, trace_id, cost_center, model, model_reason,
    upstream, price_id, stream, user_hash, metadata, held_tokens
"""

RESERVE = f"""
WITH holds AS (
    INSERT INTO usage_app_reservation ({_CHARGE_COLUMNS}, process_id, window_ids, bucket_ids,
        held_input_tokens, held_cost, estimated_input_tokens)
    SELECT {_CHARGE_COLUMNS}, process_id, window_ids, bucket_ids,
        held_input_tokens, held_cost, estimated_input_tokens
    FROM json_to_recordset(%s) AS r(
        id uuid, created_at timestamptz, local_day date, tenant_id bigint, api_key_id bigint,
        trace_id text, cost_center text, model text, model_reason text, upstream text,
        price_id bigint, stream boolean, user_hash text, metadata jsonb, held_tokens bigint,
        process_id uuid, window_ids bigint[], bucket_ids bigint[], held_input_tokens bigint,
        held_cost numeric, estimated_input_tokens bigint)
), windows AS (
    UPDATE usage_app_usagewindow w
    SET held_requests = w.held_requests + d.requests,
        held_tokens = w.held_tokens + d.tokens,
        held_cost = w.held_cost + d.cost
    FROM json_to_recordset(%s) AS d(id bigint, requests bigint, tokens bigint, cost numeric)
    WHERE w.id = d.id
)
UPDATE usage_app_ratebucket b SET level_micro = d.level_micro, refilled_at = d.refilled_at
FROM json_to_recordset(%s) AS d(id bigint, level_micro bigint, refilled_at timestamptz)
WHERE b.id = d.id
"""

# What an answer came to, as `holds.Settlement.as_row` tells it.
ENTRY_FIELDS = """
    kind text, attempts jsonb, model text, model_reason text, upstream text, price_id bigint,
    input_tokens bigint, cached_tokens bigint, cache_write_tokens bigint, output_tokens bigint,
    reasoning_tokens bigint, total_tokens bigint, cost numeric, usage_source text, outcome text,
    error_code text, ttft_ms integer, latency_ms integer, upstream_reference text
"""

ENTRY_COLUMNS = """
    id, created_at, local_day, tenant_id, api_key_id, trace_id, cost_center, stream, user_hash,
    metadata, held_tokens, overrun_tokens, corrects, reason, author, settled_at,
    kind, attempts, model, model_reason, upstream, price_id,
    input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens, total_tokens,
    cost, usage_source, outcome, error_code, ttft_ms, latency_ms, upstream_reference
"""


def _move_holds(reason: str = "''") -> str:
    """Moves every hold of `input` from held to used and writes its entry, with this `reason`, which
    may look at the hold as `h`. `input` carries what the answer came to; who asked, and in which
    windows it was admitted, is taken from the hold itself.
    """
    return f"""
gone AS (
    DELETE FROM usage_app_reservation h USING input i WHERE h.id = i.id RETURNING h.*
), deltas AS (
    SELECT w.id, count(*) AS requests, sum(i.total_tokens) AS tokens,
        sum(coalesce(i.cost, 0)) AS cost, sum(h.held_tokens) AS held_tokens,
        sum(h.held_cost) AS held_cost
    FROM gone h JOIN input i USING (id) CROSS JOIN unnest(h.window_ids) AS w(id) GROUP BY w.id
), windows AS (
    UPDATE usage_app_usagewindow w
    SET requests = w.requests + CASE w.period WHEN 'concurrent' THEN 0 ELSE d.requests END,
        tokens = w.tokens + CASE w.period WHEN 'concurrent' THEN 0 ELSE d.tokens END,
        cost = w.cost + CASE w.period WHEN 'concurrent' THEN 0 ELSE d.cost END,
        held_requests = w.held_requests - d.requests,
        held_tokens = w.held_tokens - d.held_tokens,
        held_cost = w.held_cost - d.held_cost
    FROM deltas d WHERE w.id = d.id
    RETURNING w.id, w.requests, w.tokens, trunc(w.cost * 10000000000),
        w.held_requests, w.held_tokens, trunc(w.held_cost * 10000000000)
), buckets AS (
    UPDATE usage_app_ratebucket b SET level_micro = b.level_micro + d.unused * 1000000
    FROM (
        SELECT b.id, sum(h.held_tokens - i.total_tokens)::bigint AS unused
        FROM gone h JOIN input i USING (id) CROSS JOIN unnest(h.bucket_ids) AS b(id) GROUP BY b.id
    ) d WHERE b.id = d.id
), written AS (
    INSERT INTO usage_app_ledgerentry ({ENTRY_COLUMNS})
    SELECT h.id, h.created_at, h.local_day, h.tenant_id, h.api_key_id, h.trace_id, h.cost_center,
        h.stream, h.user_hash, h.metadata, h.held_tokens,
        greatest(i.total_tokens - h.held_tokens, 0), NULL, {reason}, '', clock_timestamp(),
        i.kind, i.attempts, i.model, i.model_reason, i.upstream, i.price_id,
        i.input_tokens, i.cached_tokens, i.cache_write_tokens, i.output_tokens,
        i.reasoning_tokens, i.total_tokens, i.cost, i.usage_source, i.outcome, i.error_code,
        i.ttft_ms, i.latency_ms, i.upstream_reference
    FROM gone h JOIN input i USING (id)
    RETURNING id
)
"""


# Answers with the windows as they are now, and the ids of the entries.
SETTLE = f"""
WITH input AS (SELECT * FROM json_to_recordset(%s) AS r(id uuid, {ENTRY_FIELDS})), {_move_holds()}
SELECT w.*, NULL::uuid FROM windows w UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, id FROM written
"""

# A settlement that comes after the sweep: the difference to what the sweep charged, as an entry of
# its own. The table's key refuses a second one, since both id and created_at are derived from the
# request's. Once the day's month has been closed it counts in the tenant's day of today.
SETTLE_LATE = f"""
WITH input AS (
    SELECT * FROM json_to_recordset(%(row)s) AS r(
        id uuid, created_at timestamptz, adjustment_id uuid, window_ids bigint[], {ENTRY_FIELDS})
), written AS (
    INSERT INTO usage_app_ledgerentry ({ENTRY_COLUMNS})
    SELECT i.adjustment_id, e.created_at,
        CASE WHEN e.local_day < months.open_from
            THEN greatest((clock_timestamp() AT TIME ZONE t.timezone)::date, months.open_from)
            ELSE e.local_day END,
        e.tenant_id, e.api_key_id, e.trace_id,
        e.cost_center, e.stream, e.user_hash, e.metadata, 0, 0, e.id,
        'settled after the hold had expired', '', clock_timestamp(),
        'adjustment', i.attempts, i.model, i.model_reason, i.upstream, i.price_id,
        i.input_tokens - e.input_tokens, i.cached_tokens - e.cached_tokens,
        i.cache_write_tokens - e.cache_write_tokens, i.output_tokens - e.output_tokens,
        i.reasoning_tokens - e.reasoning_tokens, i.total_tokens - e.total_tokens,
        CASE WHEN i.cost IS NOT NULL OR e.cost IS NOT NULL
            THEN coalesce(i.cost, 0) - coalesce(e.cost, 0) END,
        i.usage_source, i.outcome, i.error_code, i.ttft_ms, i.latency_ms, i.upstream_reference
    FROM input i JOIN usage_app_ledgerentry e ON e.id = i.id AND e.created_at = i.created_at
    JOIN tenants_app_tenant t ON t.id = e.tenant_id
    CROSS JOIN LATERAL (
        SELECT (max(month) + interval '1 month')::date AS open_from
        FROM usage_app_statement WHERE tenant_id = e.tenant_id
    ) months
    WHERE e.outcome = 'expired'
    ON CONFLICT DO NOTHING
    RETURNING corrects, total_tokens, coalesce(cost, 0) AS cost
)
UPDATE usage_app_usagewindow w SET tokens = w.tokens + d.total_tokens, cost = w.cost + d.cost
FROM written d JOIN input i ON i.id = d.corrects
WHERE w.id = ANY(i.window_ids) AND w.period <> 'concurrent'
"""

HEARTBEAT = """
INSERT INTO usage_app_gatewayprocess (id, host, pid, started_at, heartbeat_at)
VALUES (%s, %s, %s, clock_timestamp(), clock_timestamp())
ON CONFLICT (id) DO UPDATE SET heartbeat_at = clock_timestamp()
"""

CHECKPOINT = """
UPDATE usage_app_reservation h
SET streamed_output_tokens = c.output, model = c.model, model_reason = c.model_reason,
    upstream = c.upstream, price_id = c.price_id
FROM json_to_recordset(%s) AS c(
    id uuid, output bigint, model text, model_reason text, upstream text, price_id bigint)
WHERE h.id = c.id AND h.id IN (
    SELECT id FROM usage_app_reservation WHERE id = ANY(%s) ORDER BY id FOR UPDATE SKIP LOCKED)
"""

# Gives a hold to the sweep: its settlement cannot be written, and its process would keep it alive
# for ever.
ABANDON = "UPDATE usage_app_reservation SET process_id = NULL WHERE id = ANY(%s)"

_SILENT = """
(h.process_id IS NULL OR NOT EXISTS (
    SELECT 1 FROM usage_app_gatewayprocess p
    WHERE p.id = h.process_id AND p.heartbeat_at > clock_timestamp() - %(silence)s::interval))
AND pg_postmaster_start_time() < clock_timestamp() - %(silence)s::interval
"""

FIND_EXPIRED = f"""
SELECT h.id, h.window_ids, h.bucket_ids FROM usage_app_reservation h
WHERE {_SILENT} ORDER BY h.id LIMIT %(limit)s
"""

LOCK_EXPIRED = f"""
SELECT h.id FROM usage_app_reservation h WHERE h.id = ANY(%(ids)s) AND {_SILENT}
ORDER BY h.id FOR UPDATE SKIP LOCKED
"""

_WHY_SWEPT = f"""
    CASE WHEN h.process_id IS NULL THEN '{REFUSED}' ELSE '{SILENT}' END || '; '
    || CASE WHEN h.streamed_output_tokens IS NULL THEN '{IN_FULL}' ELSE '{BY_HEARTBEAT}' END
"""

# A hold of which a heartbeat had written down that it streams is charged its estimated input and
# what was relayed by then; any other in full: the provider may have answered.
EXPIRE = f"""
WITH input AS (
    SELECT c.*, c.input_tokens + c.output_tokens AS total_tokens,
        (c.input_tokens * p.input + c.output_tokens * p.output) * 0.000001 AS cost
    FROM (
        SELECT h.id, 'usage' AS kind, '[]'::jsonb AS attempts, h.model, h.model_reason,
            h.upstream, h.price_id,
            CASE WHEN h.streamed_output_tokens IS NULL THEN h.held_input_tokens
                ELSE h.estimated_input_tokens END AS input_tokens,
            coalesce(h.streamed_output_tokens, h.held_tokens - h.held_input_tokens)
                AS output_tokens,
            0 AS cached_tokens, 0 AS cache_write_tokens, 0 AS reasoning_tokens,
            'expired' AS usage_source, 'expired' AS outcome, '' AS error_code,
            NULL::integer AS ttft_ms,
            least(extract(epoch FROM clock_timestamp() - h.created_at) * 1000,
                2147483647)::integer AS latency_ms,
            '' AS upstream_reference
        FROM usage_app_reservation h WHERE h.id = ANY(%s)
    ) c LEFT JOIN usage_app_price p ON p.id = c.price_id
), {_move_holds(_WHY_SWEPT)}
SELECT count(*) FROM written
"""

CREATE_WINDOWS = """
INSERT INTO usage_app_usagewindow (tenant_id, team_id, api_key_id, period, starts_at, ends_at)
SELECT tenant_id, team_id, api_key_id, period, starts_at, ends_at
FROM json_to_recordset(%s) AS r(tenant_id bigint, team_id bigint, api_key_id bigint, period text,
    starts_at timestamptz, ends_at timestamptz)
ORDER BY tenant_id, team_id NULLS FIRST, api_key_id NULLS FIRST, period, starts_at
ON CONFLICT DO NOTHING
"""

# A branch for each kind of scope, since IS NOT DISTINCT FROM uses no index.
FIND_WINDOWS = """
SELECT w.id, r.tenant_id, r.team_id, r.api_key_id, r.period
FROM json_to_recordset(%s)
    AS r(tenant_id bigint, team_id bigint, api_key_id bigint, period text, starts_at timestamptz)
CROSS JOIN LATERAL (
    SELECT id FROM usage_app_usagewindow
    WHERE tenant_id = r.tenant_id AND api_key_id = r.api_key_id AND team_id IS NULL
        AND period = r.period AND starts_at = r.starts_at
    UNION ALL
    SELECT id FROM usage_app_usagewindow
    WHERE tenant_id = r.tenant_id AND api_key_id IS NULL AND team_id = r.team_id
        AND period = r.period AND starts_at = r.starts_at
    UNION ALL
    SELECT id FROM usage_app_usagewindow
    WHERE r.api_key_id IS NULL AND r.team_id IS NULL
        AND tenant_id = r.tenant_id AND api_key_id IS NULL AND team_id IS NULL
        AND period = r.period AND starts_at = r.starts_at
) w
"""

CREATE_BUCKETS = """
INSERT INTO usage_app_ratebucket
    (tenant_id, team_id, api_key_id, metric, level_micro, refilled_at)
SELECT tenant_id, team_id, api_key_id, metric, level_micro, clock_timestamp()
FROM json_to_recordset(%s)
    AS r(tenant_id bigint, team_id bigint, api_key_id bigint, metric text, level_micro bigint)
ORDER BY tenant_id, team_id NULLS FIRST, api_key_id NULLS FIRST, metric
ON CONFLICT DO NOTHING
"""

FIND_BUCKETS = """
SELECT b.id, b.tenant_id, b.team_id, b.api_key_id, b.metric
FROM usage_app_ratebucket b
JOIN json_to_recordset(%s)
    AS r(tenant_id bigint, team_id bigint, api_key_id bigint, metric text)
    ON b.tenant_id = r.tenant_id AND b.metric = r.metric
    AND b.team_id IS NOT DISTINCT FROM r.team_id AND b.api_key_id IS NOT DISTINCT FROM r.api_key_id
"""

# A tenant or key that was deleted meanwhile is left out: its rows would fail all the others.
COUNT_REFUSALS = """
INSERT INTO usage_app_refusalcount (tenant_id, api_key_id, hour, code, refusals)
SELECT tenant_id, api_key_id, date_trunc('hour', clock_timestamp(), 'UTC'), code, refusals
FROM json_to_recordset(%s) AS r(tenant_id bigint, api_key_id bigint, code text, refusals bigint)
WHERE EXISTS (SELECT FROM tenants_app_tenant WHERE id = r.tenant_id)
    AND (r.api_key_id IS NULL OR EXISTS (SELECT FROM tenants_app_apikey WHERE id = r.api_key_id))
ORDER BY tenant_id, api_key_id NULLS FIRST, code
ON CONFLICT (tenant_id, api_key_id, hour, code) DO UPDATE
SET refusals = usage_app_refusalcount.refusals + excluded.refusals
"""
