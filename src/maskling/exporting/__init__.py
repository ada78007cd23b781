"""Write model folders (Hugging Face, Sentence-Transformers, ONNX) with model cards, and verify them by reading back."""
