"""The registry of encoders: what is known by name, what lies in files, and what is said where something is missing."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_mil.encoder_list import describe_encoders
from napari_mil.errors import EncoderError
from napari_mil.features import fitness, known_encoders, list_encoders, load_encoder
from napari_mil.features._known import PATHOLOGY, hub_cache, known_encoder
from napari_mil.hub import hub_as_reachable
from napari_mil.triton_guard import without_triton

MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


class Means(torch.nn.Module):
    """Mean colour of a patch's halves, times a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[2] // 2
        return torch.cat([x[:, :, :half].mean((2, 3)), x[:, :, half:].mean((2, 3))], 1) * self.gain


@pytest.fixture
def timm() -> object:
    with without_triton():
        return pytest.importorskip("timm", reason="the extra 'encoders' is not installed")


@pytest.fixture
def lazyslide() -> object:
    with without_triton(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("lazyslide_models", reason="the extra 'encoders' is not installed")


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_models_folder: Path) -> Path:
    """Keep the hub's cache of this machine out, and the network away."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))

    def unknown(*_: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr("napari_mil.hub.socket.getaddrinfo", unknown)
    return own_models_folder


@pytest.mark.parametrize("known", PATHOLOGY, ids=lambda known: known.name)
def test_what_is_known_agrees_with_the_package_that_loads_it(lazyslide, known) -> None:
    registered = lazyslide.MODEL_REGISTRY[known.name]
    assert registered.encode_dim == known.dim
    assert bool(registered.is_gated) == known.gated
    assert registered.license == known.licence
    if registered.hf_url:
        assert (
            registered.hf_url.removeprefix("https://huggingface.co/").split("-")[0].lower()
            == known.hub.split("-")[0].lower()
        )
    size = str(registered.param_size)
    if size != "None":
        unit = {"M": 1.0, "B": 1000.0}[size[-1]]
        assert float(size[:-1]) * unit == pytest.approx(known.parameters, rel=0.03)
    assert hasattr(registered, "encode_image")


def test_every_image_encoder_of_the_package_can_be_asked_for(lazyslide, no_weights) -> None:
    """Also those whose patches are not known here: they must be given."""
    with pytest.raises(EncoderError, match=r"not known which patches mstar takes.*--tile-px and --encoder-mpp"):
        load_encoder("mstar")
    with pytest.raises(EncoderError, match="There is no encoder 'no-such-encoder'"):
        load_encoder("no-such-encoder", tile_px=224, mpp=0.5)
    with pytest.raises(EncoderError, match="There is no encoder 'grandqc-tissue'"):
        load_encoder("grandqc-tissue", tile_px=224, mpp=0.5)


def test_a_vision_transformer_of_the_package(lazyslide, monkeypatch) -> None:
    """The package's own class, with random weights: resized, normalised and encoded as it says."""
    from lazyslide_models.base import ModelTask, TimmViTModel

    class Tiny(TimmViTModel):
        task, license, hf_url, github_url = ModelTask.vision, "MIT", "https://hf.co/none/tiny", None

        def __init__(self, model_path: str | None = None, token: str | None = None) -> None:
            torch.manual_seed(1)
            super().__init__("vit_tiny_patch16_224", pretrained=False, img_size=32, dynamic_img_size=False)

    monkeypatch.setitem(lazyslide.MODEL_REGISTRY._data, "tiny", Tiny)
    encoder = load_encoder("tiny", tile_px=48, mpp=0.5)
    info = encoder.info
    assert (info.name, info.dim, info.tile_px, info.mpp, encoder.licence) == ("tiny", 192, 48, 0.5, "MIT")
    assert encoder.parameter_count == sum(p.numel() for p in Tiny().model.parameters())
    batch = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    reference = Tiny()
    transform = reference.get_transform()
    with torch.inference_mode():
        expected = torch.cat([reference.encode_image(transform(one)[None]) for one in batch])
        torch.testing.assert_close(encoder(batch), expected, atol=1e-5, rtol=1e-4)
    assert load_encoder("tiny", tile_px=48, mpp=0.5).info.weights_hash == info.weights_hash


