"""The ground floor's pages in the admin: tenants, teams, keys, models, routes, budgets, changes.

`pages` and `refusals` are for the floors above as well; every other module registers its pages.
"""

from tenants_app.admin import alerts, budgets, catalogue, changes, keys, teams, tenants

__all__ = ["alerts", "budgets", "catalogue", "changes", "keys", "teams", "tenants"]
