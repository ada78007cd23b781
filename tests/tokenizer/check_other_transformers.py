"""Check saved tokenizers against transformers 4.57, in an environment of its own.

Run with folders that each hold a saved tokenizer and a cases.json of {"text", "ids"}. Makes the environment
`.venv-transformers4` in the project's root if it is not there. Exits 77 when pip cannot make it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ENVIRONMENT = Path(__file__).parents[2] / ".venv-transformers4"
NEEDS = ["transformers>=4.57,<4.58", "tokenizers"]
CANNOT = 77


def inside() -> Path:
    """The environment's Python, made and filled if need be."""
    python = ENVIRONMENT / "bin" / "python"
    ready = ENVIRONMENT / "ready"
    if not ready.exists():
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        venv.create(ENVIRONMENT, with_pip=True)
        done = subprocess.run([python, "-m", "pip", "install", "-q", *NEEDS], capture_output=True, text=True)
        if done.returncode:
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            print(f"pip cannot install transformers 4.57 here: {reason}")
            sys.exit(CANNOT)
        ready.touch()
    return python


def check(folders: list[str]) -> None:
    """Run inside the environment: every text must give the ids that were written down."""
    import transformers

    assert transformers.__version__.startswith("4.57."), transformers.__version__
    for folder in folders:
        auto = transformers.AutoTokenizer.from_pretrained(folder)
        for case in json.loads((Path(folder) / "cases.json").read_text()):
            found = auto(case["text"])["input_ids"]
            assert found == case["ids"], f"{folder}: {case['text']!r} gave {found}, not {case['ids']}"
        names = json.loads((Path(folder) / "special_tokens_map.json").read_text())
        for role, name in names.items():
            assert getattr(auto, role) == name, f"{folder}: {role} is {getattr(auto, role)}, not {name}"
        config = json.loads((Path(folder) / "tokenizer_config.json").read_text())
        assert auto.model_max_length == config["model_max_length"]
        assert set(auto("a")) == set(config["model_input_names"]), f"{folder}: {set(auto('a'))}"
    print(f"transformers {transformers.__version__} agrees on {len(folders)} folders")


if __name__ == "__main__":
    if os.environ.get("MASKLING_INSIDE"):
        check(sys.argv[1:])
    else:
        command = [str(inside()), __file__, *sys.argv[1:]]
        quiet = {**os.environ, "MASKLING_INSIDE": "1", "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"}
        sys.exit(subprocess.run(command, env=quiet).returncode)
