"""Pretrained embeddings in Keras 3: how much to unfreeze, and off to TF Serving."""
