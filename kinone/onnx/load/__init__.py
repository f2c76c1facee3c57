"""Import: ONNX models as pure functions."""
