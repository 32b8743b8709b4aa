"""Finding, loading and describing encoders."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mil.errors import EncoderError
from napari_mil.features import list_encoders, load_encoder, models_folder
from napari_mil.triton_guard import without_triton


class Corner(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, 0, 0] * 2


class Fixed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3 * 20 * 20, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1))


class Image(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


class NotFinite(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(x.flatten(1) * 0 - 1)


def save(module: torch.nn.Module, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(path)
    return path


def test_patch_size_is_asked_once_and_remembered(tmp_path: Path) -> None:
    path = save(Corner(), tmp_path / "corner.torchscript.pt")
    with pytest.raises(EncoderError, match=r"--tile-px and --encoder-mpp"):
        load_encoder(path)
    first = load_encoder(path, tile_px=24, mpp=2.5)
    again = load_encoder(path)
    assert first.info == again.info
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    info = again.info
    assert (info.name, info.weights_hash, info.dim, info.tile_px, info.mpp) == ("corner", digest, 3, 24, 2.5)
    note = json.loads((tmp_path / "corner.torchscript.pt.json").read_text())
    assert (note["tile_px"], note["mpp"], note["dim"]) == (24, 2.5, 3)


def test_other_values_win_but_are_not_remembered(tmp_path: Path) -> None:
    path = save(Corner(), tmp_path / "corner.pt")
    load_encoder(path, tile_px=24, mpp=2.5)
    assert load_encoder(path, tile_px=32).info.tile_px == 32
    assert load_encoder(path).info.tile_px == 24


def test_normalisation_of_the_note_is_applied(tmp_path: Path) -> None:
    path = save(Corner(), tmp_path / "corner.pt")
    note = {"name": "c", "title": "Corner", "licence": "MIT", "tile_px": 8, "mpp": 1, "version": "2"}
    note |= {"mean": [0.5, 0.25, 0.0], "std": [0.5, 0.25, 2.0]}
    (tmp_path / "corner.pt.json").write_text(json.dumps(note))
    encoder = load_encoder(path)
    assert (encoder.title, encoder.licence, encoder.info.name, encoder.info.version) == ("Corner", "MIT", "c", "2")
    np.testing.assert_allclose(encoder(torch.ones(1, 3, 8, 8)).numpy(), [[2.0, 6.0, 1.0]])


def test_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_models_folder: Path
) -> None:
    path = save(Corner(), tmp_path / "fixed" / "corner.pt")
    write_text = Path.write_text

    def refuse(self: Path, *args: object, **kwargs: object) -> int:
        if self.parent == path.parent:
            raise PermissionError(13, "Permission denied", str(self))
        return write_text(self, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Path, "write_text", refuse)
    load_encoder(path, tile_px=24, mpp=2.5)
    assert not path.with_name("corner.pt.json").exists()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert json.loads((own_models_folder / "encoders.json").read_text())[digest]["tile_px"] == 24
    assert load_encoder(path).info.mpp == 2.5
    moved = shutil.copy(path, tmp_path / "moved.pt")
    assert load_encoder(moved).info.tile_px == 24, "known by its content, not its place"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Fixed(), "does not take patches of 24 x 24 px"),
        (Image(), r"tensor of shape \(2, 3, 24, 24\)"),
        (NotFinite(), "not finite"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, module: torch.nn.Module, message: str) -> None:
    path = save(module, tmp_path / "e.pt")
    with pytest.raises(EncoderError, match=message):
        load_encoder(path, tile_px=24, mpp=1.0)
    assert not (tmp_path / "e.pt.json").exists(), "nothing wrong is remembered"


def test_files_that_are_no_encoders(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    torch.save(Fixed().state_dict(), weights)
    with pytest.raises(EncoderError, match="weights alone"):
        load_encoder(weights, tile_px=20, mpp=1.0)
    text = tmp_path / "text.pt"
    text.write_text("hello")
    with pytest.raises(EncoderError, match="not a TorchScript encoder"):
        load_encoder(text, tile_px=20, mpp=1.0)
    whole = save(Fixed(), tmp_path / "whole.pt").read_bytes()
    text.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(EncoderError, match="not a TorchScript encoder"):
        load_encoder(text, tile_px=20, mpp=1.0)
    with pytest.raises(EncoderError, match="There is no encoder 'nothing'"):
        load_encoder("nothing")
    with pytest.raises(ValueError, match="tile_px"):
        load_encoder("colour-texture", tile_px=0)
    with pytest.raises(ValueError, match="mpp"):
        load_encoder("colour-texture", mpp=-1.0)


@pytest.mark.parametrize("note", ["{", "[]", '{"tile_px": 0, "mpp": 1}', '{"tile_px": 24}'])
def test_broken_note(tmp_path: Path, note: str) -> None:
    path = save(Corner(), tmp_path / "corner.pt")
    path.with_name("corner.pt.json").write_text(note)
    with pytest.raises(EncoderError, match=r"corner\.pt\.json"):
        load_encoder(path)
    (entry,) = list_encoders(tmp_path)[1:]
    assert not entry.usable
    assert "corner.pt.json" in entry.reason


def test_models_folder_and_its_list(own_models_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models_folder() == own_models_folder
    assert [e.name for e in list_encoders()] == ["colour-texture"]
    save(Corner(), own_models_folder / "b.torchscript.pt")
    load_encoder("b", tile_px=24, mpp=2.0)
    save(Corner(), own_models_folder / "a.pt")
    torch.save({}, own_models_folder / "mil-weights.pt")
    builtin, a, b = list_encoders()
    assert builtin.usable
    assert builtin.info == load_encoder("colour-texture").info
    assert not a.usable
    assert "Choose a model that was trained with it" in a.reason
    assert (b.usable, b.reason, b.title, b.info) == (True, "", "b", load_encoder("b").info)
    assert load_encoder(b.name).info.name == "b"
    monkeypatch.delenv("NAPARI_MIL_MODELS")
    assert models_folder().parts[-1] == "models"


def test_real_torchscript_encoder(shared_data: Path, tmp_path: Path) -> None:
    """The breast network separates tumour from other patches by its own features' first direction."""
    path = Path(shutil.copy(shared_data / "weights" / "idc_cnn.torchscript.pt", tmp_path))
    encoder = load_encoder(path, tile_px=50, mpp=4.0)
    assert encoder.info.name == "idc_cnn"
    assert encoder.info.dim == 256
    with np.load(shared_data / "idc" / "idc_patches.npz") as data:
        images, label = data["images"][::40], data["label"][::40]
    with torch.inference_mode():
        values = encoder(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).numpy()
    half = len(values) // 2
    direction = values[:half][label[:half] == 1].mean(0) - values[:half][label[:half] == 0].mean(0)
    from sklearn.metrics import roc_auc_score

    assert roc_auc_score(label[half:], values[half:] @ direction) > 0.85


