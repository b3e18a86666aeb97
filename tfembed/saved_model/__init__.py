"""What makes opaque SavedModels usable: a Keras 3 layer, blocks, and the cut at the freeze boundary.

Three doors: `layer` (HubLayer), `blocks` (variables from input to output), `cut` (ModuleGraph, a module in parts).

Behind `layer`: `source` holds its module, which `handles` finds, `module` loads, `invocation` calls and `archive` keeps
in model files; `partial` trains some of its blocks; `shared_variables`, `tensor_specs` and `output_shapes` translate
between TensorFlow and Keras.

Behind `blocks`: `block_names` groups by name, `block_order` by place in the graph.

Behind `cut`: `functions` picks the traced function, `flatten` writes it out as a `graph`, `probe` measures it, all of
which is a `reading`; `frontier` chooses what crosses, `match` finds that again in the training function, `checks` makes
sure of it all.
"""
