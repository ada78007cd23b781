"""Open a model to use it: a run, an export, or any Hugging Face BERT, RoBERTa or ModernBERT folder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from maskling.errors import ModelError
from maskling.infer.attention_maps import AttentionMaps, attention_maps, layer_states
from maskling.infer.embed import embed_texts
from maskling.infer.fill import fill_texts
from maskling.infer.forward import ModelRunner
from maskling.infer.generate import Generated, Order, Sampling, Unmasking, generate_texts
from maskling.infer.predict import Asked, predict_all
from maskling.infer.results import FilledMasks, FilledTogether, Prediction, ScoredText
from maskling.infer.score import Method, score_texts
from maskling.infer.search import Hit, search_texts
from maskling.infer.task_logits import TaskScorer, TorchTaskScorer, open_onnx
from maskling.model.device import Precision, pick_device
from maskling.model.folder import check_vocabulary, read_folder
from maskling.model.inference_weights import optimize_for_inference
from maskling.model.locate import find_model
from maskling.model.masked_lm import MaskedLM
from maskling.model.onnx import whole_graph
from maskling.model.sentence_transformers import max_sequence_length, read_pooling
from maskling.model.tasks.config import Pooling
from maskling.model.tasks.folder import read_task_folder
from maskling.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Model(ModelRunner):
    """A model put to use.

    folder: where its weights were read from; judge: what its head for a task says, None where it has no such head.
    """

    folder: Path = Path()
    judge: TaskScorer | None = None

    @overload
    def fill(  # type: ignore[overload-overlap]  # a str is a Sequence[str] too, and is taken as one text
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
        """What would stand in place of each mask; one answer for one text, a list for a list. See `fill_texts`."""
        many = [texts] if isinstance(texts, str) else texts
        answers = fill_texts(self, many, top_k=top_k, targets=targets, joint=joint, whole_words=whole_words)
        return answers[0] if isinstance(texts, str) else answers

    def embed(
        self,
        texts: str | Sequence[str],
        pooling: Pooling | None = None,
        normalize: bool = False,
        batch_tokens: int | None = None,
        layer: int | None = None,
        told: Callable[[int], object] | None = None,
    ) -> NDArray[np.float32]:
        """One vector a text, (texts, hidden) float32; (hidden,) for one text. See `embed_texts`.

        pooling: None is what the folder says, as Sentence-Transformers reads it, and the mean where it says nothing.
        Warns when texts were too long and were cut.
        """
        many = [texts] if isinstance(texts, str) else texts
        pooling = read_pooling(self.folder) if pooling is None else pooling
        done = embed_texts(
            self, many, pooling=pooling, normalize=normalize, layer=layer, batch_tokens=batch_tokens, told=told
        )
        if done.cut:
            warnings.warn(
                f"{done.cut:,} of {len(many):,} texts were longer than {self.max_length:,} tokens and were cut",
                stacklevel=2,
            )
        return done.vectors[0] if isinstance(texts, str) else done.vectors

    @overload
    def search(self, texts: Sequence[str], query: str, top_k: int = 5) -> list[Hit]: ...  # type: ignore[overload-overlap]
    @overload
    def search(self, texts: Sequence[str], query: Sequence[str], top_k: int = 5) -> list[list[Hit]]: ...
    def search(self, texts: Sequence[str], query: str | Sequence[str], top_k: int = 5) -> list[Hit] | list[list[Hit]]:
        """The texts nearest in meaning to a query, or to each of several, pooled as the folder says. See `Index`."""
        queries = [query] if isinstance(query, str) else query
        found = search_texts(self, texts, queries, pooling=read_pooling(self.folder), top_k=top_k)
        return found[0] if isinstance(query, str) else found

    @overload
    def score(self, texts: str, method: Method = "original") -> ScoredText: ...  # type: ignore[overload-overlap]
    @overload
    def score(self, texts: Sequence[str], method: Method = "original") -> list[ScoredText]: ...
    def score(self, texts: str | Sequence[str], method: Method = "original") -> ScoredText | list[ScoredText]:
        """How likely a text is, by tokens and words: its pseudo-log-likelihood. See `Scoring` for the methods."""
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
        """Text for the masks of a text, behind it, or from nothing; `count` of them.

        See `generate_texts` for text and length, `Sampling` and `Unmasking` for the rest.
        """
        unmasking = Unmasking(Sampling(temperature, top_k, top_p), order, steps, no_repeat, seed)
        return generate_texts(self, text, unmasking, length=length, count=count)

    def attention(self, text: str) -> AttentionMaps:
        """The attention of every head on one text: its tokens and (layers, heads, n, n) float32. See `attention_maps`.

        Warns when the text was too long and was cut.
        """
        found = attention_maps(self, text)
        if found.cut:
            warnings.warn(self._cut_to_size(), stacklevel=2)
        return found

    def layers(self, text: str) -> NDArray[np.float32]:
        """The states of one text, (layers + 1, n, hidden) float32, 0 the embeddings. See `layer_states`.

        Warns when the text was too long and was cut.
        """
        states, cut = layer_states(self, text)
        if cut:
            warnings.warn(self._cut_to_size(), stacklevel=2)
        return states

    def _cut_to_size(self) -> str:
        return f"the text was longer than the {self.max_length:,} tokens this model sees, and was cut"

    def predict(
        self,
        asked: Asked | list[Asked],
        *,
        threshold: float | None = None,
        n_best: int = 3,
        allow_none: bool | None = None,
        batch_tokens: int | None = None,
    ) -> Prediction | list[Prediction]:
        """What a fine-tuned model says; one prediction for one text, pair or question, a list for a list.

        A tuple is one thing: a pair of texts, the words of a sentence, a question and its context. See `predict_all`.
        Warns when something was too long and was cut; long texts, sentences and contexts are read in windows instead.
        Raises ModelError for a model without a head for a task.
        """
        many = asked if isinstance(asked, list) else [asked]
        done = predict_all(
            self,
            self.need_task_scorer("predict"),
            many,
            threshold=threshold,
            n_best=n_best,
            allow_none=allow_none,
            batch_tokens=batch_tokens,
        )
        if done.cut:
            warnings.warn(
                f"{done.cut:,} of {len(many):,} inputs had a part longer than the model takes, which was cut",
                stacklevel=2,
            )
        return list(done.predictions) if isinstance(asked, list) else done.predictions[0]

    def need_task_scorer(self, purpose: str) -> TaskScorer:
        """What the head for a task says. Raises ModelError for a model without one."""
        if self.judge is None:
            raise ModelError(
                f"{self.folder} has no head for a task, which {purpose} needs; make one with "
                f"'maskling finetune {self.folder} --task classify --train FILE --out FOLDER'"
            )
        return self.judge


def load(path: str | os.PathLike[str], device: str = "auto", dtype: Precision = "fp32") -> Model:
    """Open the model in a run folder, an export, or a Hugging Face folder.

    device: auto, cpu, cuda, mps. dtype: fp32 gives the same numbers as other tools; bf16 is faster on newer processors;
    auto is bf16 where that is the faster.
    Raises ModelError or CheckpointError for a path that holds no model.
    """
    folder = find_model(path)
    whole = whole_graph(folder)
    onnx = None if whole is None else open_onnx(folder, whole, device, dtype)
    task = None if onnx else read_task_folder(folder)
    module: MaskedLM
    if onnx is not None:
        config, module, headless = onnx.module.config, onnx.module, onnx.module.headless
    elif task is None:
        config, module, missing, _ = read_folder(folder, mapped=True)
        headless = any(name.startswith(module.token_head_prefixes) for name in missing)
    else:
        config, module, headless = task.config, task.encoder, True
    tokenizer = Tokenizer.load(folder)
    check_vocabulary(config, tokenizer.vocab_size, folder)
    compute = onnx.compute if onnx else pick_device(device, dtype)
    longest = max_sequence_length(folder, config, tokenizer)
    optimize_for_inference(module if task is None else task, compute)
    judge: TaskScorer | None = onnx.judge if onnx else None
    if task is not None:
        judge = TorchTaskScorer(task, compute, tokenizer.special.pad)
    return Model(module, tokenizer, compute, longest, headless, folder, judge)