def test_a_model_with_a_processor_of_its_own_gets_whole_colours(lazyslide, monkeypatch) -> None:
    """As Phikon does: 0 to 255, which its processor scales itself."""
    from lazyslide_models.base import ImageModel, ModelTask

    class Own(ImageModel):
        task, license, hf_url, github_url = ModelTask.vision, ["MIT", "CC"], None, "https://github.com/none"

        def __init__(self, model_path: str | None = None, token: str | None = None) -> None:
            self.model = Means()

        def get_transform(self) -> None:
            return None

        def encode_image(self, image: torch.Tensor) -> np.ndarray:
            assert image.dtype == torch.uint8
            return self.model(image.float()).detach().numpy()

    monkeypatch.setitem(lazyslide.MODEL_REGISTRY._data, "own", Own)
    encoder = load_encoder("own", tile_px=8, mpp=1.0)
    levels = torch.arange(3).float()[None, :, None, None].expand(2, 3, 8, 8) * 100
    np.testing.assert_array_equal(encoder(levels / 255).numpy()[0], [0, 200, 400] * 2)
    assert encoder.licence == "MIT, CC"


def test_without_network_it_says_so_at_once(lazyslide, no_weights) -> None:
    from huggingface_hub import constants

    with pytest.raises(EncoderError, match=r"weights of UNI could not be fetched\. Connect to the internet once"):
        load_encoder("uni")
    assert constants.HF_HUB_OFFLINE is False
    with hub_as_reachable():
        assert constants.HF_HUB_OFFLINE is True


def test_gated_weights_say_how_to_get_them(lazyslide, no_weights, monkeypatch) -> None:
    import requests
    from huggingface_hub.errors import GatedRepoError

    def refuse(*_: object, **__: object) -> None:
        raise GatedRepoError("401 Client Error", response=requests.Response())

    monkeypatch.setattr(lazyslide.MODEL_REGISTRY["uni2"], "__init__", refuse)
    with pytest.raises(EncoderError, match=r"UNI2-h are given out on request only.*hf auth login"):
        load_encoder("uni2")


def test_without_the_package_the_remedy_is_said(monkeypatch, no_weights) -> None:
    monkeypatch.setitem(sys.modules, "lazyslide_models", None)
    with pytest.raises(EncoderError, match=r"pip install 'napari-mil\[encoders\]'"):
        load_encoder("uni2")


def test_clam_resnet_is_the_mean_of_the_third_block(timm, own_models_folder: Path) -> None:
    from safetensors.torch import save_file

    torch.manual_seed(0)
    whole = timm.create_model("resnet50.tv_in1k", pretrained=False).eval()
    (own_models_folder / "timm").mkdir(parents=True)
    save_file(whole.state_dict(), own_models_folder / "timm" / "resnet50.tv_in1k.safetensors")
    entry = next(one for one in list_encoders() if one.name == "resnet50_trunc")
    assert (entry.usable, entry.info.dim, entry.info.tile_px, entry.info.mpp) == (True, 1024, 256, 0.5)
    encoder = load_encoder("resnet50_trunc")
    assert replace(encoder.info, weights_hash="") == entry.info
    batch = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        x = whole.maxpool(whole.act1(whole.bn1(whole.conv1((batch - MEAN) / STD))))
        expected = whole.layer3(whole.layer2(whole.layer1(x))).mean((2, 3))
        torch.testing.assert_close(encoder(batch), expected, atol=1e-5, rtol=1e-4)


