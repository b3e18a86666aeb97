"""What there is to know about an encoder before it is loaded."""

from dataclasses import dataclass

COMPUTES = ("float32", "bfloat16", "auto")
POOLINGS = ("mean", "max", "cls", "mean_sqrt_len", "last")
KINDS = ("text", "image")
CHANNELS = ("rgb", "bgr", "grey")
INTERPOLATIONS = ("bilinear", "bicubic", "nearest")
PerChannel = float | tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """Where an encoder comes from, what it takes, and what becomes of its output.

    Attributes:
        name: What people call it.
        handle: What `load_encoder` resolves.
        kind: `"text"` or `"image"`.
        preprocessing: Handle of the module that goes with it, for text encoders that come as a pair.
        output: Which output to take, where there are several.
        signature: Signature of a SavedModel that is called; None where the module itself is.
        pooling: How one vector is made of a sequence: `"mean"` over the real tokens, `"max"`, the first (`"cls"`), the
            last (`"last"`), or the sum over the root of their number (`"mean_sqrt_len"`).
        normalize: Whether embeddings get length 1.
        image_size: Height and width in pixels.
        mean: Subtracted from pixel values in [0, 1]; one number, or one for each channel, in the order of `channels`.
        scale: Divides what remains; mean 0.5 and scale 0.5 give [-1, 1], mean 0 and scale 1/255 give [0, 255].
        channels: Their order, `"rgb"` or `"bgr"`; `"grey"` for one channel.
        interpolation: How images are resized: `"bilinear"`, `"bicubic"` or `"nearest"`.
        crop: Share of the size that is kept: 0.875 brings the shorter side to `size / 0.875`, smoothed, and keeps the
            middle, as TorchVision and timm do; None stretches the whole image.
        max_length: Tokens kept of a text.
        dim: The length of an embedding, where it is known beforehand.
        parameters: How many values the blocks have, moving statistics included, where that is known beforehand.
        depths: Cuts whose features, pooled, are joined to the embedding; depth k lies behind k blocks.
        compute: What the frozen part computes in: `"float32"`, `"bfloat16"`, or `"auto"`, which takes bfloat16 where
            there is hardware for it and a sample agrees.
        weights: Which were loaded: `"pretrained"`, a file, or None for random ones.
        licence: The licence of the weights.
        source: Where the weights are from.
        good_for: What it is good for, in a few words.
        both: Whether the same weights have a tower for texts and one for images; `kind` is that of this one.
        twin: The checksum of the weights of the other tower; None where there is none, or before they are loaded.
    """

    name: str
    handle: str
    kind: str
    preprocessing: str | None = None
    output: str | None = None
    signature: str | None = None
    pooling: str | None = None
    normalize: bool = False
    image_size: tuple[int, int] | None = None
    mean: PerChannel = 0.0
    scale: PerChannel = 1.0
    channels: str = "rgb"
    interpolation: str = "bilinear"
    crop: float | None = None
    max_length: int = 256
    dim: int | None = None
    parameters: int | None = None
    depths: tuple[int, ...] = ()
    compute: str = "float32"
    weights: str | None = "pretrained"
    licence: str = "unknown"
    source: str = ""
    good_for: str = ""
    both: bool = False
    twin: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Encoder {self.name!r} has kind {self.kind!r}: expected 'text' or 'image'.")
        if self.pooling is not None and self.pooling not in POOLINGS:
            raise ValueError(f"Unknown pooling {self.pooling!r}: pass one of {', '.join(POOLINGS)}, or None.")
        object.__setattr__(self, "depths", tuple(self.depths))
        if self.compute not in COMPUTES:
            raise ValueError(f"Unknown compute {self.compute!r}: pass one of {', '.join(COMPUTES)}.")
        if self.channels not in CHANNELS:
            raise ValueError(f"Unknown order of channels {self.channels!r}: pass one of {', '.join(CHANNELS)}.")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"Unknown interpolation {self.interpolation!r}: pass one of {', '.join(INTERPOLATIONS)}.")
        if self.crop is not None and not 0 < self.crop <= 1:
            raise ValueError(
                f"Cannot keep a share {self.crop!r} of an image: pass a number above 0, at most 1, or None."
            )
        for name in ("image_size", "mean", "scale"):
            if isinstance(value := getattr(self, name), list | tuple):
                object.__setattr__(self, name, tuple(value))  # JSON knows lists only
