"""Every user error on a command line gives one line with the error and the remedy, and exit code 2."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from commands import PREPARE, TRAIN, Command

MISTAKES = [
    ("preprae books", "no verb 'preprae'; did you mean 'prepare'?"),
    ("--verson", "did you mean '--version'?"),
    ("prepare books --ouput x", "prepare has no option --ouput; did you mean '--out'?"),
    ("prepare books --out", "--out needs a value"),
    ("prepare books", "give text to read and a folder to write"),
    ("prepare --out x", "give text to read and a folder to write"),
    ("prepare books --out x --json=maybe", "--json: 'maybe' is not true or false"),
    ("prepare books --out x --train.steps 3", "train: there is no such setting; there are corpus, tokenizer"),
    ("prepare books --out x --tokenizer.vocab-sise 3", "did you mean 'vocab_size'?"),
    ("prepare books --out x --tokeniser.vocab-size 3", "did you mean 'tokenizer'?"),
    ("prepare books --out x --tokenizer.vocab-size three", "should be a whole number, not 'three'"),
    ("prepare books --out x --corpus.filters.min-charcters 3", "did you mean 'min_characters'?"),
    ("prepare books --out x --corpus.filters 3", "this is a section of settings"),
    ("prepare books --out x --corpus.encoding utf-99", "there is no such encoding"),
    ("prepare books --out x --config nothing.toml", "nothing.toml: there is no such settings file"),
    ("prepare books --out x --config books", "books cannot be read"),
    ("prepare books --out x --tokenizer.path nowhere", "nowhere: there is no such file or folder"),
    ("prepare books --out books/00.txt", "books/00.txt is a file; give a folder"),
    ("prepare books --out books/00.txt/x", "books/00.txt is a file, so books/00.txt/x cannot be created"),
    ("prepare books --out runs", "runs already holds other files"),
    ("prepare books --out s3://bucket/x", "s3://bucket/x is a URL, and results are written to local paths"),
    ("tokenizer books --out gs://bucket/x", "gs://bucket/x is a URL"),
    ("train --data data --out hf://owner/x", "hf://owner/x is a URL"),
    ("export runs/mine --out s3://bucket/x", "s3://bucket/x is a URL"),
    ("embed runs/mine text --out s3://bucket/x.npy", "s3://bucket/x.npy is a URL"),
    ("report runs/mine --out file:///tmp/x.html", "file:///tmp/x.html is a URL"),
    ("init --out s3://bucket/x.toml", "s3://bucket/x.toml is a URL"),
    ("prepare nothing --out x", "nothing: there is no such file or folder"),
    ("prepare *.nothing --out x", "no file matches this pattern"),
    (
        "prepare books --out x --tokenizer.path data --tokenizer.vocab-size 9000",
        "tokenizer.path gives a trained",
    ),
    ("train x", "train does not take the argument 'x'"),
    ("train --data data", "training needs --out FOLDER"),
    ("train --data nowhere --out x", "nowhere is not a folder; make one with: maskling prepare"),
    ("train --data books --out x", "books is not a prepared folder"),
    ("train --data data --out books", "books holds something other than a run (00.txt)"),
    ("train --data data --out data", "data holds something other than a run"),
    ("train --data data --out runs/mine/model", "runs/mine/model holds something other than a run"),
    ("train --data data --out books/00.txt", "books/00.txt is a file; give a folder"),
    ("train --data data --out x --preset tinny", "no preset 'tinny'; did you mean 'tiny'?"),
    ("train --data data --out x --model.kind mordern", "no kind 'mordern'; did you mean 'modern'?"),
    ("train --out x", "training needs --data FOLDER"),
    ("train --data data", "training needs --out FOLDER"),
    ("train --data data --out x --budget 5", "'5' needs a unit: '5m' for minutes, '5h' for hours, or '5s' for seconds"),
    ("finetune runs/mine --train x.csv --out x --train.budget 1.5", "'1.5' needs a unit"),
    ("train --data data --out x --learning-rate 1", "no option --learning-rate; did you mean --lr?"),
    ("train --data data --out x --num_epochs 1", "did you mean --epochs?"),
    ("train --data data --out x --batchsize 1", "did you mean"),
    ("train --data data --out x --warmup 1", "did you mean --schedule.warmup?"),
    ("train --data data --out x --mask-rate 1", "did you mean --masking.rate or --evaluate.rate?"),
    ("train --data data --out x --train.lr 1", "did you mean 'optimizer.lr'?"),
    ("train --data data --out x --quux 1", "see 'maskling train --help'"),
    ("train --data data --out x --epochs 0", "train.epochs: should be greater than 0"),
    ("train --data data --out x --epochs 1 --steps 5", "because train.epochs sets the steps"),
    ("train --data data --out x --epochs 1 --budget 5m", "because train.budget sets the steps"),
    ("prepare books --out x --vocab-size 100", "did you mean --tokenizer.vocab-size?"),
    ("embed runs/mine --file books/00.txt --textfield x", "did you mean '--text-field'?"),
    ("search runs/mine books dog --index x", "to search for this text give --query 'dog'"),
    ("predict runs/mine word", "to predict on this text give --text 'word'"),
    ("presets smal", "did you mean 'small'?"),
    ("completion csh", "is not one of bash, zsh, fish"),
    ("train --data data --out x --budget nonsense", "should be a time such as '90s', '4m' or '1h30m', not 'nonsense'"),
    ("train --data data --out x --budget 0s", "should be a time"),
    ("train --data data --out x --seed x", "--seed: 'x' is not a whole number"),
    ("train --data data --out x --seed -1", "seed: should be at least 0, not '-1'"),
    ("train --data data --out x --masking.rate 2", "masking.rate: should be less than 1, not '2'"),
    ("train --data data --out x --data.seq-length 4000000", "lower one or raise the other"),
    ("train --data data --out x --model.num-heads 3", "num_heads = 3 does not divide"),
    ("train --data data --out x --model.vocab-size 10", "is less than the tokenizer's"),
    ("train --data data --out x --system.device tpu", "'tpu' is not a device"),
    ("train --data data --out x --init books", "books has neither config.json nor model/config.json"),
    ("train --data data --out x --init nowhere", "nowhere: there is no such folder"),
    ("train --data data --out x --init runs/mine --model.kind bert", "--model.kind has no effect"),
    ("train --data data --out x --budget 5m --train.steps 500", "--train.steps has no effect"),
    ("train --data data --out x --preset tiny --preset small", "--preset is given twice"),
    ("fill", "fill needs MODEL"),
    ("fill nowhere [MASK]", "nowhere: there is no such folder"),
    ("fill books [MASK]", "books has neither config.json nor model/config.json"),
    ("fill data [MASK]", "data is a prepared data folder, not a model"),
    ("fill runs/mine/checkpoints [MASK]", "has neither config.json nor model/config.json"),
    ("fill runs/mine none", "there is no [MASK] in 'none'"),
    ("fill runs/mine the [MASK]", "put a text of several words in quotes"),
    ("fill runs/mine [MASK] --top-k 0", "top_k is 0; it must be 1 or more"),
    ("fill runs/mine [MASK] --top-k x", "--top-k: 'x' is not a whole number"),
    ("fill runs/mine [MASK] --targets 中文", "cannot be encoded with this model's vocabulary"),
    ("evaluate runs/mine books --pairing nps", "there is no pairing 'nps'"),
    ("evaluate runs/mine books --rate 2", "rate is 2"),
    ("embed runs/mine books/00.txt", "books/00.txt is a file; to read it give --file books/00.txt"),
    ("fill runs/mine [MASK] --file books/00.txt", "as arguments or with --file, not both"),
    ("fill runs/mine --file nothing.txt", "nothing.txt: there is no such file"),
    ("fill runs/mine --file books", "books is a folder"),
    ("attention runs/mine [MASK] --masking.rate 1", "takes no settings"),
    ("fill runs/mine [MASK] --masking.rate 1", "--masking.rate sets how a file is read, and there is none"),
    ("embed runs/mine a --out v.npz", "v.npz: the name should end in .npy"),
    ("embed runs/mine a --out v", "give --out v.npy"),
    ("attention runs/mine a --out maps.npy", "give --out maps.npz"),
    ("report runs/mine --out page.pdf", "give --out page.html"),
    ("embed runs/mine a --pooling max", "--pooling: 'max' is not one of cls, mean"),
    ("embed runs/mine a --out books", "books is a folder; give the name of a file in it"),
    ("evaluate nowhere", "nowhere: there is no such folder"),
    ("evaluate runs/mine books --data data", "or --data, not both"),
    ("evaluate runs/mine --rate 0", "rate is 0"),
    ("evaluate runs/mine --rate 2", "rate is 2"),
    ("evaluate runs/mine --seq-length 4", "seq_length is 4"),
    ("evaluate runs/mine --examples 0", "examples is 0"),
    ("evaluate runs/mine --pairing pairs", "there is no pairing 'pairs'"),
    ("evaluate runs/mine --corpus.plain line", "sets how text is read, and there is none"),
    ("inspect", "give something to inspect"),
    ("inspect nothing", "nothing: there is no such file or folder"),
    ("inspect data --example -1", "the first example is 0"),
    ("inspect data --samples -1", "--samples is -1"),
    ("inspect data --masking.kind span", "has no effect here"),
    ("inspect books --example 1", "and this is neither"),
    ("inspect books --text hello", "holds no tokenizer"),
    ("inspect books --verify", "--verify needs a prepared folder"),
    ("export runs/mine", "give a folder to write"),
    ("export runs/mine --out books", "books holds files that do not belong to a model"),
    ("export runs/mine --out runs/mine", "holds the source model"),
    ("export runs/mine --out runs/mine/model", "holds the source model"),
    ("export runs/mine --out x --step 7", "no checkpoint of step 7; there are step-"),
    ("export runs/mine/model --out x --step 3", "--step chooses a checkpoint of a run"),
    ("tokenizer books", "give text to read and a folder to write"),
    ("tokenizer books --out books", "books holds other files than a tokenizer"),
    ("tokenizer books --out data/tokenizer", "holds a tokenizer already"),
    ("tokenizer books --out runs/mine/model", "holds other files than a tokenizer"),
    ("tokenizer books --out x --tokenizer.path data", "leave it out"),
    ("init books", "books is a folder"),
    ("init books/00.txt", "exists already"),
    ("init x --preset tinny", "did you mean 'tiny'?"),
]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")


@pytest.mark.parametrize(("words", "said"), MISTAKES, ids=[words for words, _ in MISTAKES])
def test_an_error_is_one_line_and_writes_no_file(maskling: Command, here: Path, words: str, said: str):
    before = files(here)
    assert said in maskling(*words.split()).complaint
    assert files(here) == before


def test_a_run_goes_on_only_as_it_began(maskling: Command, here: Path):
    same = ["train", "--data", "data", "--out", "runs/mine", *TRAIN, "--pairing.kind", "nsp"]
    again = maskling(*same, "--train.steps", "3")
    assert again.code == 0
    assert "had already finished" in again.err
    assert "planned for 3 steps" in maskling(*same, "--train.steps", "4").complaint
    other = maskling(*same, "--train.steps", "3", "--seed", "5").complaint
    assert "runs/mine holds a run with seed = 0, but this command asks for 5" in other


def test_an_empty_name_is_an_error(maskling: Command, here: Path):
    for verb in ("prepare", "tokenizer"):
        assert "an empty name" in maskling(verb, "", "--out", "x").complaint
    assert "an empty name" in maskling("evaluate", "runs/mine", "").complaint
    assert "an empty name" in maskling("inspect", "").complaint


def test_a_settings_file_is_named_in_its_errors(maskling: Command, here: Path):
    (here / "typo.toml").write_text('[corpus]\nplian = "line"\n')
    said = maskling("prepare", "books", "--out", "x", "--config", "typo.toml")
    assert said.complaint == "corpus.plian: there is no such setting; did you mean 'plain'? (from typo.toml)"


def test_two_wrong_settings_are_two_lines(maskling: Command, here: Path):
    said = maskling("prepare", "books", "--out", "x", "--corpus.plain", "x", "--tokenizer.vocab-size", "y")
    assert said.code == 2
    assert len(said.err.splitlines()) == 2


def test_a_run_without_its_data_names_the_remedy(maskling: Command, here: Path):
    (here / "data").rename(here / "moved")
    assert "was trained on data, which does not exist" in maskling("evaluate", "runs/mine").complaint
    assert "--data.path FOLDER" in maskling("inspect", "runs/mine", "--example", "1").complaint
    assert maskling("evaluate", "runs/mine", "--data", "moved").code == 0
    assert maskling("inspect", "runs/mine", "--example", "1", "--data.path", "moved").code == 0


def test_a_model_with_another_tokenizer_is_not_evaluated(maskling: Command, here: Path):
    assert maskling("prepare", "books", "--out", "lower", *PREPARE, "--tokenizer.lowercase", "false").code == 0
    said = maskling("evaluate", "runs/mine", "--data", "lower").complaint
    assert "was prepared with tokenizer" in said


def test_a_tokenizer_is_overwritten_only_with_force(maskling: Command, here: Path):
    words = ["tokenizer", "books", "--out", "tok", "--tokenizer.vocab-size", "90"]
    assert maskling(*words).code == 0
    assert "holds a tokenizer already" in maskling(*words).complaint
    assert maskling(*words, "--force").code == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_one_line(maskling: Command, here: Path):
    (here / "mine").mkdir(mode=0o500)
    assert "mine" in maskling("init", "mine/train.toml").complaint


def test_file_names_cannot_overwrite_the_screen(maskling: Command, here: Path):
    name = "new\nline \x1b[31m.jsonl"
    (here / name).write_text("this is no JSON\n")
    said = maskling("prepare", name, "--out", "x", *PREPARE)
    assert r"new\nline \x1b[31m.jsonl: line 1 is not JSON" in said.complaint


def test_a_file_name_that_is_not_text_is_read_like_any_other(maskling: Command, here: Path):
    try:
        os.link(here / "books" / "00.txt", b"strange-\xff.txt")
    except OSError:
        pytest.skip("this file system takes only names that are text")
    os.rename(b"strange-\xff.txt", b"books/strange-\xff.txt")  # noqa: PTH104 - a Path is text
    assert maskling("prepare", "books", "--out", "x", *PREPARE).code == 0
