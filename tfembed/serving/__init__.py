"""An embedded server that speaks TensorFlow Serving's REST and gRPC, and a client for it and for the real one.

It is for development and tests, and for places where TensorFlow Serving is not at hand. It never trains, and imports
nothing of tfembed but what lies in this folder.
"""
