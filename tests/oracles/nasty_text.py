"""Text that tokenizers get wrong: accents in both forms, Chinese, emoji, controls, odd spaces, special tokens."""

from __future__ import annotations

from hypothesis import strategies as st

FRAGMENTS = [
    "the", "The", "quick", "QUICK", "brown", "don't", "'s", "'S", "we'll", "x'y", "3.14", "a1b2", "1,000",
    "e-mail", "naïve", "nai\u0308ve", "ÉCOLE", "e\u0301\u0323", "\u0301", "ǅ", "ß", "İstanbul", "ΑΣ", "ﬁne",
    "Å", "\u212a", "\u037e", "中", "国", "中国", "我来到北京清华大学。", "，", "。", "的", "一", "の",
    "カタカナ", "か\u3099", "\uf900", "\U00020000", "\U0002b820", "한국어", "😀", "👩\u200d👩\u200d👧",
    "❤\ufe0f", "€", "≠", "½", "²", "…", "—", "“", "”", "’", "$", "^", "`", "|", "~", "_", "(", ")", " ", "  ",
    "   ", "\n", "\n\n", "\t", "\r\n", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\xa0", "\u1680", "\u2003",
    "\u2028", "\u3000", "\x00", "\x07", "\ufffd", "\u200b", "\u200d", "\ufeff", "\u2060", "\u00ad", "\ue000",
    "\U000f0000", "\U0010ffff", "[MASK]", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[unused1]", "<mask>", "</s>",
    "##ing", "##", "▁", "▁the", "Ġ", "Ġthe", "´", "\u037a", "a" * 99, "b" * 100, "c" * 101, "d" * 300,
    "\u0338", "=", "=\u0338", "<", "<\u0301\u0338", ">", "Σ", "ΤΗΣ", "Σ.", "σ", "Σ\u0301", "ı", "i\u0307", "I\u0307",
    "IŞIK", "I", "IT'S", "I’m", "J\u030c", "\u1fef", "\u0387", "\u2126", "\u1100\u1161\u11a8", "\u1161", "अपने",
    "में", "कि", "\u094d", "\u0940", "ก้า", "ที่", "می\u200cخواهم", "\u200c", "\u061c", "\u0f71", "ខ្ញុំ\u200bទៅ",
    "ọ\u0300", "Việt\u00a0Nam", "\ufdd0", "\x1d", "\u2029", "[URL]", "[UR", "<ent>", "<entry", "“IT'S",
]  # fmt: skip

nasty = st.one_of(
    st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join),
    st.lists(st.sampled_from(FRAGMENTS), max_size=25).map(" ".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.lists(st.text(max_size=8), max_size=8).map(" ".join).map(lambda text: text.encode("utf-8", "replace").decode()),
)


def pairs_of_fragments(share: int) -> list[str]:
    """Return every pair of short fragments joined, or one of `share` pairs: each fragment is on both sides of some."""
    short = [fragment for fragment in FRAGMENTS if len(fragment) < 30]
    return [left + right for index, left in enumerate(short) for right in short[index % share :: share]]
