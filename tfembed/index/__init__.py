"""What is near: embeddings in collections of Milvus, in a local file or on a cluster."""
