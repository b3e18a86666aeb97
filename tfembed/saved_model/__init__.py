"""What makes opaque SavedModels usable: a Keras 3 layer, blocks, and the cut at the freeze boundary."""
