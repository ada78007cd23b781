"""Loading existing vocabularies: accepted files, and one-line errors for the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maskling.errors import TokenizerError
from maskling.tokenizer.tokenizer import Tokenizer

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def vocab(folder: Path, tokens: list[str], end: str = "\n") -> Path:
    path = folder / "vocab.txt"
    path.write_bytes("".join(f"{token}{end}" for token in tokens).encode())
    return path


def spelled(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.token(int(id_)) for id_ in tokenizer.encode(text).ids]


def test_lines_end_at_newlines_only(tmp_path: Path):
    tokens = [*SPECIALS, "a", "\u2028", "##\u2028", "\x85", "b"]
    tokenizer = Tokenizer.load(vocab(tmp_path, tokens))
    assert [tokenizer.token(id_) for id_ in range(len(tokens))] == tokens


def test_windows_line_ends_a_byte_order_mark_and_blank_lines_at_the_end(tmp_path: Path):
    path = vocab(tmp_path, [*SPECIALS, "a", "b"], end="\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n\r\n")
    tokenizer = Tokenizer.load(path)
    assert tokenizer.vocab_size == 7
    assert spelled(tokenizer, "a b") == ["a", "b"]


@pytest.mark.parametrize(
    ("tokens", "text", "expected"),
    [
        (["a", "hello", "e"], "HELLO é", ["hello", "e"]),  # lowercase, no accents: uncased
        (["a", "Hello", "é"], "Hello é hello", ["Hello", "é", "[UNK]"]),  # an uppercase letter: cased
        (["hello", "é", "e"], "HELLO É", ["hello", "é"]),  # lowercase with accents: accents stay
        (["<S>", "hello"], "HELLO", ["hello"]),  # names in brackets do not count
    ],
)
def test_case_and_accents_follow_the_vocabulary(tokens: list[str], text: str, expected: list[str], tmp_path: Path):
    assert spelled(Tokenizer.load(vocab(tmp_path, [*SPECIALS, *tokens])), text) == expected


def test_flags_of_a_folder_win_over_the_vocabulary(tmp_path: Path):
    vocab(tmp_path, [*SPECIALS, "hello", "é", "中国"])
    flags = {"do_lower_case": False, "strip_accents": False, "tokenize_chinese_chars": False, "model_max_length": 128}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(flags))
    tokenizer = Tokenizer.load(tmp_path)
    assert spelled(tokenizer, "hello HELLO é 中国") == ["hello", "[UNK]", "é", "中国"]
    assert tokenizer.max_length == 128


def test_flags_of_a_bert_class_win_over_tokenizer_json_as_in_transformers(tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    uncased = Tokenizer.load(vocab(tmp_path, [*SPECIALS, "hello"]))
    uncased.save(tmp_path / "folder")
    config = json.loads((tmp_path / "folder" / "tokenizer_config.json").read_text())
    (tmp_path / "folder" / "tokenizer_config.json").write_text(json.dumps({**config, "do_lower_case": False}))
    auto = transformers.AutoTokenizer.from_pretrained(tmp_path / "folder")
    assert (
        spelled(Tokenizer.load(tmp_path / "folder"), "HELLO hello")
        == auto.tokenize("HELLO hello")
        == ["[UNK]", "hello"]
    )


@pytest.mark.parametrize("inside", ["tokenizer", "model"])
def test_prepared_and_run_folders_hold_a_tokenizer_in_a_subfolder(inside: str, tmp_path: Path):
    tokenizer = Tokenizer.load(vocab(tmp_path, [*SPECIALS, "hello"]))
    tokenizer.save(tmp_path / "run" / inside)
    assert Tokenizer.load(tmp_path / "run").fingerprint == tokenizer.fingerprint


def test_truncation_and_padding_of_a_file_are_ignored(tmp_path: Path, tokenizer: Tokenizer):
    library = tokenizer._library.from_str(tokenizer._library.to_str())
    library.enable_truncation(4)
    library.enable_padding(length=9)
    library.save(str(tmp_path / "tokenizer.json"))
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    assert again.fingerprint == tokenizer.fingerprint
    text = "the quick brown fox jumps over the lazy dog"
    assert again.encode(text).ids.tolist() == tokenizer.encode(text).ids.tolist()
    assert len(again.encode(text, special_in_text=True)) == len(tokenizer.encode(text)) > 4


def test_old_roberta_files(tmp_path: Path):
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "b", "Ġ", "Ġa", "ab"]
    (tmp_path / "vocab.json").write_text(json.dumps({token: id_ for id_, token in enumerate(tokens)}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nĠ a\na b\n")
    tokenizer = Tokenizer.load(tmp_path)
    assert spelled(tokenizer, "ab a") == ["ab", "Ġa"]
    assert tokenizer.special.mask == 4


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no mask": (lambda p: vocab(p, [*SPECIALS[:4], "a"]), r"vocab\.txt has no \[MASK\].*tokenizer\.add_missing = true"),
    "nothing special": (lambda p: vocab(p, ["a", "b"]), r"\[PAD\].*\[UNK\].*\[CLS\].*\[SEP\].*\[MASK\]"),
    "duplicate": (lambda p: vocab(p, [*SPECIALS, "a", "b", "a"]), r"'a' on 2 lines \(first on line 6\)"),
    "blank lines between": (lambda p: vocab(p, [*SPECIALS, "", "", "a"]), r"'' on 2 lines"),
    "empty": (lambda p: vocab(p, []), r"is empty"),
    "not utf-8": (lambda p: (p / "vocab.txt").write_bytes(b"[MASK]\n\xff\xfe\n"), r"not UTF-8"),
    "not json": (lambda p: (p / "tokenizer.json").write_text("{"), r"is not JSON"),
    "a list": (lambda p: (p / "tokenizer.json").write_text("[]"), r"holds a JSON list"),
    "deep": (lambda p: (p / "tokenizer.json").write_text("[" * 100_000), r"is not JSON"),
    "another json": (lambda p: (p / "tokenizer.json").write_text('{"a": 1}'), r"not a usable tokenizer\.json"),
    "binary": (lambda p: (p / "tokenizer.json").write_bytes(bytes(range(256))), r"is not JSON"),
    "nothing": (lambda p: (p / "other.txt").touch(), r"holds no tokenizer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_unusable_file_is_one_line_that_names_it(case: str, tmp_path: Path):
    make, pattern = WRONG[case]
    make(tmp_path)
    with pytest.raises(TokenizerError, match=pattern) as caught:
        Tokenizer.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_path(tmp_path: Path):
    with pytest.raises(TokenizerError, match="there is no such file or folder"):
        Tokenizer.load(tmp_path / "none")


def hostile(tree: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Changes to a good tokenizer.json that break it."""
    model = tree["model"]
    vocabulary = dict(model["vocab"])
    one = next(reversed(vocabulary))
    return {
        "gap": {"model": {**model, "vocab": {**vocabulary, one: 10_000_000}}},
        "negative": {"model": {**model, "vocab": {**vocabulary, one: -1}}},
        "id twice": {"model": {**model, "vocab": {**vocabulary, one: 7}}},
        "fraction": {"model": {**model, "vocab": {**vocabulary, one: 1.5}}},
        "huge": {"model": {**model, "vocab": {**vocabulary, one: 2**40}}},
        "unknown model": {"model": {**model, "type": "Unheard"}},
        "no vocabulary": {"model": {**model, "vocab": {}}, "added_tokens": []},
        "unk is not there": {"model": {**model, "unk_token": "[NONE]"}},
        "broken pattern": {
            "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(("}, "behavior": "Isolated", "invert": False}
        },
        "template of nothing": {
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}],
                "pair": [],
                "special_tokens": {},
            }
        },
    }


