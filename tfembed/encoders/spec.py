"""What there is to know about an encoder before it is loaded."""

from dataclasses import dataclass

COMPUTES = ("float32", "bfloat16", "auto")
POOLINGS = ("mean", "max", "cls", "mean_sqrt_len")


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSpec:
    """Where an encoder comes from, what it takes, and what becomes of its output.

    Attributes:
        name: What people call it.
        handle: What `load_encoder` resolves.
        kind: `"text"` or `"image"`.
        preprocessing: Handle of the module that goes with it, for text encoders that come as a pair.
        output: Which output to take, where there are several.
        pooling: How one vector is made of a sequence: `"mean"` over the real tokens, `"max"`, the first (`"cls"`), or
            the sum over the root of their number (`"mean_sqrt_len"`).
        normalize: Whether embeddings get length 1.
        image_size: Height and width in pixels.
        mean: Subtracted from pixel values in [0, 1].
        scale: Divides what remains; mean 0.5 and scale 0.5 give [-1, 1].
        max_length: Tokens kept of a text.
        dim: Length of an embedding, where it is known before the encoder is loaded.
        parameters: Number of its parameters, where it is known before.
        depths: Cuts whose features, pooled, are joined to the embedding; depth k lies behind k blocks.
        compute: What the frozen part computes in: `"float32"`, `"bfloat16"`, or `"auto"`, which takes bfloat16 where
            there is hardware for it and a sample agrees.
        licence: The licence of the weights.
        source: Where the weights are from.
        good_for: What it is good for, in a few words.
    """

    name: str
    handle: str
    kind: str
    preprocessing: str | None = None
    output: str | None = None
    pooling: str | None = None
    normalize: bool = False
    image_size: tuple[int, int] | None = None
    mean: float = 0.0
    scale: float = 1.0
    max_length: int = 256
    dim: int | None = None
    parameters: int | None = None
    depths: tuple[int, ...] = ()
    compute: str = "float32"
    licence: str = "unknown"
    source: str = ""
    good_for: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("text", "image"):
            raise ValueError(f"Encoder {self.name!r} has kind {self.kind!r}: expected 'text' or 'image'.")
        if self.pooling is not None and self.pooling not in POOLINGS:
            raise ValueError(f"Unknown pooling {self.pooling!r}: pass one of {', '.join(POOLINGS)}, or None.")
        object.__setattr__(self, "depths", tuple(self.depths))
        if self.compute not in COMPUTES:
            raise ValueError(f"Unknown compute {self.compute!r}: pass one of {', '.join(COMPUTES)}.")
        if self.image_size is not None:
            object.__setattr__(self, "image_size", tuple(self.image_size))  # JSON knows lists only
