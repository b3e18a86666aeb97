"""Networks of TorchVision and timm from their weights, without PyTorch.

Reading order: `loading`; `state_dict` (what files hold), `kinds` (which network has such weights), `families` and
`mobile` (networks, as values), `network` (a Keras model of one).
"""
