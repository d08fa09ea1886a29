"""Alerts of budgets: `watch` finds what was crossed, `delivery` sends it, once to each address.

It decides nothing about requests (ledger) and keeps no addresses (tenants_app.models.alerts).
"""
