"""Pictures made small, and told apart by how they look."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, ImageChops, ImageFilter

COLORS = 96
# Of all points of the blurred, shrunken picture; another day's dates change less than that.
DIFFERENT = 0.02
VISIBLY = 24


def small(png: bytes) -> bytes:
    """The same picture with few colours, and so a fraction of its size."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    reduced = picture.quantize(
        COLORS, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE
    )
    file = io.BytesIO()
    reduced.save(file, "PNG", optimize=True)
    return file.getvalue()


def looks_alike(path: Path, png: bytes) -> bool:
    """Whether a reader would not see the difference to the file that is there."""
    if not path.exists():
        return False
    before, after = Image.open(path), Image.open(io.BytesIO(png))
    if before.size != after.size:
        return False
    points = ImageChops.difference(_blurred(before), _blurred(after)).histogram()
    return sum(points[VISIBLY:]) <= DIFFERENT * sum(points)


def _blurred(picture: Image.Image) -> Image.Image:
    size = (picture.width // 4, picture.height // 4)
    return picture.convert("L").filter(ImageFilter.GaussianBlur(2)).resize(size)
