"""What helps to use the other verbs: help, presets, a settings file to edit, and shell completion."""
