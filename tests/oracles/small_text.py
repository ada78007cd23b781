"""A small corpus of several scripts, made of nothing but this file."""

from __future__ import annotations

_ENGLISH = """The quick brown fox jumps over the lazy dog. It didn't stop; "why should it?" asked the dog (who was
lazy).
In 1854, 3.14 per cent of all foxes jumped - quickly, quietly, quizzically - over 1,000 dogs & cats!
Naïve café owners in São Paulo serve crème brûlée. “They’ve cooked,” she said — and we'll eat…
Training a tokenizer needs words, more words, wording, worded, wordless, trained, trainer, trains, tokens, token."""
_CHINESE = """我来到北京清华大学。中国的文字是中文，一个字一个词。我们在学习语言模型的知识！
今天天气很好，我们去公园散步。 BERT模型由谷歌发布，参数有1.1亿个。"""
_OTHER = (
    "Größe über alles. Ελληνικά και ΑΣ. Русский язык и ещё. "
    "한국어 문장입니다. 日本語の文章です。 emoji 😀 and 👩\u200d👩\u200d👧 too."
)


def texts() -> list[str]:
    """Twelve documents."""
    return [*_ENGLISH.splitlines(), *_CHINESE.splitlines(), _OTHER, _ENGLISH, _CHINESE, "", " \n", _ENGLISH.upper()]
