"""Open a model for inference: a run, an export, or any Hugging Face BERT, RoBERTa or ModernBERT folder.

Each verb of `Model` imports its implementation when it is first called, so that opening a model and filling a mask
loads no code for search, generation, fine-tuned heads or ONNX.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from maskling.console import counted
from maskling.errors import ModelError, SettingsError
from maskling.infer.forward import ModelRunner, check_texts
from maskling.model.device import Precision, pick_device
from maskling.model.folder import check_vocabulary, read_folder
from maskling.model.inference_weights import optimize_for_inference
from maskling.model.locate import find_model
from maskling.model.masked_lm import MaskedLM
from maskling.model.memory import num_parameters
from maskling.model.onnx import find_graph
from maskling.model.sentence_transformers import max_sequence_length, normalizes, read_pooling
from maskling.model.tasks.config import Pooling
from maskling.model.tasks.folder import read_task_folder
from maskling.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from maskling.infer.attention_maps import AttentionMaps
    from maskling.infer.generate import Generated, Order
    from maskling.infer.predict import PredictInput
    from maskling.infer.results import FilledMasks, FilledTogether
    from maskling.infer.score import Method, ScoredText
    from maskling.infer.search import Hit
    from maskling.infer.task_logits import TaskScorer


@dataclass(frozen=True)
class Model(ModelRunner):
    """A model opened for inference.

    Methods that take texts return one result for a single text and a list for a list of texts.

    folder: the folder its weights were read from; task_scorer: the logits of its fine-tuned head, if any.
    """

    folder: Path = Path()
    task_scorer: TaskScorer | None = None

    def __repr__(self) -> str:
        config, tokens = self.module.config, self.tokenizer.vocab_size
        size = f"{num_parameters(config):,} parameters, {config.num_layers} layers of {config.hidden_size}"
        head = "" if self.task_scorer is None else f", for '{self.task_scorer.head_config.kind}'"
        return (
            f"<maskling.Model {str(self.folder)!r}: {config.kind}, {size}, {tokens:,} tokens in the vocabulary, "
            f"{self.max_length:,} per text, {self.compute.description}{head}>"
        )

    @property
    def contents(self) -> str:
        """What a folder without a masked-token head holds, for messages."""
        return super().contents if self.task_scorer is None else "a fine-tuned model, for 'maskling predict'"

    # A str is a Sequence[str] too; it is taken as one text.
    @overload
    def fill(  # type: ignore[overload-overlap]
        self,
        texts: str,
        top_k: int = 5,
        targets: Sequence[str] | None = None,
        joint: Literal[False] = False,
        whole_words: bool = False,
    ) -> FilledMasks: ...
    @overload
    def fill(  # type: ignore[overload-overlap]
        self,
        texts: str,
        top_k: int = 5,
        targets: Sequence[str] | None = None,
        *,
        joint: Literal[True],
        whole_words: bool = False,
    ) -> FilledTogether: ...
    @overload
    def fill(  # type: ignore[overload-overlap]
        self,
        texts: str,
        top_k: int = 5,
        targets: Sequence[str] | None = None,
        joint: bool = False,
        whole_words: bool = False,
    ) -> FilledMasks | FilledTogether: ...
    @overload
    def fill(
        self,
        texts: Sequence[str],
        top_k: int = 5,
        targets: Sequence[str] | None = None,
        joint: Literal[False] = False,
        whole_words: bool = False,
    ) -> list[FilledMasks]: ...
    @overload
    def fill(
        self,
        texts: Sequence[str],
        top_k: int = 5,
        targets: Sequence[str] | None = None,
        *,
        joint: Literal[True],
        whole_words: bool = False,
    ) -> list[FilledTogether]: ...
    @overload
    def fill(
        self,
        texts: Sequence[str],
        top_k: int = 5,
        targets: Sequence[str] | None = None,
        joint: bool = False,
        whole_words: bool = False,
    ) -> list[FilledMasks] | list[FilledTogether]: ...
    def fill(
        self,
        texts: str | Sequence[str],
        top_k: int = 5,
        targets: Sequence[str] | None = None,
        joint: bool = False,
        whole_words: bool = False,
    ) -> FilledMasks | FilledTogether | list[FilledMasks] | list[FilledTogether]:
        """Return the best candidates per mask, or with `joint` the best fillings of all masks; see `fill_texts`."""
        from maskling.infer.fill import fill_texts

        many = [texts] if isinstance(texts, str) else texts
        results = fill_texts(self, many, top_k=top_k, targets=targets, joint=joint, whole_words=whole_words)
        return results[0] if isinstance(texts, str) else results

    def embed(
        self,
        texts: str | Sequence[str],
        pooling: Pooling | None = None,
        normalize: bool | None = None,
        batch_tokens: int | None = None,
        layer: int | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[np.float32]:
        """Return one vector per text, (texts, hidden) float32; (hidden,) for a single text. See `embed_texts`.

        pooling, normalize: default: what the model's folder says, as Sentence-Transformers reads it, else the mean of
        the states, not scaled to length 1.
        Warns if texts were truncated.
        """
        from maskling.infer.embed import embed_texts

        many = [texts] if isinstance(texts, str) else check_texts(texts)
        pooling = read_pooling(self.folder) if pooling is None else pooling
        embedded = embed_texts(
            self,
            many,
            pooling=pooling,
            normalize=normalizes(self.folder) if normalize is None else normalize,
            layer=layer,
            batch_tokens=batch_tokens,
            on_progress=on_progress,
        )
        if embedded.cut:
            warnings.warn(
                f"{embedded.cut:,} of {counted(len(many), 'text')} longer than {self.max_length:,} tokens and cut",
                stacklevel=2,
            )
        return embedded.vectors[0] if isinstance(texts, str) else embedded.vectors

    @overload
    def search(self, texts: Sequence[str], query: str, top_k: int = 5) -> list[Hit]: ...  # type: ignore[overload-overlap]
    @overload
    def search(self, texts: Sequence[str], query: Sequence[str], top_k: int = 5) -> list[list[Hit]]: ...
    def search(self, texts: Sequence[str], query: str | Sequence[str], top_k: int = 5) -> list[Hit] | list[list[Hit]]:
        """Return the texts nearest to a query, or to each of several, pooled as the folder says. See also `Index`."""
        from maskling.infer.search import search_texts

        queries = [query] if isinstance(query, str) else check_texts(query)
        found = search_texts(self, texts, queries, pooling=read_pooling(self.folder), top_k=top_k)
        return found[0] if isinstance(query, str) else found

    @overload
    def score(self, texts: str, method: Method = "original") -> ScoredText: ...  # type: ignore[overload-overlap]
    @overload
    def score(self, texts: Sequence[str], method: Method = "original") -> list[ScoredText]: ...
    def score(self, texts: str | Sequence[str], method: Method = "original") -> ScoredText | list[ScoredText]:
        """Return the pseudo-log-likelihood of each text, with its tokens and words; see `score_texts`."""
        from maskling.infer.score import score_texts

        scored = score_texts(self, [texts] if isinstance(texts, str) else texts, method=method)
        return scored[0] if isinstance(texts, str) else scored

    def generate(
        self,
        text: str | None = None,
        length: int | None = None,
        count: int = 1,
        order: Order = "confidence",
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = 0.9,
        steps: int | None = None,
        no_repeat: int = 3,
        seed: int = 0,
    ) -> list[Generated]:
        """Generate `count` texts: for the masks of a text, after it, or from nothing.

        See `generate_texts` for text and length, `Sampling` and `Unmasking` for the other parameters.
        """
        from maskling.infer.generate import Sampling, Unmasking, generate_texts

        if text is not None:
            _check_text(text)
        unmasking = Unmasking(Sampling(temperature, top_k, top_p), order, steps, no_repeat, seed)
        return generate_texts(self, text, unmasking, length=length, count=count)

    def attention(self, text: str) -> AttentionMaps:
        """Return the tokens of a text and the attention of every head, (layers, heads, n, n) float32.

        See `attention_maps`. Warns if the text was truncated.
        """
        from maskling.infer.attention_maps import attention_maps

        _check_text(text)
        maps = attention_maps(self, text)
        if maps.cut:
            warnings.warn(self._cut_warning(), stacklevel=2)
        return maps

    def layers(self, text: str) -> NDArray[np.float32]:
        """Return the hidden states of one text, (layers + 1, n, hidden) float32, index 0 the embeddings.

        See `layer_states`. Warns if the text was truncated.
        """
        from maskling.infer.attention_maps import layer_states

        _check_text(text)
        states, cut = layer_states(self, text)
        if cut:
            warnings.warn(self._cut_warning(), stacklevel=2)
        return states

    def _cut_warning(self) -> str:
        return f"the text was longer than the {self.max_length:,} tokens this model reads, and was cut"

    @overload
    def predict(
        self,
        asked: list[Any],
        *,
        threshold: float | None = None,
        n_best: int = 3,
        allow_none: bool | None = None,
        batch_tokens: int | None = None,
    ) -> list[Any]: ...
    @overload
    def predict(
        self,
        asked: PredictInput,
        *,
        threshold: float | None = None,
        n_best: int = 3,
        allow_none: bool | None = None,
        batch_tokens: int | None = None,
    ) -> Any: ...
    def predict(
        self,
        asked: PredictInput | list[Any],
        *,
        threshold: float | None = None,
        n_best: int = 3,
        allow_none: bool | None = None,
        batch_tokens: int | None = None,
    ) -> Any:
        """Return the prediction of a fine-tuned model for one text, pair or question, or a list for a list.

        A tuple is one input: a pair of texts, the words of a sentence, a question and its context. See `predict_all`.
        The class of a prediction depends on the model's head, so it is typed as Any: Label, Labels, Number, Tagged or
        Answered. Warns if inputs were truncated; long texts, sentences and contexts are read in windows instead.
        Raises ModelError for a model without a fine-tuned head.
        """
        from maskling.infer.predict import predict_all

        many = asked if isinstance(asked, list) else [asked]
        predicted = predict_all(
            self,
            self.need_task_scorer("predict"),
            many,
            threshold=threshold,
            n_best=n_best,
            allow_none=allow_none,
            batch_tokens=batch_tokens,
        )
        if predicted.cut:
            warnings.warn(
                f"{predicted.cut:,} of {len(many):,} inputs had a part longer than the model takes, which was cut",
                stacklevel=2,
            )
        return list(predicted.predictions) if isinstance(asked, list) else predicted.predictions[0]

    def need_task_scorer(self, purpose: str) -> TaskScorer:
        """Return the logits of the fine-tuned head. Raises ModelError for a model without one."""
        if self.task_scorer is None:
            raise ModelError(
                f"{self.folder} has no head for a task, which {purpose} needs; make one with "
                f"'maskling finetune {self.folder} --task classify --train FILE --out FOLDER'"
            )
        return self.task_scorer


def _check_text(text: object) -> None:
    """Raise SettingsError for what is not one text."""
    if not isinstance(text, str):
        raise SettingsError(f"text is {text!r}; give one text")


def load(path: str | os.PathLike[str], device: str = "auto", dtype: Precision = "fp32", *, mmap: bool = True) -> Model:
    """Open the model in a run folder, an export, or a Hugging Face folder.

    device: auto, cpu, cuda or mps. dtype: fp32 gives the same results as other tools; bf16 is faster on recent
    processors; auto is bf16 where it is faster. mmap: memory-map the weights instead of copying them; the files must
    then not be overwritten in place while the model is used.
    Raises ModelError or CheckpointError for a path without a model.
    """
    folder = find_model(path)
    graph = find_graph(folder)
    if graph is not None:
        return _load_onnx(folder, graph, device, dtype)
    task = read_task_folder(folder, mmap=mmap)
    module: MaskedLM
    if task is None:
        config, module, missing, _ = read_folder(folder, mmap=mmap)
        headless = any(name.startswith(module.token_head_prefixes) for name in missing)
    else:
        config, module, headless = task.config, task.encoder, True
    tokenizer = Tokenizer.load(folder)
    check_vocabulary(config, tokenizer.vocab_size, folder)
    compute = pick_device(device, dtype)
    max_length = max_sequence_length(folder, config, tokenizer)
    optimize_for_inference(module if task is None else task, compute)
    scorer: TaskScorer | None = None
    if task is not None:
        from maskling.infer.task_logits import TorchTaskScorer

        scorer = TorchTaskScorer(task, compute, tokenizer.special.pad)
    return Model(module, tokenizer, compute, max_length, headless, folder, scorer)


def _load_onnx(folder: Path, graph: Path, device: str, dtype: Precision) -> Model:
    from maskling.infer.task_logits import open_onnx

    opened = open_onnx(folder, graph, device, dtype)
    module, compute = opened.module, opened.compute
    tokenizer = Tokenizer.load(folder)
    check_vocabulary(module.config, tokenizer.vocab_size, folder)
    max_length = max_sequence_length(folder, module.config, tokenizer)
    optimize_for_inference(module, compute)
    return Model(module, tokenizer, compute, max_length, module.headless, folder, opened.scorer)
