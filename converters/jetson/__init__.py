"""Scripts for the device: `deploy` (.onnx to timed engines, Jetson) and `camera` (live camera to poses)."""
