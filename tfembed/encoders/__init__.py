"""One module per source of pretrained embeddings; each returns an Encoder."""
