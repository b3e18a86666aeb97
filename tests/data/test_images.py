"""Images from a folder per class, and from tables of paths."""

import base64
import io
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import ExifTags, Image

from tfembed.data import fingerprint, load_images, read_images
from tfembed.data.image_files import check_images, image_sizes
from tfembed.report.pictures import data_uri


@pytest.fixture
def folder(tmp_path) -> Path:
    """Ten noisy images of each of two classes."""
    noise = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(10):
            pixels = noise.integers(0, 256, (12, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{i}.png")
    return tmp_path / "pets"


def table_of(folder: Path, rows: str, header: str = "path,label") -> Path:
    table = folder.parent / "pets.csv"
    table.write_text(f"{header}\n{rows}")
    return table


def test_a_folder_for_each_class(folder):
    """Class names are the folders' names, examples the paths, split alike in classes."""
    data = load_images(folder)
    assert (data.kind, data.task, data.class_names) == ("image", "classification", ("cat", "dog"))
    assert (len(data.train), len(data.validation), len(data.test)) == (14, 2, 4)
    for path, label in zip(data.train.examples, data.train.labels, strict=True):
        assert isinstance(path, Path)
        assert path.parent.name == data.class_names[label]
    assert "images of 16 x 12 pixels, files" in data.describe()


def test_images_are_read_when_needed(folder):
    """Reading gives the bytes of the files, in the order of the examples."""
    examples = load_images(folder).test.examples
    assert read_images(examples) == [path.read_bytes() for path in examples]
    assert fingerprint(examples) == fingerprint(read_images(examples))


def test_the_split_is_seeded(folder):
    """The same folder and seed give the same parts, another seed gives others."""
    assert load_images(folder, seed=1).test.examples.tolist() == load_images(folder, seed=1).test.examples.tolist()
    assert load_images(folder, seed=1).test.examples.tolist() != load_images(folder, seed=2).test.examples.tolist()


def test_a_second_folder_is_the_test(folder, tmp_path):
    """A test folder is read whole, with the classes of the first; a class that it alone has is an error."""
    (tmp_path / "more" / "dog").mkdir(parents=True)
    (folder / "dog" / "0.png").rename(tmp_path / "more" / "dog" / "0.png")
    data = load_images(folder, test=tmp_path / "more", validation=0)
    assert (len(data.train), data.test.labels.tolist()) == (19, [1])
    (tmp_path / "more" / "dog").rename(tmp_path / "more" / "dogs")
    with pytest.raises(ValueError, match=r"more.dogs.0\.png: the label 'dogs' is none of the 2 .*Did you mean 'dog'\?"):
        load_images(folder, test=tmp_path / "more")


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp"])
def test_formats_that_tensorflow_decodes(folder, suffix):
    """JPEG, PNG, GIF and BMP are read, under any name."""
    for name in ("cat", "dog"):
        image = Image.open(folder / name / "0.png").convert("RGB")
        image.save(folder / name / f"x.{suffix}")
        (folder / name / f"x.{suffix}").rename(folder / name / "image")
    assert len(load_images(folder, validation=0, test=0).train) == 22


def test_files_of_operating_systems_are_no_images(folder):
    """Hidden files are passed over: the one exception, since people do not put them there."""
    for name in (".DS_Store", "cat/.DS_Store", "cat/Thumbs.db", "dog/desktop.ini", "__MACOSX/cat/._0.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\0")
    (folder / ".ipynb_checkpoints").mkdir()
    assert len(load_images(folder, validation=0, test=0).train) == 20


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_truncated_images_are_named(folder, kind, share):
    """An image of which the end is missing is an error that names the file, wherever the cut is."""
    bad = folder / "dog" / "torn"
    Image.open(folder / "dog" / "0.png").save(bad, kind)
    bad.write_bytes(bad.read_bytes()[: int(bad.stat().st_size * share)])
    with pytest.raises(ValueError, match=r"dog.torn: (the image (cannot be decoded|is truncated)|not an image)"):
        load_images(folder)


def test_a_png_without_its_end_is_truncated(folder):
    """A PNG that lacks only its last chunk has all its pixels, and is still not what was written."""
    bad = folder / "dog" / "3.png"
    bad.write_bytes(bad.read_bytes()[:-12])
    with pytest.raises(ValueError, match=r"dog.3\.png: the image is truncated"):
        load_images(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("cat/notes.txt", b"remember the milk", r"cat.notes\.txt: not an image \(expected JPEG, PNG, GIF or BMP\)"),
        ("cat/empty.png", b"", r"cat.empty\.png: the file is empty"),
        ("README.md", b"pets", r"README\.md is a file: expected .*pets to hold one folder for each class"),
    ],
)
def test_other_files_are_named(folder, name, content, message):
    """A file that is no image is not passed over."""
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        load_images(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["WEBP", "TIFF"])
def test_other_formats_are_named(folder, kind):
    """An image that TensorFlow does not decode is an error with its format, also under another suffix."""
    Image.new("RGB", (4, 4)).save(folder / "cat" / "x.png", kind)
    with pytest.raises(ValueError, match=rf"cat.x\.png: a {kind} image, which TensorFlow does not decode"):
        load_images(folder)


def test_a_bmp_with_a_palette_is_named(folder):
    """TensorFlow reads the palette's indices as grey values: such a BMP is refused."""
    Image.new("P", (4, 4)).save(folder / "cat" / "x.bmp")
    with pytest.raises(ValueError, match=r"cat.x\.bmp: a BMP image with a palette"):
        load_images(folder)


def bmp(bits: int, header_size: int = 40, compression: int = 0, masks: tuple[int, ...] = ()) -> bytes:
    """A black BMP of 4 x 4 pixels."""
    sizes = ("<IHHHH", 12, 4, 4, 1, bits)
    if header_size > 12:
        sizes = ("<IiiHHIIiiII", header_size, 4, 4, 1, bits, compression, 0, 0, 0, 0, 0)
    header = struct.pack(*sizes) + struct.pack(f"<{len(masks)}I", *masks)
    header = header.ljust(header_size, b"\0")
    start, pixels = 14 + len(header), bytes(4 * 4 * bits // 8)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + pixels


@pytest.mark.parametrize(
    ("content", "form"),
    [
        (bmp(16), "of 16 bits a pixel"),
        (bmp(16, 40, 3, (0xF800, 0x7E0, 0x1F)), "of 16 bits a pixel"),
        (bmp(24, 12), "of OS/2"),
        (bmp(32, 124, 3, (0xFF, 0xFF00, 0xFF0000, 0xFF000000)), "with another order of colors"),
        (bmp(24) + b"\0\0", "with bytes behind its end"),
    ],
    ids=["16", "16 in fields", "OS/2", "order", "longer"],
)
def test_a_bmp_that_tensorflow_does_not_read_is_named(folder, content, form):
    """A BMP that TensorFlow refuses, or reads in wrong colors, is an error that says which form it has."""
    (folder / "cat" / "x.bmp").write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"cat.x\.bmp: a BMP image {form}, which TensorFlow does not decode \(save it"
    ):
        load_images(folder)


@pytest.mark.parametrize(
    "content", [bmp(24), bmp(32), bmp(32, 40, 3, (0xFF0000, 0xFF00, 0xFF))], ids=["24", "32", "32 in fields"]
)
def test_a_bmp_that_tensorflow_reads_is_taken(content):
    """BMP images of three and of four colors are accepted, and decoded."""
    check_images([content], str)
    assert tf.io.decode_image(content, channels=3).shape == (4, 4, 3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
@pytest.mark.parametrize("size", [1, 10_000])
def test_bytes_behind_the_end_of_an_image_are_passed_over(folder, kind, size):
    """An image with something behind its end, as some programs leave it, is whole, and decoded as without that."""
    Image.open(folder / "dog" / "0.png").save(folder / "dog" / "x", kind)
    content = (folder / "dog" / "x").read_bytes()
    (folder / "dog" / "x").write_bytes(content + b"x" * size)
    assert len(load_images(folder, validation=0, test=0).train) == 21
    pixels = [
        tf.io.decode_image(each, channels=3, expand_animations=False) for each in (content, content + b"x" * size)
    ]
    np.testing.assert_array_equal(*pixels)


def test_sizes_are_those_of_images_upright(tmp_path):
    """A photo that was stored sideways is described as viewers show it; damaged EXIF data change nothing."""
    photo = Image.new("RGB", (30, 20))
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    contents = []
    for name, data in (
        ("sideways.jpg", tags.tobytes()),
        ("damaged.jpg", b"Exif\0\0XX"),
        ("sideways.png", tags.tobytes()),
    ):
        photo.save(tmp_path / name, exif=data)
        contents.append((tmp_path / name).read_bytes())
    assert image_sizes(contents) == [(20, 30), (30, 20), (20, 30)]
    shown = [Image.open(io.BytesIO(base64.b64decode(data_uri(each).partition(",")[2]))).size for each in contents]
    assert shown == [(20, 30), (30, 20), (20, 30)]


def test_several_bad_images_are_counted(folder):
    """The error names the first bad image, the next three, and how many there are."""
    for i in range(6):
        (folder / "cat" / f"{i}.png").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"cat.0\.png: .* 5 more of 20 .*1\.png, .*2\.png, .*3\.png, \.\.\."):
        load_images(folder)


def test_empty_folders_are_named(folder, tmp_path):
    """A class folder without images, a folder without classes and a folder that is not there are errors."""
    (folder / "emu").mkdir()
    (folder / "emu" / ".DS_Store").write_bytes(b"\0")
    with pytest.raises(ValueError, match=r"The class folder .*emu is empty"):
        load_images(folder)
    with pytest.raises(ValueError, match=r"The folder .*emu is empty: expected one folder of images for each class"):
        load_images(folder / "emu")
    with pytest.raises(FileNotFoundError, match="nowhere: there is no such file"):
        load_images(tmp_path / "nowhere")


def test_folders_must_be_one_deep(folder):
    """A folder of images is no folder of classes; a folder of folders of classes says how to load it."""
    with pytest.raises(ValueError, match=r"0\.png is a file: expected .*cat to hold one folder for each class"):
        load_images(folder / "cat")
    with pytest.raises(ValueError, match=r"cat is a folder: expected an image of the class 'pets'.*test=\.\.\."):
        load_images(folder.parent)


def test_classes_must_be_two_and_large_enough(folder):
    """One class cannot be learnt; a class of one image cannot be in every part."""
    for path in list((folder / "dog").iterdir())[1:]:
        path.unlink()
    with pytest.raises(ValueError, match=r"dog.\d\.png: the label 'dog' is seen only once: expected at least 3"):
        load_images(folder)
    (folder / "dog").rename(folder.parent / "dog")
    with pytest.raises(ValueError, match=r"pets has only one class \('cat'\)"):
        load_images(folder)


def test_a_table_of_paths(folder):
    """Paths of a table are relative to it; its labels may be classes, targets or several labels."""
    rows = [(f"pets/cat/{i}.png", i / 2, "a|b" if i % 2 else "a") for i in range(10)]
    table = table_of(folder, "\n".join(f"{p},{y},{tags}" for p, y, tags in rows), "file,age,tags")
    ages = load_images(table, path="file", label="age", task="regression")
    assert (ages.task, len(ages.train), ages.source) == ("regression", 7, str(table))
    assert ages.train.examples[0].is_file()
    tags = load_images(table, path="file", label="tags", label_separator="|", validation=0)
    assert (tags.task, tags.class_names) == ("multi_label", ("a", "b"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("pets/cat/0.png,a\npets/cat/99.png,b\n", r"pets\.csv, line 3 \(.*99\.png\): there is no such file"),
        ("pets/cat/0.png,a\n,b\n", r"pets\.csv, line 3: '' is no path to an image"),
        ("pets/cat/0.png,a\npets/cat/1.png,\n", r"pets\.csv, line 3: the label is missing"),
        ("pets/cat/0.png,a\npets.csv,b\n", r"pets\.csv, line 3: not an image"),
    ],
)
def test_faults_of_a_table_are_named_with_their_line(folder, rows, message):
    """Each fault is an error with the table, the line, and the image where there is one."""
    with pytest.raises(ValueError, match=message):
        load_images(table_of(folder, rows))


def test_bccd(shared):
    """The crops of blood cells are 1,333 images of three classes, all of which decode."""
    data = load_images(shared / "data" / "bccd" / "crops", test=0, validation=0)
    assert data.class_names == ("Platelets", "RBC", "WBC")
    assert np.bincount(data.train.labels).tolist() == [361, 600, 372]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train", "test"], r"pass '.*train' with test='.*test'\.$"),
        (["Training", "valid", "testing"], r"pass '.*Training' with test='.*testing' and validation='.*valid'\.$"),
        (["train.csv", "dev.csv"], r"pass '.*train\.csv' with validation='.*dev\.csv'\.$"),
    ],
)
def test_a_folder_of_splits_says_how_to_pass_them(folder, tmp_path, names, message):
    """Folders or tables named after splits are not classes: neither of folders of images, nor of images."""
    for place in (folder, folder / "cat"):
        shutil.rmtree(tmp_path / "all", ignore_errors=True)
        (tmp_path / "all").mkdir()
        for name in names:
            if "." in name:
                (tmp_path / "all" / name).write_text("text,label\n")
            else:
                shutil.copytree(place, tmp_path / "all" / name)
        with pytest.raises(ValueError, match=message) as caught:
            load_images(tmp_path / "all")
        assert "holds splits, not a folder for each class" in str(caught.value)


def test_classes_may_be_called_like_splits(folder):
    """Among other classes, trains and tests are classes."""
    for name in ("train", "test"):
        shutil.copytree(folder / "cat", folder / name)
    assert load_images(folder, validation=0, test=0).class_names == ("cat", "dog", "test", "train")
