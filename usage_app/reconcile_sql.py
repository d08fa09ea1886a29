"""The statements that compare the books with one another, of one tenant in a few of its days. Text
only; `reconciliation` runs them, all in one snapshot.

Each adds up what should be there, joins it with what is there, and answers in one row: how many
places were compared, how many of them were left out as not rolled up yet, how many entries were
read, and each place whose figures differ as [place, cost centre, key, model, expected, found].
"""

from usage_app.usage_sql import BUCKETED, FIGURES_OF_ENTRIES, FIGURES_OF_ROW, FIGURES_OF_ROWS

WINDOW_FIGURES = ("requests", "tokens", "cost")
HOLD_FIGURES = ("held_requests", "held_tokens", "held_cost")


def _compared(expected: str, found: str) -> str:
    """Joined by place, cost centre, key (0: none; below: a team's, negated) and model; `fresh`
    places are not compared.
    """
    return f"""
WITH days AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%(days)s)
        AS d(day date, starts_at timestamptz, ends_at timestamptz)
), e AS ({expected}), r AS ({found}), both_sides AS (
    SELECT place, cost_center, key, model, coalesce(e.fresh, false) AS fresh, e.entries,
        coalesce(e.figures, array_fill(0::numeric, ARRAY[cardinality(r.figures)])) AS expected,
        coalesce(r.figures, array_fill(0::numeric, ARRAY[cardinality(e.figures)])) AS found
    FROM e FULL JOIN r USING (place, cost_center, key, model)
)
SELECT count(*), count(*) FILTER (WHERE fresh), coalesce(sum(entries), 0)::bigint,
    coalesce(
        jsonb_agg(jsonb_build_array(place, cost_center, key, model, expected, found)
            ORDER BY place, cost_center, key, model)
        FILTER (WHERE NOT fresh AND expected IS DISTINCT FROM found), '[]')::text
FROM both_sides
"""


def _rolled_up(place: str, condition: str) -> str:
    """What a roll-up should say. A group with an entry since the mark will be made anew."""
    return f"""
    SELECT {place} AS place, e.cost_center, coalesce(e.api_key_id, 0) AS key, e.model,
        bool_or(e.settled_at >= %(since)s::timestamptz) AS fresh, count(*) AS entries,
        {FIGURES_OF_ENTRIES} AS figures
    FROM ({BUCKETED} WHERE e.tenant_id = %(tenant_id)s AND {condition} OFFSET 0) e
    GROUP BY place, e.cost_center, e.api_key_id, e.model
"""


def _rows(table: str, place: str, condition: str) -> str:
    return f"""
    SELECT {place} AS place, r.cost_center, coalesce(r.api_key_id, 0) AS key, r.model,
        {FIGURES_OF_ROW} AS figures
    FROM {table} r WHERE r.tenant_id = %(tenant_id)s AND {condition}
"""


DAYS = _compared(
    _rolled_up("e.local_day", "e.local_day BETWEEN %(first)s AND %(last)s"),
    _rows("usage_app_dailyusage", "r.day", "r.day BETWEEN %(first)s AND %(last)s"),
)

HOURS = _compared(
    _rolled_up(
        "date_trunc('hour', e.created_at, 'UTC')",
        "e.created_at >= %(first_hour)s AND e.created_at < %(end_hour)s",
    ),
    _rows("usage_app_hourlyusage", "r.hour", "r.hour >= %(first_hour)s AND r.hour < %(end_hour)s"),
)

# Days and their month are made in one transaction: nothing is ever under way between them.
MONTHS = _compared(
    f"""
    SELECT %(month)s::date AS place, r.cost_center, coalesce(r.api_key_id, 0) AS key, r.model,
        false AS fresh, 0 AS entries, {FIGURES_OF_ROWS} AS figures
    FROM usage_app_dailyusage r
    WHERE r.tenant_id = %(tenant_id)s AND r.day >= %(month)s AND r.day < %(next_month)s
    GROUP BY r.cost_center, r.api_key_id, r.model
""",
    _rows("usage_app_monthlyusage", "r.month", "r.month = %(month)s"),
)

