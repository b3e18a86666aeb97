"""Draw letters and digits as a pen, a printer and a poor camera would: the training images of `make_glyphs.py`.

Each glyph is rendered once, large, and kept as two distance fields. Thresholding a field draws the glyph at any stroke
width, so one bilinear lookup per pixel does the warp, the stroke width and the softness at once.
"""

from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage  # type: ignore[import-untyped]

FONT_FILES = (
    "DejaVuSans.ttf",
    "DejaVuSans-Bold.ttf",
    "DejaVuSans-Oblique.ttf",
    "DejaVuSans-BoldOblique.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSansMono-Bold.ttf",
    "DejaVuSansMono-Oblique.ttf",
    "DejaVuSansMono-BoldOblique.ttf",
    "DejaVuSerif.ttf",
    "DejaVuSerif-Bold.ttf",
    "DejaVuSerif-Italic.ttf",
    "DejaVuSerif-BoldItalic.ttf",
    "STIXGeneral.ttf",
    "STIXGeneralBol.ttf",
    "STIXGeneralItalic.ttf",
    "STIXGeneralBolIta.ttf",
    "cmb10.ttf",
    "cmmi10.ttf",
    "cmr10.ttf",
    "cmss10.ttf",
    "cmti10.ttf",
    "cmtt10.ttf",
)

# Characters that look the same once size and position are gone share a class.
CLASSES = (
    *("0Oo", "1lI", "2", "3", "4", "5", "6", "7", "8", "9"),
    *("A", "B", "Cc", "D", "E", "F", "G", "H", "Jj", "Kk", "L", "M", "N", "Pp", "Q", "R", "Ss", "T", "Uu", "Vv"),
    *("Ww", "Xx", "Yy", "Zz", "a", "b", "d", "e", "f", "g", "h", "i", "m", "n", "q", "r", "t"),
)

IMAGE_SIZE = 32
FIELD_SIZE = 64
GLYPH_SIZE = 44  # the longer side of a glyph inside its field

# (resolution, samples per pixel and axis, share): a glyph is averaged down to the resolution and blown up to 32 pixels.
RESOLUTIONS = ((8, 4, 0.4), (10, 3, 0.15), (12, 3, 0.15), (16, 2, 0.15), (32, 1, 0.15))


@dataclass(frozen=True, slots=True, kw_only=True)
class Atlas:
    """Every glyph of every font, as distance fields.

    Attributes:
        fields: (2, n, 64, 64) float32 in field pixels, positive inside: [0] signed distance to the printed outline,
            [1] minus the distance to the glyph's centre line.
        labels: (n,) int64, index into CLASSES.
    """

    fields: np.ndarray
    labels: np.ndarray


def font_folder() -> Path:
    """The fonts that matplotlib ships: the same on every machine."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def load_atlas(fonts: tuple[str, ...] = FONT_FILES, classes: tuple[str, ...] = CLASSES) -> Atlas:
    """Render every character of every class with every font.

    Example:
        >>> load_atlas(("DejaVuSans.ttf",), ("0Oo", "7")).labels
        array([0, 0, 0, 1])
    """
    masks, labels = [], []
    for name in fonts:
        font = ImageFont.truetype(str(font_folder() / name), size=96)
        for label, characters in enumerate(classes):
            for character in characters:
                masks.append(render(font, character))
                labels.append(label)
    ink = np.stack(masks)
    outline = np.stack([ndimage.distance_transform_edt(m) - ndimage.distance_transform_edt(~m) for m in ink])
    centre = np.stack([-ndimage.distance_transform_edt(~line) for line in thin(ink)])
    return Atlas(fields=np.stack([outline, centre]).astype(np.float32), labels=np.array(labels))


def render(font: ImageFont.FreeTypeFont, character: str) -> np.ndarray:
    """Render one character, its longer side 44 pixels, in the middle of a (64, 64) bool array."""
    page = Image.new("L", (192, 192))
    ImageDraw.Draw(page).text((48, 32), character, font=font, fill=255)
    glyph = page.crop(page.getbbox())
    scale = GLYPH_SIZE / max(glyph.size)
    glyph = glyph.resize((max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale))))
    square = Image.new("L", (FIELD_SIZE, FIELD_SIZE))
    square.paste(glyph, ((FIELD_SIZE - glyph.width) // 2, (FIELD_SIZE - glyph.height) // 2))
    return np.asarray(square) > 127


def thin(ink: np.ndarray) -> np.ndarray:
    """Reduce strokes to their centre line, one pixel wide.

    Zhang and Suen, "A fast parallel algorithm for thinning digital patterns", CACM 27(3), 1984, page 236.

    Args:
        ink: (n, height, width) bool, with an empty border.
    """
    lines = ink.copy()
    while True:
        before = lines.copy()
        for first in (True, False):
            around = [np.roll(lines, shift, axis=(1, 2)) for shift in _CLOCKWISE]
            north, east, south, west = around[0], around[2], around[4], around[6]
            count = sum(a.astype(np.int8) for a in around)
            rises = sum((~a & b).astype(np.int8) for a, b in zip(around, around[1:] + around[:1], strict=True))
            if first:
                edge = ~(north & east & south) & ~(east & south & west)
            else:
                edge = ~(north & east & west) & ~(north & south & west)
            lines &= ~((count >= 2) & (count <= 6) & (rises == 1) & edge)
        if (lines == before).all():
            return lines


# Rolling by (1, 0) brings the pixel above into place.
_CLOCKWISE = ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))


def draw(atlas: Atlas, rng: np.random.Generator, num_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw glyphs, every class equally often, each one warped, inked and degraded in its own way.

    Returns:
        Images (n, 32, 32, 3) float32 in [0, 1] and their labels (n,) int64; the same for the same state of `rng`.
    """
    sizes = rng.multinomial(num_images, [share for _, _, share in RESOLUTIONS])
    members = [np.flatnonzero(atlas.labels == label) for label in range(atlas.labels.max() + 1)]
    images, labels = [], []
    for (resolution, samples, _), size in zip(RESOLUTIONS, sizes, strict=True):
        label = rng.integers(len(members), size=size)
        glyph = np.array([rng.choice(members[i]) for i in label], dtype=np.int64)
        ink = _ink(atlas, rng, glyph, resolution * samples)
        ink = ink.reshape(size, resolution, samples, resolution, samples).mean((2, 4))
        up = _upscaling(resolution)
        images.append(_expose(rng, up @ ink @ up.T))
        labels.append(label)
    return np.concatenate(images), np.concatenate(labels)


