"""Models: BERT and ModernBERT (each top to bottom in one file), their parts, heads for tasks, and model folders.

- `config` has the settings of an architecture, `bert` and `modernbert` the modules, `masked_lm` their common interface.
- `attention` makes the attention mask of packed rows and chooses the attention kernel.
- `folder` loads and writes Hugging Face folders (config.json, model.safetensors); `hf_config` translates config.json.
- `tasks` does the same for encoders with a classification, tagging or question-answering head.
"""
