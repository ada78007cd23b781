"""Where a model may be written: nothing else may be lost."""

from __future__ import annotations

from pathlib import Path

from maskling.errors import ModelError
from maskling.files import ASIDE

# What a model folder may hold besides tokenizer files, for a new one to take its place.
_OURS = {
    *("config.json", "README.md", "modules.json", "1_Pooling", "2_Normalize", "LICENSE", ".gitattributes"),
    *("generation_config.json", "onnx", "onnx.old"),
}
_SUFFIXES = (".safetensors", ".bin", ".index.json")


def refuse_place(source: Path, out: Path) -> None:
    """Raises ModelError unless `out` is free, or a model folder without graphs and not where the model comes from."""
    refuse_other_things(source, out)
    graph = next(iter(sorted((out / "onnx").rglob("*.onnx*"))), None)
    if graph is not None:
        raise ModelError(
            f"{out} holds {graph.relative_to(out).as_posix()}, which would be lost; give another folder with --out "
            f"(for both in one, write the weights first: '--format onnx' adds a graph to them)"
        )


def refuse_other_things(source: Path, out: Path) -> None:
    """Raises ModelError unless `out` is free, or a model folder and not where the model comes from."""
    if out.resolve() in (source.resolve(), *source.resolve().parents):
        raise ModelError(f"{out} is where the model comes from; give another folder with --out")
    if not out.is_dir():
        if out.exists():
            raise ModelError(f"{out} is a file; give a folder with --out")
        return
    names = sorted((path.name for path in out.iterdir()), key=lambda name: (name.startswith("."), name))
    others = [name for name in names if not (name in _OURS or name.endswith(_SUFFIXES) or _of_tokenizer(name))]
    others = [name for name in others if not (name.startswith("onnx.") and name.endswith(ASIDE))]
    if others or (names and "config.json" not in names):
        raise ModelError(f"{out} holds other things than a model ({(others or names)[0]}); give a new or empty folder")


def _of_tokenizer(name: str) -> bool:
    return name.startswith(("tokenizer", "vocab", "merges", "special_tokens", "added_tokens", "sentence_bert_config"))
