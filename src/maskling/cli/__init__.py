"""The command line: one thin file for each verb, in the order in which a person meets them."""

VERBS = {
    "prepare": "maskling.cli.prepare:prepare",
    "train": "maskling.cli.train:train",
    "evaluate": "maskling.cli.evaluate:evaluate",
    "fill": "maskling.cli.fill:fill",
    "embed": "maskling.cli.embed:embed",
    "score": "maskling.cli.score:score",
    "inspect": "maskling.cli.inspect:inspect",
    "export": "maskling.cli.export:export",
    "tokenizer": "maskling.cli.tokenizer:tokenizer",
    "init": "maskling.cli.init:init",
}
