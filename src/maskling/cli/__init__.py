"""The command line: one thin file for each verb."""

VERBS = {
    "init": "maskling.cli.init:init",
    "tokenizer": "maskling.cli.tokenizer:tokenizer",
    "prepare": "maskling.cli.prepare:prepare",
    "train": "maskling.cli.train:train",
    "evaluate": "maskling.cli.evaluate:evaluate",
    "fill": "maskling.cli.fill:fill",
    "embed": "maskling.cli.embed:embed",
    "export": "maskling.cli.export:export",
    "inspect": "maskling.cli.inspect:inspect",
}
