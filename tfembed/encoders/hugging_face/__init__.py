"""Encoders from the Hugging Face Hub, or from a folder with the same files: config.json and model.safetensors.

Reading order: `loading`; `download` and `folder` (the files); `architectures` (what a model type is), `text_bodies` and
`image_bodies` (Keras models of the same form), `weights` (their values); `tokenizers` and `image_processing` (what
stands in front); `modules` (what sentence-transformers put behind).

The models are built here, not by KerasHub's own converters: those take the tanh form of GELU for BERT, leave out
RoBERTa's token types and every file's own epsilon, and want names with a prefix that many files do not have.
"""