def _ink(atlas: Atlas, rng: np.random.Generator, glyph: np.ndarray, size: int) -> np.ndarray:
    """Warp the fields of the given glyphs to (n, size, size) and threshold them at random stroke widths."""
    n = len(glyph)
    pen = rng.random(n) < 0.6
    x, y = _warp(rng, n, size)
    fields = atlas.fields.reshape(-1)
    start = ((pen * atlas.fields.shape[1] + glyph) * FIELD_SIZE**2)[:, None, None]
    x, y = (np.clip(FIELD_SIZE / 2 + v, 0, FIELD_SIZE - 1.001) for v in (x, y))
    left, top = x.astype(np.int64), y.astype(np.int64)
    corner = start + top * FIELD_SIZE + left
    right, down = x - left, y - top
    above = fields[corner] * (1 - right) + fields[corner + 1] * right
    below = fields[corner + FIELD_SIZE] * (1 - right) + fields[corner + FIELD_SIZE + 1] * right
    distance = above * (1 - down) + below * down
    width = np.where(pen, rng.uniform(1.5, 5.5, n), rng.uniform(-1.0, 2.5, n))[:, None, None]
    softness = rng.uniform(1.0, 4.0, n)[:, None, None]
    return np.clip(0.5 + (distance + width) / softness, 0, 1)


def _warp(rng: np.random.Generator, n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each output pixel looks in its field: (n, size, size) twice, in field pixels from the centre."""
    axis = (np.arange(size) + 0.5) / size * 2 - 1
    waves = np.cos(np.pi / 2 * np.outer(axis + 1, np.arange(4)))  # smooth displacement: the lowest cosines
    amplitude = rng.uniform(0.0, 0.12, (n, 1, 1))
    fall = amplitude / (1 + np.add.outer(np.arange(4), np.arange(4)) / 2)
    bend_x, bend_y = (waves @ (rng.normal(size=(n, 4, 4)) * fall) @ waves.T for _ in range(2))
    turn = rng.normal(0, 0.15, (n, 1, 1))
    shear = rng.normal(0, 0.2, (n, 1, 1))
    half = GLYPH_SIZE / 2 / rng.uniform(0.72, 1.02, (n, 1, 1))
    squeeze = np.exp(rng.normal(0, 0.18, (n, 1, 1)))
    x, y = axis[None, None, :] + bend_x, axis[None, :, None] + bend_y
    x, y = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
    return (x + shear * y) * half * squeeze, y * half


def _upscaling(resolution: int) -> np.ndarray:
    """The (32, resolution) matrix of bilinear interpolation with pixel centres at halves, as in tf.image.resize."""
    at = np.clip((np.arange(IMAGE_SIZE) + 0.5) * resolution / IMAGE_SIZE - 0.5, 0, resolution - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(resolution)))


def _expose(rng: np.random.Generator, ink: np.ndarray) -> np.ndarray:
    """Photograph ink (n, 32, 32): mostly bright on black, sometimes in two random colours; with noise."""
    n = len(ink)
    plain = rng.random((n, 1, 1, 1)) < 0.75
    paper = np.where(plain, rng.uniform(0.0, 0.1, (n, 1, 1, 1)), rng.random((n, 1, 1, 3)))
    far = np.where(paper < 0.5, rng.uniform(0.5, 1.0, paper.shape), rng.uniform(0.0, 0.5, paper.shape))
    colour = np.where(plain, rng.uniform(0.7, 1.0, (n, 1, 1, 1)), far)
    gamma = np.exp(rng.normal(0, 0.2, (n, 1, 1, 1)))
    image = paper + (colour - paper) * ink[..., None] ** gamma
    noise = rng.normal(size=(n, IMAGE_SIZE, IMAGE_SIZE, 1)) * rng.uniform(0, 0.04, (n, 1, 1, 1))
    return np.clip(image + noise, 0, 1).astype(np.float32)
