"""Export: traced programs written as ONNX graphs."""
