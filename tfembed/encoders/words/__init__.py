"""Word vectors: Word2Vec, GloVe and fastText, as encoders of texts.

Reading order: `loading`; `files` and `fasttext` (what the files hold, read by `reader`), `layer` (texts to words to
rows of the table), `pooling` (one vector of many), `subwords` (n-grams of what fastText has no word for).
"""
