"""Fine-tune a pretrained encoder: classification, regression, tagging, question answering, text vectors."""