def export(path: Path, edge: int, *, any_batch: bool = True) -> None:
    """Save `Means` as an exported program, for batches of two or of any size."""
    # exporting loads Triton, which ends a process that Mesa has drawn in, as other tests' windows do
    with without_triton(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dynamic = ({0: torch.export.Dim("batch", min=1)},) if any_batch else None
        torch.export.save(torch.export.export(Means(), (torch.rand(2, 3, edge, edge),), dynamic_shapes=dynamic), path)


def test_an_exported_program(own_models_folder: Path) -> None:
    own_models_folder.mkdir(parents=True, exist_ok=True)
    path = own_models_folder / "means.pt2"
    export(path, 16)
    with pytest.raises(EncoderError, match=r"means\.pt2 does not say which patches"):
        load_encoder("means")
    encoder = load_encoder("means", tile_px=16, mpp=2.0)
    batch = torch.rand(5, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(encoder(batch), Means()(batch))
    again = next(one for one in list_encoders() if one.title == "means")
    assert again.info == encoder.info
    with pytest.raises(EncoderError, match=r"does not take patches of 20 x 20 px"):
        load_encoder("means", tile_px=20)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(EncoderError, match="not a TorchScript encoder, nor an exported program"):
        load_encoder(path)


def test_a_folder_with_config_and_safetensors(timm, own_models_folder: Path) -> None:
    from timm.models import save_for_hf

    torch.manual_seed(2)
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=0, img_size=32).eval()
    folder = own_models_folder / "our vit"
    folder.mkdir(parents=True)
    save_for_hf(model, folder, safe_serialization=True)
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"] |= {"input_size": [3, 32, 32], "mean": [0.5, 0.6, 0.7], "std": [0.1, 0.2, 0.3]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderError, match="does not say which patches"):
        load_encoder("our vit")  # timm's configuration knows no microns
    encoder = load_encoder("our vit", mpp=0.5)
    assert (encoder.info.tile_px, encoder.info.dim) == (32, 192)
    batch = torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor([0.5, 0.6, 0.7])[:, None, None], torch.tensor([0.1, 0.2, 0.3])[:, None, None]
    with torch.inference_mode():
        torch.testing.assert_close(encoder(batch), model((batch - mean) / std))
    entry = next(one for one in list_encoders() if one.title == "our vit")
    assert entry.usable
    assert entry.normalisation == "mean 0.5, 0.6, 0.7, standard deviation 0.1, 0.2, 0.3"
    assert load_encoder("our vit").info == encoder.info  # remembered beside the folder
    (folder / "config.json").write_text('{"architecture": "no_such_network"}')
    with pytest.raises(EncoderError, match="cannot be loaded by timm"):
        load_encoder("our vit")


class Normed(torch.nn.Module):
    """A network that learns from whatever it sees while in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x)).mean((2, 3))


def test_loading_teaches_a_network_nothing(tmp_path: Path) -> None:
    """TorchScript keeps the mode in which it was saved; a probe in training mode would move the norms."""
    torch.manual_seed(3)
    network = Normed().train()
    path = tmp_path / "normed.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(network).save(path)
    encoder = load_encoder(path, tile_px=16, mpp=1.0)
    batch = torch.rand(2, 3, 16, 16)
    network.eval()
    with torch.inference_mode():
        torch.testing.assert_close(encoder(batch), network(batch))


def test_an_exported_program_within_the_package(lazyslide, monkeypatch, tmp_path: Path) -> None:
    """As CTransPath and CHIEF come: their programs refuse to be told a mode."""
    from lazyslide_models.base import ImageModel, ModelTask

    path = tmp_path / "means.pt2"
    export(path, 224)

    class Exported(ImageModel):
        task, license, hf_url, github_url = ModelTask.vision, "MIT", None, "https://github.com/none"

        def __init__(self, model_path: str | None = None, token: str | None = None) -> None:
            self.model = torch.export.load(path).module()

        def encode_image(self, image: torch.Tensor) -> torch.Tensor:
            return self.model(image)

    monkeypatch.setitem(lazyslide.MODEL_REGISTRY._data, "exported", Exported)
    encoder = load_encoder("exported", tile_px=48, mpp=0.5)
    assert (encoder.info.dim, encoder.parameter_count) == (6, 1)
    grey = torch.full((2, 3, 48, 48), 0.5)
    expected = 2 * (torch.tensor([0.5, 0.5, 0.5]) - MEAN.ravel()) / STD.ravel()
    torch.testing.assert_close(encoder(grey)[0], torch.cat([expected, expected]), atol=1e-5, rtol=1e-4)


def test_a_program_for_one_size_of_batch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.pt2"
    export(path, 16, any_batch=False)
    with pytest.raises(EncoderError, match=r"two patches at once but not three.*dynamic_shapes"):
        load_encoder(path, tile_px=16, mpp=1.0)
    assert not path.with_name("two.pt2.json").exists()


def test_other_colours_are_another_encoder(tmp_path: Path) -> None:
    path = tmp_path / "means.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(Means()).save(path)
    plain = load_encoder(path, tile_px=16, mpp=1.0).info
    note = path.with_name("means.pt.json")
    note.write_text(json.dumps(json.loads(note.read_text()) | {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}))
    prepared = load_encoder(path).info
    assert prepared.weights_hash != plain.weights_hash
    assert replace(prepared, weights_hash="") == replace(plain, weights_hash="")


def test_a_folder_called_like_an_encoder_is_not_taken_for_it(no_weights, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet50_trunc").mkdir()
    with pytest.raises(EncoderError, match=r"could not be fetched|napari-mil\[encoders\]"):
        load_encoder("resnet50_trunc")


def test_weights_in_the_hubs_cache_are_at_hand(lazyslide, no_weights: Path) -> None:
    assert "uni2" not in [entry.name for entry in list_encoders()]
    before = next(entry for entry in known_encoders() if entry.name == "uni2")
    assert not before.usable
    assert "hf.co/MahmoodLab/UNI2-h" in before.reason
    snapshot = hub_cache() / "models--MahmoodLab--UNI2-h" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").touch()
    assert "uni2" not in [entry.name for entry in list_encoders()], "a configuration is no weights"
    (snapshot / "pytorch_model.bin").touch()
    shared = hub_cache() / "models--RendeiroLab--LazySlide-models-gpl" / "snapshots" / "4567" / "CTransPath"
    shared.mkdir(parents=True)
    (shared / "CTransPath_exported.pt2").touch()
    assert {"ctranspath"} == {"chief", "ctranspath"} & {entry.name for entry in list_encoders()}
    after = next(entry for entry in list_encoders() if entry.name == "uni2")
    assert after.usable
    assert fitness(after, device="cpu") == "ready, but very slow without a GPU"
    assert fitness(replace(after, parameters=1e9), device="cpu").startswith("It takes about 6000000.0 GB of memory")
    assert fitness(list_encoders()[0], device="cpu") == "ready"


def test_the_list_on_the_command_line(command_line: Callable[..., Any], no_weights: Path) -> None:
    record, text = describe_encoders(device="cpu")
    names = [entry["name"] for entry in record["encoders"]]
    assert names[:2] == ["colour-texture", "resnet50_trunc"]
    assert set(names) == {"colour-texture", "resnet50_trunc", *(known.name for known in PATHOLOGY)}
    assert len(names) == len(set(names))
    uni2 = next(line for line in text.splitlines() if line.startswith("uni2 "))
    assert uni2.split()[1:5] == ["1536", "256", "px", "at"]
    assert "gated" in uni2
    assert str(no_weights) in text
    done = command_line("encoders", "--json", "--device", "cpu")
    assert done.returncode == 0
    assert {entry["name"] for entry in json.loads(done.stdout)["encoders"]} >= set(names)


def test_known_by_name() -> None:
    assert known_encoder("uni2").hub == "MahmoodLab/UNI2-h"
    assert known_encoder("resnet50_trunc").dim == 1024
    assert known_encoder("nothing") is None
