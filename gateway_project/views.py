"""The pages and answers that belong to no app: the front page, and whether we are ready."""

from __future__ import annotations

import asyncio

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from gateway_project import readiness


def index(request: HttpRequest) -> HttpResponse:
    """A small page for whoever opens the address in a browser."""
    return render(request, "gateway_project/index.html", {"url": request.build_absolute_uri("/")})


async def ready(request: HttpRequest) -> JsonResponse:
    """200 when this process can serve, else 503 with what is missing."""
    absent = await asyncio.to_thread(readiness.missing)
    if not absent:
        return JsonResponse({"ok": True, "data": {"status": "ready"}})
    error = {
        "code": "service_unavailable",
        "message": f"Not ready: {', '.join(absent)}",
        "missing": absent,
    }
    return JsonResponse({"ok": False, "error": error}, status=503)
