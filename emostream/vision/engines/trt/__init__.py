"""TensorRT and TensorRT-RTX: ONNX → engine → answers. One code for both, whose interfaces differ in a few names only.

Features use it (`vision/classify/trt_classifier.py`, `vision/detect/trt_network.py`); it knows no features.
"""