def test_timm_from_the_models_folder(own_models_folder: Path) -> None:
    with without_triton():
        timm = pytest.importorskip("timm", reason="the extra 'encoders' is not installed")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = timm.create_model("resnet18", pretrained=False).eval()
    (own_models_folder / "timm").mkdir(parents=True)
    save_file(model.state_dict(), own_models_folder / "timm" / "resnet18.safetensors")
    encoder = load_encoder("timm:resnet18")
    info = encoder.info
    assert (info.name, info.dim, info.tile_px, info.mpp) == ("timm:resnet18", 512, 224, 0.5)
    assert len(info.weights_hash) == 16
    assert load_encoder("timm:resnet18", tile_px=96, mpp=1.0).info.weights_hash == info.weights_hash
    batch = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        pooled = model.forward_features((batch - mean[:, None, None]) / std[:, None, None]).mean((2, 3))
        torch.testing.assert_close(encoder(batch), pooled, atol=1e-5, rtol=1e-4)


def test_timm_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with without_triton():
        timm = pytest.importorskip("timm", reason="the extra 'encoders' is not installed")
    with pytest.raises(EncoderError, match="timm knows no model 'resnet1'"):
        load_encoder("timm:resnet1")

    def offline(*args: object, **kwargs: object) -> None:
        from huggingface_hub.errors import LocalEntryNotFoundError

        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(EncoderError, match=r"Connect to the internet once, or put them at .*resnet18\.safetensors"):
        load_encoder("timm:resnet18")


def test_timm_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "timm", None)
    with pytest.raises(EncoderError, match=r"napari-mil\[encoders\]"):
        load_encoder("timm:resnet18")


def test_names_and_lists_need_no_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, napari_mil.features as f; f.list_encoders(); f.models_folder(); f.EncoderInfo; f.FEATURE_NAMES\n"
        "print([m for m in ('torch', 'h5py', 'openslide', 'dask', 'napari') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
