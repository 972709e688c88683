"""TensorRT and TensorRT-RTX: compiles ONNX models to engines and runs them. The two interfaces differ in a few names.

Used by `vision/classify/trt_classifier.py` and `vision/detect/trt_network.py`; it knows neither of them.
"""
