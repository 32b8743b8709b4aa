"""Models of the Hugging Face hub: out of its cache without a network, fetched from a server that answers as it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from napari_mil.describe import describe
from napari_mil.errors import ModelError
from napari_mil.given import resolve_model
from napari_mil.models import create_model, load_model, read_card, read_entry, save_model

pytest.importorskip("huggingface_hub")
COMMIT, OLDER = "a" * 40, "b" * 40
BAG = torch.randn(7, 6, generator=torch.Generator().manual_seed(0))


def model_bytes(folder: Path, title: str, seed: int) -> bytes:
    model = create_model("attention", in_features=6, seed=seed, hidden=4)
    model.card = replace(model.card, title=title)
    save_model(folder / "made.safetensors", model)
    return (folder / "made.safetensors").read_bytes()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of the hub's package, which is told to stay away from the network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def keep(cache: Path, repo: str, commit: str, files: dict[str, bytes], ref: str | None = "main") -> None:
    """Lay files into the cache as the hub's package does: blobs by hash, snapshots of links, names of commits."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    for name, content in files.items():
        blob = folder / "blobs" / f"{commit[:4]}{abs(hash((name, content)))}"
        link = folder / "snapshots" / commit / name
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link.symlink_to(os.path.relpath(blob, link.parent))
    if ref is not None:
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / ref).write_text(commit)


@pytest.fixture
def kept(cache: Path, tmp_path: Path) -> Path:
    """Return a cache that holds a model in two versions, one of five folds, and one of another project."""
    keep(cache, "lab/breast", COMMIT, {"model.safetensors": model_bytes(tmp_path, "newer", 1), "README.md": b"#"})
    keep(cache, "lab/breast", OLDER, {"model.safetensors": model_bytes(tmp_path, "older", 2)}, ref="v1")
    folds = {f"folds/fold_{k}.safetensors": model_bytes(tmp_path, f"fold {k}", k) for k in (1, 2)}
    keep(cache, "lab/folds", COMMIT, folds)
    keep(cache, "lab/nothing", COMMIT, {"README.md": b"#"})
    names = {"linear_layers.0.0": (5, 6), "attention.0": (4, 5), "attention.2": (1, 4), "classifier": (2, 5)}
    state = {f"{name}.weight": torch.ones(shape) for name, shape in names.items()}
    torch.save(state | {f"{name}.bias": torch.ones(shape[0]) for name, shape in names.items()}, tmp_path / "x.pt")
    keep(cache, "lab/xmil", COMMIT, {"best.pt": (tmp_path / "x.pt").read_bytes()})
    return cache


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("hf:lab/breast", "newer"),
        ("hf:lab/breast/model.safetensors", "newer"),
        ("hf:lab/breast@v1", "older"),
        ("hf:lab/breast@v1/model.safetensors", "older"),
        (f"hf:lab/breast@{OLDER}", "older"),
        ("hf:lab/folds/folds/fold_2.safetensors", "fold 2"),
        ("hf:lab/xmil", "best (xMIL AttentionMIL)"),
    ],
)
def test_a_model_is_taken_from_the_cache_without_a_network(kept: Path, name: str, title: str) -> None:
    assert read_card(name).title == title
    assert load_model(name).card.title == title
    assert resolve_model(name).card.title == title
    entry = read_entry(name)
    assert (entry.card.title if entry.card else entry.reason) == title
    assert entry.path.is_relative_to(kept)
    record, text = describe(Path(name))
    assert (record["path"], record["file"], record["title"]) == (name, str(entry.path), title)
    assert f"File: {entry.path}" in text


def test_it_answers_as_the_file_does(kept: Path, tmp_path: Path) -> None:
    (tmp_path / "same.safetensors").write_bytes(model_bytes(tmp_path, "newer", 1))
    expected = load_model(tmp_path / "same.safetensors")(BAG)
    assert torch.equal(load_model("hf:lab/breast")(BAG).logits, expected.logits)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:lab", "no name of a model on the hub. Write hf:owner/name"),
        ("hf:lab/breast/../../secret.pt", "no name of a model on the hub"),
        ("hf:lab/a--b", "no name of a model on the hub"),
        ("hf:lab/breast/README.md", "no model file. Name one that ends in .safetensors, .pt, .pth"),
        ("hf:lab/folds", "2 model files .*Name one: hf:lab/folds/folds/fold_1.safetensors"),
        ("hf:lab/nothing", "holds no model file"),
        ("hf:lab/breast@v9", "not in the hub's cache .*Connect to the internet once"),
        ("hf:lab/unknown", "not in the hub's cache .*copy the model file here"),
    ],
)
def test_what_cannot_be_had_is_said_with_the_remedy(kept: Path, name: str, message: str) -> None:
    for read in (read_card, load_model, resolve_model):
        with pytest.raises(ModelError, match=message):
            read(name)
    assert read_entry(name).card is None


