"""The command line: one thin module per verb, listed in the order in which a new user meets them."""

# 1 is an internal error: a Python traceback.
EXIT_DONE, EXIT_USER_ERROR, EXIT_STOPPED = 0, 2, 130

VERBS = {
    "prepare": "maskling.cli.prepare:prepare",
    "train": "maskling.cli.train:train",
    "finetune": "maskling.cli.finetune:finetune",
    "evaluate": "maskling.cli.evaluate:evaluate",
    "compare": "maskling.cli.compare:compare",
    "fill": "maskling.cli.fill:fill",
    "embed": "maskling.cli.embed:embed",
    "search": "maskling.cli.search:search",
    "score": "maskling.cli.score:score",
    "predict": "maskling.cli.predict:predict",
    "generate": "maskling.cli.generate:generate",
    "attention": "maskling.cli.attention:attention",
    "inspect": "maskling.cli.inspect:inspect",
    "report": "maskling.cli.report:report",
    "watch": "maskling.cli.report:watch",
    "export": "maskling.cli.export:export",
    "serve": "maskling.cli.serve:serve",
    "extend": "maskling.cli.extend:extend",
    "tokenizer": "maskling.cli.tokenizer:tokenizer",
    "tokenizer extend": "maskling.cli.tokenizer:tokenizer_extend",
    "init": "maskling.cli.train:init",
}
