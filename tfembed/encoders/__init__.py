"""Pretrained embeddings, from every source, as one thing: an Encoder.

Reading order: `spec` and `catalog` (what is known), `loading` (from handle to encoder), `encoder`; one module per
source (`hub`, `keras_hub`, `keras_model`, `applications`) or package (`hugging_face`, `pytorch`, `words`); `parts`
(blocks and segments), for Keras models with `calls` and `crossing`; `preprocessing` in front and `pooling` behind;
`inspection`.
"""