def test_a_file_from_the_hub_is_opened_with_the_same_care(cache: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "executed"),))

    torch.save({"state_dict": Trap()}, tmp_path / "trap.pt")
    trap = (tmp_path / "trap.pt").read_bytes()
    keep(cache, "lab/trap", COMMIT, {"best.pt": trap, "model.safetensors": trap})
    with pytest.raises(ModelError, match="could run code"):
        load_model("hf:lab/trap/best.pt")
    with pytest.raises(ModelError, match="not a readable safetensors file"):
        load_model("hf:lab/trap")
    assert not (tmp_path / "executed").exists()


def test_without_the_hubs_package_it_says_what_to_install(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModelError, match=r"pip install 'napari-mil\[encoders\]'"):
        load_model("hf:lab/breast")


FILES = ["model.safetensors", "other.pt"]
REFUSED = {
    "gated": (403, "GatedRepo"),
    "none": (401, "RepoNotFound"),
    "ill": (500, ""),
    "v9": (404, "RevisionNotFound"),
}


def hub_answer(path: str, model: bytes) -> tuple[int, bytes, dict[str, str]]:
    """Return what the hub answers: status, body, headers."""
    for name, (code, word) in REFUSED.items():
        if name in path:
            return code, b"", {"X-Error-Code": word} if word else {}
    if path.startswith("/api/"):
        listed = [{"type": "file", "path": file, "oid": "0", "size": 1} for file in FILES]
        info = {"id": "lab/open", "sha": COMMIT, "siblings": [{"rfilename": file} for file in FILES]}
        return 200, json.dumps(listed if "/tree/" in path else info).encode(), {}
    if path.endswith("/model.safetensors"):
        return 200, model, {"ETag": '"e1"', "X-Repo-Commit": COMMIT}
    return 404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}


def go_online(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Let the hub's package ask a server, and not wait before it asks again."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", endpoint)
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda _: None))


@pytest.fixture
def server(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Answer as the hub does, on this machine; return the paths that were asked for."""
    asked: list[str] = []
    model = model_bytes(tmp_path, "fetched", 5)

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            asked.append(path)
            code, body, headers = hub_answer(path, model)
            self.send_response(code)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Keep silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        go_online(monkeypatch, f"http://127.0.0.1:{httpd.server_port}")
        yield asked
        httpd.shutdown()
        thread.join()


def test_a_model_is_fetched_once_and_then_taken_from_the_cache(server: list[str], cache: Path) -> None:
    assert read_card("hf:lab/open").title == "fetched"
    assert server
    server.clear()
    assert load_model("hf:lab/open").card.title == "fetched"
    assert load_model("hf:lab/open/model.safetensors").card.title == "fetched"
    assert not server, "what the cache holds is not asked for"
    assert read_entry("hf:lab/open").path.parent.name == COMMIT


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:lab/gated", "given out on request only. Ask for access at https://huggingface.co/lab/gated"),
        ("hf:lab/gated/model.safetensors", "given out on request only.*hf auth login"),
        ("hf:lab/none", "no repository lab/none .*or it is private. Check the name"),
        ("hf:lab/none/model.safetensors", "no repository lab/none .*or it is private"),
        ("hf:lab/open@v9", "lab/open has no revision 'v9'"),
        ("hf:lab/open/no.safetensors", "lab/open has no file no.safetensors"),
        ("hf:lab/ill", "could not be fetched"),
    ],
)
def test_what_the_hub_refuses_is_said_in_words(server: list[str], name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(name)
    assert server


def test_without_an_answer_what_the_cache_holds_is_taken(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_online(monkeypatch, "http://127.0.0.1:1")  # where nobody listens
    assert load_model("hf:lab/xmil").card.pooling == "attention"
    with pytest.raises(ModelError, match=r"could not be fetched\. Connect to the internet once"):
        load_model("hf:lab/unknown")


def test_the_command_line_takes_it(kept: Path, small_slide: Path, untrained_model: Path, tmp_path: Path) -> None:
    keep(kept, "lab/untrained", COMMIT, {"model.safetensors": untrained_model.read_bytes()})
    env = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(kept)}

    def command(*words: object) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "napari_mil.cli", *map(str, words), "--json"]
        return subprocess.run(line, capture_output=True, text=True, env=env, timeout=120)

    done = command("run", small_slide, "--model", "hf:lab/untrained", "--out", tmp_path / "out", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == "Untrained"
    refused = command("info", "hf:lab/folds")
    assert refused.returncode == 1
    assert "Name one: hf:lab/folds/folds/fold_1.safetensors" in json.loads(refused.stdout)["error"]
    assert refused.stderr.count("\n") == 1
