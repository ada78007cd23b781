"""Records become the sequences that transformers' tokenizers make of them."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from maskling.data.labelled.encode_questions import encode_questions, span_targets, tokens_of
from maskling.data.labelled.encode_tags import encode_tagged, join_words, tag_targets, word_windows
from maskling.data.labelled.encode_texts import (
    IGNORED,
    class_targets,
    encode_texts,
    multi_label_targets,
    regression_targets,
    truncate_longest,
)
from maskling.data.labelled.records import Answer, LabelSet, QuestionRecord, TaggedRecord, TextRecord
from maskling.errors import DataError, SettingsError
from maskling.tokenizer.tokenizer import Tokenizer
from oracles.small_text import texts
from oracles.tokenizer_recipes import small

TEXTS = [text for text in texts() if text.strip()]


def roberta_like():
    """A byte-level tokenizer with RoBERTa's form of pairs."""
    tokenizer = small("bpe-cased")
    library = tokenizers.Tokenizer.from_str(json.dumps(tokenizer.tokenizer_json))
    sep, cls = ((name, library.token_to_id(name)) for name in ("[SEP]", "[CLS]"))
    library.post_processor = tokenizers.processors.RobertaProcessing(sep, cls, add_prefix_space=False)
    names = {role: f"[{role.upper()}]" for role in ("pad", "unk", "cls", "sep", "mask")}
    return Tokenizer(library, names, token_types=False)


TOKENIZERS = {"wordpiece": lambda: small("wordpiece"), "roberta": roberta_like, "unigram": lambda: small("unigram")}


def theirs(tokenizer):
    """transformers' tokenizer of the same vocabulary and form."""
    library = tokenizers.Tokenizer.from_str(json.dumps(tokenizer.tokenizer_json))
    names = {
        f"{role}_token": tokenizer.token(getattr(tokenizer.special, role)) for role in ("pad", "cls", "sep", "unk")
    }
    return PreTrainedTokenizerFast(tokenizer_object=library, **names)


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request):
    """BERT's kind and RoBERTa's."""
    return TOKENIZERS[request.param]()


def test_texts_and_pairs_are_framed_and_cut_as_transformers_does(tokenizer):
    other = theirs(tokenizer)
    pairs = [*pairwise(TEXTS), ("a fox", TEXTS[-1]), (TEXTS[-1], "a fox"), ("fox", "dog")]
    for max_length in (16, 17, 60):
        windows = encode_texts([TextRecord("", text) for text in TEXTS], tokenizer, max_length, max_windows=1).windows
        for number, text in enumerate(TEXTS):
            assert windows[number].tolist() == other(text, truncation=True, max_length=max_length)["input_ids"]
        records = [TextRecord("", *pair) for pair in pairs]
        encoded = encode_texts(records, tokenizer, max_length)
        for number, pair in enumerate(pairs):
            expected = other(*pair, truncation="longest_first", max_length=max_length, return_token_type_ids=True)
            assert encoded.windows[number].tolist() == expected["input_ids"]
            types = [int(place >= encoded.windows.second[number]) for place in range(encoded.windows.length[number])]
            if tokenizer.token_types:
                assert types == expected["token_type_ids"]
            else:
                assert not any(types)
        lengths = [len(other(*pair)["input_ids"]) for pair in pairs]
        assert encoded.cut == sum(length > max_length for length in lengths)


@given(first=st.integers(0, 30), second=st.integers(0, 30), room=st.integers(2, 40))
def test_the_longer_of_a_pair_is_cut_token_by_token(first, second, room):
    left, right = truncate_longest(first, second, room)
    assert (left + right, left <= first, right <= second) == (min(room, first + second), True, True)
    # Neither was cut below the other, but by an odd token.
    assert left == first or left >= right - (first <= second)
    assert right == second or right >= left - (second < first)


def test_a_long_text_is_read_whole_in_windows():
    tokenizer = small("wordpiece")
    records = [TextRecord("a:1", "fox", None, "x"), TextRecord("a:2", TEXTS[-1], None, "y")]
    whole = tokenizer.encode(TEXTS[-1]).ids.tolist()
    encoded = encode_texts(records, tokenizer, 20, overlap=5)
    parts = [encoded.windows[number].tolist()[1:-1] for number in np.flatnonzero(encoded.windows.record == 1)]
    assert parts[0] + [token for part in parts[1:] for token in part[5:]] == whole
    assert encoded.cut == 0
    cut = encode_texts(records, tokenizer, 20, overlap=5, max_windows=3)
    assert (len(cut.windows), cut.cut) == (4, 1)
    assert cut.windows[3].tolist()[-2] == whole[-1]
    labels = LabelSet.of_texts(records)
    targets = class_targets(records, labels, encoded.windows)
    assert targets.labels.tolist() == [0, *[1] * len(parts)]
    assert targets.total == pytest.approx(2)
    with pytest.raises(SettingsError, match="overlap must be between 0 and 17"):
        encode_texts(records, tokenizer, 20, overlap=18)


