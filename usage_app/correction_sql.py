"""The statements that write corrections and credits; `ledger_corrections` runs them. Neither moves
a window: a budget limits what is asked for, not what is found out later.
"""

from usage_app.ledger_sql import ENTRY_COLUMNS

# One at a time for a tenant, in a statement of its own: what waits for it must then see what the
# other has written.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"

WRITTEN = "SELECT EXISTS (SELECT 1 FROM usage_app_ledgerentry WHERE id = %s)"

# Who asked, and on whose account, is the request's own.
CORRECT = f"""
INSERT INTO usage_app_ledgerentry ({ENTRY_COLUMNS})
SELECT i.id, clock_timestamp(), i.local_day, e.tenant_id, e.api_key_id, e.trace_id, e.cost_center,
    e.stream, e.user_hash, e.metadata, 0, 0, e.id, i.reason, i.author, clock_timestamp(),
    'correction', '[]', i.model, e.model_reason, e.upstream, i.price_id,
    i.input_tokens, i.cached_tokens, i.cache_write_tokens, i.output_tokens, i.reasoning_tokens,
    i.input_tokens + i.output_tokens, i.cost, e.usage_source, e.outcome, '', NULL, 0,
    e.upstream_reference
FROM json_to_recordset(%s) AS i(
    id uuid, corrects uuid, admitted_at timestamptz, local_day date, model text, reason text,
    author text, price_id bigint, input_tokens bigint, cached_tokens bigint,
    cache_write_tokens bigint, output_tokens bigint, reasoning_tokens bigint, cost numeric)
JOIN usage_app_ledgerentry e
    ON e.id = i.corrects AND e.created_at = i.admitted_at AND e.kind = 'usage'
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
