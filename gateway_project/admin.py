"""Registers the pages that show several floors; Django looks for them under this name."""

from gateway_project.pages import front_page, logins, staff, tenant_page, upstream_page

__all__ = ["front_page", "logins", "staff", "tenant_page", "upstream_page"]