def good() -> dict[str, Any]:
    tokens = [*SPECIALS, "a", "b", "##c", "d"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": id_, "content": token, **flags} for id_, token in enumerate(SPECIALS)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {token: id_ for id_, token in enumerate(tokens)},
        },
    }


@pytest.mark.parametrize("case", hostile(good()))
def test_a_hostile_tokenizer_json_is_refused_or_works(case: str, tmp_path: Path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**good(), **hostile(good())[case]}))
    with pytest.raises(TokenizerError) as caught:
        Tokenizer.load(path).encode("a b é")
    assert "\n" not in str(caught.value)


def test_the_unbroken_file_works(tmp_path: Path):
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(good()))
    assert spelled(Tokenizer.load(path), "ac b") == ["a", "##c", "b"]


@pytest.mark.parametrize("config", ["[]", "{", '{"mask_token": 5, "model_max_length": "x", "model_input_names": 3}'])
def test_odd_configurations(config: str, tmp_path: Path):
    vocab(tmp_path, [*SPECIALS, "a"])
    (tmp_path / "tokenizer_config.json").write_text(config)
    if "mask" in config:
        assert Tokenizer.load(tmp_path).max_length is None
    else:
        with pytest.raises(TokenizerError, match=r"tokenizer_config\.json"):
            Tokenizer.load(tmp_path)


def test_one_token_for_two_roles_is_refused(tmp_path: Path):
    vocab(tmp_path, [*SPECIALS, "a"])
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": "[UNK]"}))
    with pytest.raises(TokenizerError, match="one token for two special roles"):
        Tokenizer.load(tmp_path)
