"""Encoded images come out upright, as viewers show them."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tfembed.encoders.decoding import decode_upright, image_orientation
from tfembed.encoders.pixels import ImagePixels, Resized
from tfembed.encoders.preprocessing import ImagePreprocessing

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
SHORT, LONG = 3, 4


def exif(orientation: int, order: bytes = b"MM", kind: int = SHORT, count: int = 1) -> bytes:
    """EXIF data with the camera's make and an orientation, most or least significant byte first."""
    end = ">" if order == b"MM" else "<"
    value = struct.pack(end + ("H" if kind == SHORT else "I"), orientation)
    entries = [struct.pack(end + "HHI", 0x010F, 2, 4) + b"abc\0", struct.pack(end + "HHI", 0x0112, kind, count) + value]
    table = b"".join(entry.ljust(12, b"\0") for entry in entries)
    return order + struct.pack(end + "HIH", 42, 8, len(entries)) + table + bytes(4)


def encoded(kind: str, data: bytes | None = None) -> bytes:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind, **({} if data is None else {"exif": b"Exif\0\0" + data}))
    return file.getvalue()


def segment(content: bytes, marker: int = 0xE1) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def stored(content: bytes) -> np.ndarray:
    return tf.io.decode_image(content, channels=3, expand_animations=False).numpy()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("order", [b"MM", b"II"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_that_of_pillow(kind, order, orientation):
    """The eight orientations, in both byte orders, turn and mirror pixels as Pillow does."""
    content = encoded(kind, exif(orientation, order))
    image = Image.fromarray(stored(content))
    image.info["exif"] = b"Exif\0\0" + exif(orientation, order)
    upright = np.asarray(ImageOps.exif_transpose(image))
    assert upright.shape == ((12, 20, 3) if orientation < 5 else (20, 12, 3))
    np.testing.assert_array_equal(decode_upright(content), upright)
    assert int(image_orientation(content)) == orientation


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
def test_without_exif_pixels_stay_as_they_are(kind):
    """An image without EXIF comes out as TensorFlow decodes it."""
    np.testing.assert_array_equal(decode_upright(encoded(kind)), stored(encoded(kind)))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    "data",
    [
        exif(0),
        exif(9),
        exif(6, count=2),
        exif(6, kind=7),
        exif(6, kind=LONG).replace(b"\0\x2a", b"\0\x2b"),
        exif(6)[:12],
        b"MM\0\x2a" + b"\xff" * 4,
        b"MM\0\x2a" + bytes([0, 0, 0, 8, 0xFF, 0xFF, 1]),
        b"",
    ],
    ids=["0", "9", "two values", "other type", "no TIFF", "cut off", "table outside", "table too long", "empty"],
)
def test_an_orientation_that_makes_no_sense_is_none(kind, data):
    """EXIF data that are damaged, or hold no orientation, leave the image as it is stored."""
    plain = encoded(kind)
    has_exif = segment(b"Exif\0\0" + data) if kind == "JPEG" else chunk(b"eXIf", data)
    place = 2 if kind == "JPEG" else 33
    content = plain[:place] + has_exif + plain[place:]
    np.testing.assert_array_equal(decode_upright(content), stored(plain))


def test_a_long_number_is_an_orientation():
    """Some programs write the orientation in four bytes, which Pillow reads as well."""
    for order in (b"MM", b"II"):
        assert int(image_orientation(encoded("JPEG", exif(8, order, LONG)))) == 8


def test_exif_behind_other_segments_is_found():
    """The EXIF segment of a JPEG may follow others and bytes of padding; the eXIf chunk of a PNG may follow pixels."""
    jpeg, png = encoded("JPEG"), encoded("PNG")
    others = segment(bytes(60_000), 0xE2) + segment(b"a comment", 0xFE) + b"\xff\xff\xff"
    assert int(image_orientation(jpeg[:2] + others + segment(b"Exif\0\0" + exif(6)) + jpeg[2:])) == 6
    assert int(image_orientation(png[:-12] + chunk(b"eXIf", exif(3)) + png[-12:])) == 3


def test_exif_of_something_else_is_not_taken():
    """EXIF data in a comment, behind the image, or of a second image behind it say nothing of the image."""
    jpeg, png = encoded("JPEG"), encoded("PNG")
    comment = segment(b"Exif\0\0" + exif(6), 0xFE)
    for content in (
        jpeg[:2] + comment + jpeg[2:],
        jpeg + encoded("JPEG", exif(6)),
        jpeg + segment(b"Exif\0\0" + exif(6)),
        png[:33] + chunk(b"tEXt", b"a\0" + chunk(b"eXIf", exif(6))) + png[33:],
        b"GIF89a" + segment(b"Exif\0\0" + exif(6)),
    ):
        assert int(image_orientation(content)) == 1


def test_a_search_through_segments_ends():
    """A made-up file of many segments costs a server little: EXIF behind a thousand of them is not looked for."""
    many = segment(b"", 0xE2) * 2000
    assert int(image_orientation(b"\xff\xd8" + many[:400] + segment(b"Exif\0\0" + exif(6)))) == 6
    assert int(image_orientation(b"\xff\xd8" + many + segment(b"Exif\0\0" + exif(6)))) == 1


@pytest.mark.parametrize(
    "layer", [ImagePreprocessing((6, 6)), ImagePixels(Resized((6, 6)))], ids=["preprocessing", "pixels"]
)
def test_encoders_see_images_upright(layer):
    """Whatever prepares encoded images for an encoder turns them upright, each of a batch by itself."""
    batch = tf.constant([encoded("PNG", exif(6)), encoded("PNG"), encoded("PNG", exif(2))])
    expected = [layer(tf.constant(pixels[np.newaxis]))[0] for pixels in (np.rot90(PIXELS, -1), PIXELS, PIXELS[:, ::-1])]
    np.testing.assert_allclose(layer(batch), tf.stack(expected), atol=1e-6)
