"""TensorRT and TensorRT-RTX: ONNX → engine → answers. One code for both, whose interfaces differ in a few names only.

Features use it (`classify/trt_classifier.py`, `detect/trt_network.py`); it knows no features.
"""
