"""Write model folders (Hugging Face, Sentence-Transformers, ONNX) with model cards, and verify each by loading it back."""
