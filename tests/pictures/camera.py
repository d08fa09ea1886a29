"""Opens each page of the list in the browser and writes down what it looks like."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from tests.browser.chromium import NAMES, Windows, executable, launched
from tests.live import Server, Servers
from tests.pictures import images, world
from tests.pictures.shots import SHOTS, Shot
from tests.pictures.world import World
from usage_app.models import GatewayProcess

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
MOST_BYTES = 60_000


def take(names: list[str], folder: Path) -> int:
    """Take the pictures; the exit status."""
    path = executable()
    if path is None:
        print(f"No browser: none of {', '.join(NAMES)} is here (apt install chromium).")
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    call_command("migrate", verbosity=0)
    shown = world.make()
    with tempfile.TemporaryDirectory() as logs, launched(path) as browser:
        # As in tests/browser/conftest.py.
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
        servers = Servers(Path(logs))
        server = servers(DJANGO_ALLOW_ASYNC_UNSAFE="")
        talk(server, shown)
        windows = Windows(browser, server.url)
        for shot in SHOTS:
            if not names or shot.name in names:
                keep(folder / f"{shot.name}.png", picture(windows, shot, shown))
        windows.close()
        servers.close()
        connections.close_all()
    print(*windows.complaints, sep="\n")
    return 1 if windows.complaints else 0


def talk(server: Server, shown: World) -> None:
    """Some real requests, for the pages that tell a request's story."""
    for message in ("What is in stock?", "And in blue?", "Thank you."):
        server.chat(shown.key, {"message": message, "stream": True})
    # Not this machine's name.
    GatewayProcess.objects.exclude(host="web-1").update(host="web-2", pid=42)


def picture(windows: Windows, shot: Shot, shown: World) -> bytes:
    GatewayProcess.objects.update(heartbeat_at=timezone.now())
    page = windows.open(shown.ann, phone=shot.phone, dark=shot.dark)
    width = page.viewport_size["width"] if page.viewport_size else 0
    page.set_viewport_size({"width": width, "height": shot.height})
    page.goto(shot.url(shown))
    shot.before(page)
    page.wait_for_load_state("networkidle")
    return images.small(page.screenshot())


def keep(path: Path, png: bytes) -> None:
    """Write a picture that looks different, and say how large it is."""
    if images.looks_alike(path, png):
        print(f"{path.name}: as before")
        return
    path.write_bytes(png)
    large = " (too large)" if len(png) > MOST_BYTES else ""
    print(f"{path.name}: {len(png) // 1000} kB{large}")
