"""The pictures of the docs are those that `./dev screenshots` takes, and are small."""

from __future__ import annotations

import re

from tests.architecture.sources import ROOT
from tests.pictures.camera import FOLDER, MOST_BYTES
from tests.pictures.shots import SHOTS

PICTURE = re.compile(r"!\[[^\]]+\]\((?:\.\./)?pictures/([\w-]+)\.png\)")


def test_docs_show_every_picture_that_is_taken_and_no_other() -> None:
    pages = [path.read_text() for path in (ROOT / "docs").rglob("*.md")]
    shown = [name for page in pages for name in PICTURE.findall(page)]
    assert sorted(shown) == sorted(shot.name for shot in SHOTS)


def test_pictures_are_there_and_small() -> None:
    sizes = {path.stem: path.stat().st_size for path in FOLDER.iterdir()}
    assert sorted(sizes) == sorted(shot.name for shot in SHOTS)
    assert [name for name, size in sizes.items() if size > MOST_BYTES] == []
