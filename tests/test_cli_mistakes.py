"""A mistake that names and files tell of is said at once: before torch is loaded, which takes seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from napari_mil.models import create_model, save_model

ROOT = Path(__file__).resolve().parents[1]
DEMO = str(ROOT / "sample_data" / "demo-mean.safetensors")
COHORT = ["cohort.csv", "--features", "."]
MISTAKES = [
    (["run", "no.svs", "--model", DEMO, "--out", "o"], 1, "no.svs does not exist"),
    (["run", "damaged.svs", "--model", DEMO, "--out", "o"], 1, "damaged.svs"),
    (["run", "SLIDE", "--model", "nosuch", "--out", "o"], 1, "No model file nosuch"),
    (["run", "SLIDE", "--model", "no.pt", "--out", "o"], 1, "No model file no.pt"),
    (["run", "SLIDE", "--model", "cohort.csv", "--out", "o"], 1, "not a readable safetensors file"),
    (["run", "SLIDE", "--model", "hf:x", "--out", "o"], 1, "no name of a model on the hub"),
    (["run", "SLIDE", "--model", DEMO, "--model", DEMO, "--out", "o"], 1, "is given twice"),
    (["run", "SLIDE", "--model", "bare.safetensors", "--out", "o"], 1, "does not say which encoder it takes"),
    (["run", "SLIDE", "--model", DEMO, "--encoder", "timm:resnet18", "--out", "o"], 1, "not of timm:resnet18"),
    (["run", "SLIDE", "--model", DEMO, "--encoder", "uni2", "--out", "o"], 1, "not of uni2"),
    (["run", "SLIDE", "--model", DEMO, "--encoder", "no/such.pt", "--out", "o"], 1, "There is no encoder 'no/such.pt'"),
    (["run", "SLIDE", "--model", DEMO, "--out", "o", "--features", "no.h5"], 1, "There is no no.h5"),
    (["run", "SLIDE", "--model", DEMO, "--out", "o", "--tissue", "no.geojson"], 1, "no annotation file no.geojson"),
    (["run", "SLIDE", "--model", DEMO, "--out", "o", "--within", "no.xml"], 1, "no annotation file no.xml"),
    (["run", "SLIDE", "--model", DEMO, "--out", "o", "--mc-dropout", "5"], 1, "has no dropout"),
    (["run", "SLIDE", "--model", DEMO, "--out", "o", "--device", "tpu"], 2, "tpu"),
    (["train", "no.csv", "--features", ".", "--out", "o"], 1, "no cohort table no.csv"),
    (["train", *COHORT, "--out", "o"], 1, "12 of 12 slides have no features"),
    (["train", *COHORT, "--out", "o", "--pooling", "nosuch"], 2, "nosuch"),
    (["train", *COHORT, "--out", "o", "--recipe", "nosuch"], 2, "nosuch"),
    (["train", *COHORT, "--out", "o", "--warmup-epochs", "200"], 2, "warmup_epochs must be fewer"),
    (
        ["fine-tune", "no.csv", "--slides", ".", "--encoder", "colour-texture", "--out", "o"],
        1,
        "no cohort table no.csv",
    ),
    (
        ["fine-tune", "cohort.csv", "--slides", "no", "--encoder", "colour-texture", "--out", "o"],
        1,
        "no folder of slid",
    ),
    (["fine-tune", "cohort.csv", "--slides", ".", "--encoder", "colour-texture", "--out", "o"], 1, "10 of 12 slides"),
    (["fine-tune", "two.csv", "--slides", ".", "--encoder", "x.pt", "--out", "o"], 1, "There is no encoder 'x.pt'"),
    (["fine-tune", "two.csv", "--slides", ".", "--encoder", "x.pt", "--out", "full"], 1, "holds a model already"),
    (
        ["fine-tune", "two.csv", "--slides", ".", "--encoder", "x.pt", "--out", "o", "--name", "a b"],
        2,
        "letters, digits",
    ),
    (
        ["fine-tune", "two.csv", "--slides", ".", "--encoder", "x.pt", "--out", "o", "--name", "resume"],
        1,
        "cannot be called resume",
    ),
    (["evaluate"], 2, "name folders"),
    (["evaluate", "nodir"], 1, "no finished run"),
    (["evaluate", DEMO], 2, "needs --cohort"),
    (["evaluate", "no.safetensors", "--cohort", *COHORT], 1, "no model file no.safetensors"),
    (["evaluate", DEMO, "--cohort", "no.csv", "--features", "."], 1, "no cohort table no.csv"),
    (["evaluate", DEMO, "--cohort", *COHORT], 1, "12 of 12 slides have no features"),
    (["evaluate", "--map", "no.h5", "--annotation", "no.geojson"], 1, "no attention map no.h5"),
]
EACH = """
import contextlib, io, json, sys
from napari_mil.cli import main
said = []
for args in json.loads(sys.argv[1]):
    sys.argv = ["napari-mil", *args]
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            said.append([end.code, " ".join(err.getvalue().split()), "torch" in sys.modules])
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, str, bool]]:
    """Return exit status and words of each mistake, and whether torch was loaded by then: all in one process."""
    folder = tmp_path_factory.mktemp("mistakes")
    rows = [f"s{k},{'ab'[k % 2]},p{k}" for k in range(12)]
    (folder / "cohort.csv").write_text("\n".join(["slide,label,patient", *rows]) + "\n")
    (folder / "two.csv").write_text("slide,label,patient\ns0.tif,a,p0\ns1.tif,b,p1\n")
    for name in ("s0.tif", "s1.tif", "damaged.svs"):
        (folder / name).write_bytes(b"no slide")
    (folder / "full").mkdir()
    (folder / "full" / "model.safetensors").touch()
    save_model(folder / "bare.safetensors", create_model("mean", in_features=4, seed=0, hidden=2))
    slide = str(ROOT / "sample_data" / "sample-lesion.tif")
    asked = [[slide if arg == "SLIDE" else arg for arg in args] for args, *_ in MISTAKES]
    before = sorted(path.name for path in folder.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", EACH, json.dumps(asked)],
        cwd=folder, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert sorted(path.name for path in folder.rglob("*")) == before, "a mistake leaves nothing behind"
    found: list[tuple[int, str, bool]] = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == len(MISTAKES)
    return found


@pytest.mark.parametrize("number", range(len(MISTAKES)), ids=[" ".join(args[:1] + args[-2:]) for args, *_ in MISTAKES])
def test_a_mistake_is_said_before_torch_is_loaded(said: list[tuple[int, str, bool]], number: int) -> None:
    _, status, words = MISTAKES[number]
    code, text, torch_loaded = said[number]
    assert code == status, text
    assert words in text
    assert not torch_loaded