def test_targets_of_several_labels_and_of_numbers():
    records = [TextRecord("a:1", "fox", None, ("x", "y")), TextRecord("a:2", "dog", None, ())]
    windows = encode_texts(records, small("wordpiece"), 20).windows
    assert multi_label_targets(records, LabelSet(("x", "y")), windows).labels.tolist() == [[1, 1], [0, 0]]
    numbers = [TextRecord("a:1", "fox", None, 0.5), TextRecord("a:2", "dog", None, 2.0)]
    assert regression_targets(numbers, windows).labels.tolist() == [0.5, 2.0]
    with pytest.raises(DataError, match=r"a:1 has .* but a number is needed"):
        regression_targets(records, windows)


def test_words_are_encoded_as_transformers_does_and_judged_at_their_first_token():
    tokenizer = small("wordpiece")
    other = theirs(tokenizer)
    words = [tuple(text.split()) for text in TEXTS]
    encoded = encode_tagged([TaggedRecord("", some) for some in words], tokenizer, 1000)
    targets = encoded.words
    first = 0
    for number, some in enumerate(words):
        expected = other(list(some), is_split_into_words=True)
        assert encoded.windows[number].tolist() == expected["input_ids"]
        word_ids = expected.word_ids()
        places = [word_ids.index(word) for word in range(len(some))]
        count = int(targets.count[number])
        assert targets.token_positions[first : first + count].tolist() == places
        first += count
    assert targets.words.tolist() == list(range(sum(map(len, words))))


def test_a_word_in_a_sentence_has_the_space_before_it_that_pretraining_saw():
    tokenizer = small("bpe-cased")
    windows = encode_tagged([TaggedRecord("", ("The", "quick", "fox", "."))], tokenizer, 64).windows
    assert windows[0].tolist()[1:-1] == tokenizer.encode("The quick fox .").ids.tolist()
    # A word of Chinese is read alone: what merges with its neighbour could not be judged by itself.
    windows = encode_tagged([TaggedRecord("", ("fox", "中", "国", "，"))], tokenizer, 64).windows
    expected = [token for word in ("fox", " 中", "国", "，") for token in tokenizer.encode(word).ids.tolist()]
    assert windows[0].tolist()[1:-1] == expected
    words = ("The", "quick", "fox", "中", "国", "，", "fox")
    assert join_words(words) == ("The quick fox 中国， fox", [0, 4, 10, 14, 15, 16, 18])
    assert join_words(()) == ("", [])


sentences = st.lists(
    st.lists(st.sampled_from(["fox", "wordlessly", "\u200b", "中", "jumps", "x" * 99, "quizzically"]), max_size=25),
    min_size=1,
    max_size=4,
)


