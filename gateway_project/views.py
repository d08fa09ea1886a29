"""The pages and answers that belong to no app: the front page, and whether we are ready."""

from __future__ import annotations

import asyncio

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from gateway_project import readiness
from tenants_app.api import AsyncAPIView
from tenants_app.errors import ServiceUnavailable


def index(request: HttpRequest) -> HttpResponse:
    """A small page for whoever opens the address in a browser."""
    return render(request, "gateway_project/index.html", {"url": request.build_absolute_uri("/")})


class ReadyView(AsyncAPIView):
    """200 when this process can serve, else 503 with what is missing."""

    public = True

    async def get(self, request: HttpRequest) -> HttpResponse:
        absent = await asyncio.to_thread(readiness.missing)
        if absent:
            raise ServiceUnavailable(f"Not ready: {', '.join(absent)}", details={"missing": absent})
        warnings = await asyncio.to_thread(readiness.warnings)
        return self.ok({"status": "ready"} | ({"warnings": warnings} if warnings else {}))
