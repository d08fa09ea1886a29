"""Registers the pages that show several floors; Django looks for them under this name."""

from gateway_project.pages import front_page, staff, tenant_page, upstream_page

__all__ = ["front_page", "staff", "tenant_page", "upstream_page"]
