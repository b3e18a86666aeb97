"""What modules of TF Hub and Kaggle need besides themselves, by their names: one literal table.

Taken from the modules' documentation (https://github.com/tensorflow/tfhub.dev).
"""

import re
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFamily:
    """Modules of a kind.

    Attributes:
        pattern: What their addresses have in common, in lower case, with `-` for `_`; a group `size` holds the size of
            images, a group `variant` the key of `sizes`.
        size: Height and width of images in pixels.
        sizes: The same by variant.
        preprocessing: The address of the preprocessing that texts need.
        output: The output that embeddings are made of.
        normalize: Whether embeddings get length 1.
    """

    pattern: str
    size: int | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    preprocessing: str | None = None
    output: str | None = None
    normalize: bool = False


_TEXT = "https://tfhub.dev/tensorflow/"
_MULTILINGUAL = "https://tfhub.dev/google/universal-sentence-encoder-cmlm/multilingual-preprocess/2"
_UNCASED = f"{_TEXT}bert_en_uncased_preprocess/3"
_B_SIZES = {"b0": 224, "b1": 240, "b2": 260, "b3": 300, "b4": 380, "b5": 456, "b6": 528, "b7": 600}
_V2_SIZES = {"b0": 224, "b1": 240, "b2": 260, "b3": 300, "s": 384, "m": 480, "l": 480, "xl": 512}
_LITE_SIZES = {"0": 224, "1": 240, "2": 260, "3": 280, "4": 300}

# The first that fits counts. Images have values in [0, 1] in all of these: TF Hub's common image input.
FAMILIES = (
    HubFamily(pattern=r"mobilenet-v\d.*?\b\d{3}-(?P<size>\d{2,3})\b"),
    HubFamily(pattern=r"efficientnet.*lite(?P<variant>\d)", sizes=_LITE_SIZES),
    HubFamily(pattern=r"efficientnet-?v2.*[-/](?P<variant>b\d|s|m|l|xl)[-/]", sizes=_V2_SIZES),
    HubFamily(pattern=r"efficientnet.*[-/](?P<variant>b\d)[-/]", sizes=_B_SIZES),
    HubFamily(pattern=r"/bit/", size=224),
    HubFamily(pattern=r"inception-(v3|resnet-v2)", size=299),
    HubFamily(pattern=r"(/|-)p?nasnet(-|.*/)large", size=331),
    HubFamily(pattern=r"inception-v[12]|resnet|nasnet|mobilenet", size=224),
    HubFamily(pattern=r"labse", preprocessing=_MULTILINGUAL, output="default", normalize=True),
    HubFamily(pattern=r"encoder-cmlm/multilingual", preprocessing=_MULTILINGUAL, output="default"),
    HubFamily(pattern=r"encoder-cmlm/en", preprocessing=_UNCASED, output="default"),
    HubFamily(pattern=r"bert.*multi-cased", preprocessing=f"{_TEXT}bert_multi_cased_preprocess/3"),
    HubFamily(pattern=r"bert.*zh-l", preprocessing=f"{_TEXT}bert_zh_preprocess/3"),
    HubFamily(pattern=r"albert.*en-", preprocessing=f"{_TEXT}albert_en_preprocess/3"),
    HubFamily(pattern=r"bert.*en-(wwm-)?cased", preprocessing=f"{_TEXT}bert_en_cased_preprocess/3"),
    HubFamily(pattern=r"bert.*en-(wwm-)?uncased|talkheads.*bert-en|experts/bert|electra-", preprocessing=_UNCASED),
)


def family_of(handle: str) -> HubFamily | None:
    """The family of a module by its address; None for folders, and for modules that are not known.

    Example:
        >>> family_of("https://tfhub.dev/tensorflow/small_bert/bert_en_uncased_L-4_H-512_A-8/2").preprocessing
        'https://tfhub.dev/tensorflow/bert_en_uncased_preprocess/3'
    """
    name = _plain(handle)
    return next((each for each in FAMILIES if re.search(each.pattern, name)), None) if "://" in handle else None


def image_size(handle: str) -> tuple[int, int] | None:
    """Height and width in pixels that a module was trained on, by its address; None where that is not known.

    Example:
        >>> image_size("https://www.kaggle.com/models/google/mobilenet-v2/tensorFlow2/035-96-feature-vector/2")
        (96, 96)
    """
    family = family_of(handle)
    if family is None:
        return None
    found = re.search(family.pattern, _plain(handle))
    groups = found.groupdict() if found else {}
    size = groups.get("size") or family.sizes.get(str(groups.get("variant"))) or family.size
    return (int(size), int(size)) if size else None


def _plain(handle: str) -> str:
    return handle.lower().replace("_", "-")
