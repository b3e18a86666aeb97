"""Write the files of word vectors that tests compare with gensim, and what gensim says of them: needs `gensim`.

    python scripts/make_vector_references.py

Two tiny models are trained on a few sentences (one thread, seed 1; the hashes that gensim begins with want
PYTHONHASHSEED=0), and saved as Word2Vec (text, binary) and fastText (binary) write them.
"""

import json
from pathlib import Path

import numpy as np
from gensim.models import FastText, KeyedVectors, Word2Vec
from gensim.models.fasttext import load_facebook_vectors, save_facebook_model

FOLDER = Path(__file__).parents[1] / "tests" / "encoders" / "data" / "vectors"
SENTENCES = [
    "the king and the queen live in a house",
    "a man and a woman live in the café",
    "the tree is in the forest and the forest is green",
    "über den wolken ist die freiheit",
] * 5
TEXTS = ["the king", "a green house", "forest"]
UNKNOWN = ["kings", "household", "wolke", "überall", "cafés", "日本語", "x"]


def main() -> None:
    """Train, save, write down."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    tokens = [sentence.split() for sentence in SENTENCES]
    options = {"vector_size": 5, "min_count": 1, "seed": 1, "workers": 1, "epochs": 3}
    words = Word2Vec(tokens, **options).wv
    words.save_word2vec_format(FOLDER / "word2vec.bin", binary=True)
    words.save_word2vec_format(FOLDER / "word2vec.txt")
    save_facebook_model(FastText(tokens, bucket=40, min_n=2, max_n=5, **options), str(FOLDER / "fasttext.bin"))
    plain = KeyedVectors.load_word2vec_format(FOLDER / "word2vec.bin", binary=True)
    grams = load_facebook_vectors(str(FOLDER / "fasttext.bin"))
    found = {
        "word2vec": {word: plain[word].tolist() for word in plain.index_to_key},
        "means": {text: plain.get_mean_vector(text.split(), pre_normalize=False).tolist() for text in TEXTS},
        "nearest": plain.most_similar("king", topn=5),
        "analogy": plain.most_similar(positive=["king", "woman"], negative=["man"], topn=5),
        "fasttext": {word: grams[word].tolist() for word in [*grams.index_to_key, *UNKNOWN]},
        "fasttext_mean": np.mean([grams["the"], grams["kings"]], axis=0).tolist(),
    }
    (FOLDER / "gensim.json").write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