# A request counts in the windows of its admission; so does what was settled late, whichever day
# its own entry is booked on. Corrections and credits move no window.
_CHARGED = """
    SELECT e.local_day AS day, e.api_key_id, 1 AS requests, e.total_tokens AS tokens, e.cost
    FROM usage_app_ledgerentry e
    WHERE e.tenant_id = %(tenant_id)s AND e.kind = 'usage'
        AND e.local_day BETWEEN %(first)s AND %(last)s
    UNION ALL
    SELECT coalesce(o.local_day, a.local_day), a.api_key_id, 0, a.total_tokens, a.cost
    FROM usage_app_ledgerentry a
    LEFT JOIN usage_app_ledgerentry o ON o.id = a.corrects AND o.created_at = a.created_at
    WHERE a.tenant_id = %(tenant_id)s AND a.kind = 'adjustment' AND a.corrects IS NOT NULL
        AND a.created_at >= %(starts_at)s AND a.created_at < %(ends_at)s
"""
_SCOPE = "coalesce(w.api_key_id, -w.team_id, 0)"
_USED = "ARRAY[sum(w.requests), sum(w.tokens), sum(w.cost)]::numeric[] AS figures"

DAY_WINDOWS = _compared(
    f"""
    SELECT c.day AS place, '' AS cost_center, k.key, '' AS model, false AS fresh,
        sum(c.entries)::bigint AS entries,
        ARRAY[sum(c.requests), sum(c.tokens), sum(c.cost)]::numeric[] AS figures
    FROM (
        SELECT day, api_key_id, count(*) AS entries, sum(requests) AS requests,
            sum(tokens) AS tokens, coalesce(sum(cost), 0) AS cost
        FROM ({_CHARGED}) entry GROUP BY day, api_key_id
    ) c
    LEFT JOIN tenants_app_apikey a ON a.id = c.api_key_id
    CROSS JOIN LATERAL (
        SELECT 0::bigint AS key UNION SELECT coalesce(c.api_key_id, 0)
        UNION SELECT coalesce(-a.team_id, 0)
    ) k
    GROUP BY c.day, k.key
""",
    f"""
    SELECT d.day AS place, '' AS cost_center, {_SCOPE} AS key, '' AS model, {_USED}
    FROM days d
    JOIN usage_app_usagewindow w ON w.starts_at >= d.starts_at AND w.starts_at < d.ends_at
    WHERE w.tenant_id = %(tenant_id)s AND w.period = 'day'
    GROUP BY d.day, w.api_key_id, w.team_id
""",
)


def _windows(period: str) -> str:
    return f"""
    SELECT %(month)s::date AS place, '' AS cost_center, {_SCOPE} AS key, '' AS model,
        false AS fresh, 0 AS entries, {_USED}
    FROM usage_app_usagewindow w
    WHERE w.tenant_id = %(tenant_id)s AND w.period = '{period}'
        AND w.starts_at >= %(month_starts_at)s AND w.starts_at < %(month_ends_at)s
    GROUP BY w.api_key_id, w.team_id
"""


# Whatever moves a window of a day moves that of its month in the same statement.
MONTH_WINDOWS = _compared(_windows("day"), _windows("month").replace(", 0 AS entries", ""))

# Of all days: a hold may be older than the days that are looked at.
HOLDS = _compared(
    """
    SELECT n.id AS place, '' AS cost_center, 0::bigint AS key, '' AS model, false AS fresh,
        0 AS entries, ARRAY[count(*), sum(h.held_tokens), sum(h.held_cost)]::numeric[] AS figures
    FROM usage_app_reservation h CROSS JOIN unnest(h.window_ids) AS n(id)
    WHERE h.tenant_id = %(tenant_id)s GROUP BY n.id
""",
    """
    SELECT w.id AS place, '' AS cost_center, 0::bigint AS key, '' AS model,
        ARRAY[w.held_requests, w.held_tokens, w.held_cost]::numeric[] AS figures
    FROM usage_app_usagewindow w
    WHERE w.tenant_id = %(tenant_id)s
""",
)

PLACES_OF_WINDOWS = """
SELECT period, starts_at, coalesce(api_key_id, -team_id, 0)
FROM usage_app_usagewindow WHERE id = ANY(%s)
"""