@given(sentences=sentences, max_length=st.integers(6, 24), share=st.floats(0, 1))
def test_every_word_is_judged_once_with_context_on_both_sides(sentences, max_length, share):
    tokenizer = small("wordpiece")
    context = int(share * ((max_length - 3) // 2))
    records = [TaggedRecord(f"c:{number}", tuple(words)) for number, words in enumerate(sentences)]
    encoded = encode_tagged(records, tokenizer, max_length, context=context)
    windows, targets = encoded.windows, encoded.words
    assert windows.length.max() <= max_length
    assert targets.words.tolist() == list(range(sum(map(len, sentences))))
    assert set(windows.record.tolist()) == set(range(len(records)))
    tokens = [tokenizer.encode(word).ids.tolist() for words in sentences for word in words]
    for word, place, window in zip(
        targets.words, targets.token_positions, np.repeat(np.arange(len(windows)), targets.count), strict=True
    ):
        expected = tokens[word][:1] or [tokenizer.special.unk]
        assert windows[window][place] == expected[0]


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=40), room=st.integers(5, 30), share=st.floats(0, 1))
def test_context_is_short_only_at_the_ends_of_a_sentence(sizes, room, share):
    context = int(share * ((room - 5) // 2))
    ends = np.append(0, np.cumsum(sizes))
    judged = []
    for left, right, first, last in word_windows(ends, room, context):
        assert ends[right] - ends[left] <= room
        judged += range(first, last)
        for word in (first, last - 1):
            # Whole words only: one more word to the left or right would be more than the context asked for, or
            # would not fit.
            assert left == 0 or ends[word] - ends[left - 1] > context
            whole = ends[right] - ends[word + 1] >= context or right == len(sizes)
            assert whole or word == first
    assert judged == list(range(len(sizes)))


def test_tags_go_with_their_words_through_windows():
    records = [TaggedRecord("c:1", ("fox",) * 30, tuple("OX"[number % 3 == 0] for number in range(30)))]
    encoded = encode_tagged(records, small("wordpiece"), 14)
    assert len(encoded.windows) > 1
    assert set(encoded.words.labels.tolist()) == {IGNORED}
    assert encoded.words.total == 0
    targets = tag_targets(records, LabelSet(("O", "X")), encoded)
    assert targets.labels.tolist() == [int(number % 3 == 0) for number in range(30)]
    assert targets.total == 30
    with pytest.raises(SettingsError, match="context must be between 0 and 5"):
        encode_tagged(records, small("wordpiece"), 14, context=6)


def test_questions_are_windowed_as_transformers_does(tokenizer):
    other = theirs(tokenizer)
    other.padding_side = "right"
    context = TEXTS[-1]
    records = [QuestionRecord("q", question, context) for question in ("What did the fox do?", "Why?")]
    encoded = encode_questions(records, tokenizer, 64, overlap=12, max_question=20)
    number = 0
    for record in records:
        expected = other(
            record.question,
            context,
            truncation="only_second",
            max_length=64,
            stride=12,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for ids, offsets, sequence in zip(
            expected["input_ids"],
            expected["offset_mapping"],
            (expected.sequence_ids(row) for row in range(len(expected["input_ids"]))),
            strict=True,
        ):
            assert encoded.windows[number].tolist() == ids
            first = int(encoded.windows.first[number])
            begins, ends = (array[first : first + len(ids)].tolist() for array in (encoded.begins, encoded.ends))
            for begin, end, (their_begin, their_end), side in zip(begins, ends, offsets, sequence, strict=True):
                if side == 1:
                    assert context[begin:end] == context[their_begin:their_end].strip()
                else:
                    assert (begin, end) == (-1, -1)
            some = [place for place, side in enumerate(sequence) if side == 1]
            assert (encoded.context[number], encoded.context_end[number]) == (some[0], some[-1] + 1)
            number += 1
    assert number == len(encoded.windows)
    assert len(encoded.windows) > 4


@given(data=st.data())
def test_answers_can_be_read_back_from_their_tokens_in_some_window(data):
    tokenizer = small(data.draw(st.sampled_from(["wordpiece", "bpe-cased", "unigram"])))
    context = data.draw(st.sampled_from(TEXTS))
    words = context.split()
    first = data.draw(st.integers(0, len(words) - 1))
    answer = words[first].strip('.,"();!?') or words[first]
    start = context.index(answer)
    record = QuestionRecord("q", "Why?", context, (Answer(answer, start),))
    encoded = encode_questions([record], tokenizer, 60, overlap=24, max_question=12)
    targets = span_targets([record], encoded)
    found = np.flatnonzero(targets.starts)
    # "word" out of "wording" may be part of a token.
    read = []
    for window in found:
        at = encoded.windows.first[window]
        begin, end = encoded.begins[at + targets.starts[window]], encoded.ends[at + targets.ends[window]]
        assert begin <= start
        assert end >= start + len(answer)
        read.append(context[begin:end])
    assert len(found) or len(tokenizer.encode(answer)) > 24
    assert all(answer in text for text in read)
    assert targets.weights.tolist() == [1] * len(encoded.windows)
    assert (targets.ends >= targets.starts).all()


def test_what_is_not_known_has_no_weight_and_what_is_impossible_points_at_cls():
    context = "the quick fox"
    records = [
        QuestionRecord("a", "?", context, (Answer("dog", -1),)),
        QuestionRecord("b", "?", context),
        QuestionRecord("c", "?", context, (), impossible=True),
        QuestionRecord("d", "?", context, (Answer("dog", -1), Answer("quick fox", 4))),
    ]
    encoded = encode_questions(records, small("wordpiece"), 80)
    targets = span_targets(records, encoded)
    assert targets.weights.tolist() == [0, 0, 1, 1]
    assert targets.total == 2
    assert targets.starts[:3].tolist() == [0, 0, 0]
    assert targets.starts[3] > 0


def test_a_long_question_loses_its_end_and_a_short_sequence_is_refused():
    records = [QuestionRecord("a", "fox " * 50, "the fox")]
    encoded = encode_questions(records, small("wordpiece"), 80, max_question=10)
    assert (encoded.cut, int(encoded.context[0])) == (1, 12)
    with pytest.raises(SettingsError, match="raise max_length"):
        encode_questions(records, small("wordpiece"), 40, max_question=64)


def test_an_answer_cut_by_the_edge_of_a_window_is_not_in_it():
    begins, ends = np.array([10, 14, 20], np.int32), np.array([13, 19, 25], np.int32)
    assert tokens_of(begins, ends, 14, 25) == (1, 2)
    assert tokens_of(begins, ends, 12, 21) == (0, 2)
    assert tokens_of(begins, ends, 8, 13) is None
    assert tokens_of(begins, ends, 20, 27) is None
    assert tokens_of(begins, ends, 30, 31) is None
