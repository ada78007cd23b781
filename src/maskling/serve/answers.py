"""Types of the responses, for openapi.json. Responses are written as they are, without a check by these types."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

# NaN and infinity are null in JSON.
Real = float | None


class Candidate(BaseModel):
    """A candidate for one mask."""

    word: str
    tokens: list[str]
    ids: list[int]
    probability: Real
    text: str


class FilledText(BaseModel):
    """A text, each mask filled by itself: the candidates for each mask, best first."""

    text: str
    masks: list[list[Candidate]]
    cut: bool


class JointFilling(BaseModel):
    """A filling of all masks of a text."""

    words: list[str]
    ids: list[list[int]]
    probability: Real
    text: str


class JointlyFilledText(BaseModel):
    """A text with its masks filled jointly, best first."""

    text: str
    together: list[JointFilling]
    cut: bool


class TokenScore(BaseModel):
    """A token with its log-probability."""

    token: str
    log_probability: Real


class WordScore(BaseModel):
    """A word with its log-probability. start, stop: its characters in the text."""

    word: str
    log_probability: Real
    start: int | None = None
    stop: int | None = None


class TextScore(BaseModel):
    """The pseudo-log-likelihood of a text. tokens or words: if `per` asks for them."""

    text: str
    total: Real
    num_tokens: int
    perplexity: Real
    unknown: int
    windows: bool
    tokens: list[TokenScore] | None = None
    words: list[WordScore] | None = None


class Attention(BaseModel):
    """Attention weights (layers, heads, n, n) of the n tokens of a text."""

    tokens: list[str]
    weights: list[list[list[list[Real]]]]
    cut: bool


class HeadStatistics(BaseModel):
    """Statistics of a head, see `AttentionMaps.summary`."""

    layer: int
    head: int
    itself: Real
    before: Real
    after: Real
    first: Real
    last: Real
    entropy: Real


class HeadAttention(BaseModel):
    """Attention weights (n, n) of one head, or a mean over heads; an overview of all (layers, heads, m, m)."""

    tokens: list[str]
    weights: list[list[Real]]
    cut: bool
    overview: list[list[list[list[Real]]]]
    heads: list[HeadStatistics]


class GeneratedText(BaseModel):
    """A generated text. tokens: those drawn; steps: the step that drew each; log_probabilities: given the text then."""

    text: str
    written: list[str]
    tokens: list[str]
    log_probability: Real
    steps: list[int]
    log_probabilities: list[Real]


class Question(BaseModel):
    """A question, and a text that contains its answer."""

    question: str
    context: str


class Examples(BaseModel):
    """Inputs to try. origin: where they come from; script: the main script of the vocabulary."""

    origin: str
    script: str
    texts: list[str]
    pairs: list[tuple[str, str]]
    questions: list[Question]


class Token(BaseModel):
    """A token with the characters it stands for; special tokens have none."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


class Info(BaseModel):
    """The model and its limits."""

    model_id: str
    model_dtype: str
    task: str
    labels: list[str]
    pairs: bool
    pooling: str
    hidden_size: int
    num_layers: int
    num_heads: int
    vocab_size: int
    mask_token: str
    max_input_length: int
    runs_on: str
    version: str
    compared: str | None


class LabelScore(BaseModel):
    """A label with its probability, or the name of a predicted number with the number."""

    label: str
    score: Real


class Entity(BaseModel):
    """An entity of a text."""

    entity_group: str
    score: Real
    word: str
    start: int
    end: int


class WordTag(BaseModel):
    """A word with its tag."""

    entity: str
    score: Real
    index: int
    word: str
    start: int
    end: int


class AnswerSpan(BaseModel):
    """An answer in its context."""

    score: Real
    start: int
    end: int
    answer: str


class MaskCandidate(BaseModel):
    """A candidate for a mask, as in Hugging Face's fill-mask."""

    score: Real
    token: int
    token_str: str
    sequence: str


Vectors = list[list[Real]]
# What a prediction of any task looks like.
TaskAnswer = (
    list[LabelScore]
    | list[Entity | WordTag]
    | AnswerSpan
    | list[AnswerSpan]
    | list[list[LabelScore]]
    | list[list[Entity | WordTag]]
    | list[list[AnswerSpan]]
)
InferenceAnswer = (
    TaskAnswer | list[MaskCandidate] | list[list[MaskCandidate]] | list[list[list[MaskCandidate]] | list[MaskCandidate]]
    | Vectors | list[Real]
)  # fmt: skip


class Rank(BaseModel):
    """A text with its score, in the order of the scores. text: if it was asked for."""

    index: int
    score: Real
    text: str | None = None


class RankedDocument(BaseModel):
    """A document in the answer of Cohere's and Jina's endpoint."""

    text: str


class RelevantDocument(BaseModel):
    """A document with its score, in the order of the scores. document: if it was asked for."""

    index: int
    relevance_score: Real
    document: RankedDocument | None = None


class RerankAnswer(BaseModel):
    """The answer of Cohere's and Jina's endpoint."""

    id: str
    model: str
    results: list[RelevantDocument]
    meta: dict[str, Any]


class OpenAIModel(BaseModel):
    """A model as OpenAI describes it."""

    id: str
    object: str
    created: int
    owned_by: str


class OpenAIModels(BaseModel):
    """The list of models."""

    object: str
    data: list[OpenAIModel]


class OpenAIEmbedding(BaseModel):
    """A vector, or its base64."""

    object: str
    index: int
    embedding: list[Real] | str


class OpenAIUsage(BaseModel):
    """Tokens that the model read."""

    prompt_tokens: int
    total_tokens: int


class OpenAIEmbeddings(BaseModel):
    """Vectors as OpenAI returns them."""

    object: str
    data: list[OpenAIEmbedding]
    model: str
    usage: OpenAIUsage
