"""The command line: one thin module per verb, in groups, in the order in which a new user meets them."""

# 1 is an internal error: a Python traceback.
EXIT_DONE, EXIT_USER_ERROR, EXIT_STOPPED = 0, 2, 130

VERBS = {
    "prepare": "maskling.cli.prepare:prepare",
    "train": "maskling.cli.train:train",
    "finetune": "maskling.cli.finetune:finetune",
    "evaluate": "maskling.cli.evaluate:evaluate",
    "compare": "maskling.cli.compare:compare",
    "report": "maskling.cli.report:report",
    "watch": "maskling.cli.report:watch",
    "inspect": "maskling.cli.inspect:inspect",
    "fill": "maskling.cli.fill:fill",
    "predict": "maskling.cli.predict:predict",
    "embed": "maskling.cli.embed:embed",
    "search": "maskling.cli.search:search",
    "score": "maskling.cli.score:score",
    "generate": "maskling.cli.generate:generate",
    "attention": "maskling.cli.attention:attention",
    "serve": "maskling.cli.serve:serve",
    "export": "maskling.cli.export:export",
    "tokenizer": "maskling.cli.tokenizer:tokenizer",
    "tokenizer extend": "maskling.cli.tokenizer:tokenizer_extend",
    "extend": "maskling.cli.extend:extend",
    "presets": "maskling.cli.guidance.presets:presets",
    "config": "maskling.cli.guidance.config:config",
    "completion": "maskling.cli.guidance.completion:completion",
}

# The former name of a verb, which still works.
FORMER_NAMES = {"init": "config"}

# `maskling --help`, by group. The sentences are the first ones of the verbs' docstrings, repeated here because
# importing every verb would take longer than all the rest of the help.
GROUPS = {
    "Train": {
        "prepare": "Prepare text for training",
        "train": "Pretrain a model on a prepared folder",
        "finetune": "Fine-tune for classification, sentence pairs, regression, NER/POS, QA or embeddings",
    },
    "Measure": {
        "evaluate": "Evaluate a model on text it was not trained on",
        "compare": "Compare models on text they were not trained on",
        "report": "Write a page of charts for one run or several",
        "watch": "Watch a run while another process trains it",
        "inspect": "Show what is in text, prepared data, a tokenizer, a run or a model",
    },
    "Use": {
        "fill": "Fill the masks of a text",
        "predict": "Run a fine-tuned model",
        "embed": "Embed texts as vectors",
        "search": "Find the texts nearest in meaning to a query",
        "score": "Score texts by their likelihood under a model",
        "generate": "Generate text: for the masks of a text, after it, or from nothing",
        "attention": "Show what each attention head attends to, and write the attention maps",
        "serve": "Serve a model over HTTP, with a web page to try it out",
        "export": "Write a model for other programs, as a Hugging Face folder or ONNX",
    },
    "Change": {
        "tokenizer": "Train a tokenizer only",
        "tokenizer extend": "Add words to a model's vocabulary",
        "extend": "Extend a model to longer texts, or to a tokenizer with more tokens",
    },
    "Set up": {
        "presets": "List the presets of 'train': parameters, memory, and what each is for",
        "config": "Write a settings file to edit",
        "completion": "Print the script that completes commands in bash, zsh or fish",
    },
}
