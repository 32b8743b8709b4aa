"""Networks that find tissue: read, cut, joined and told apart rightly; said in a sentence where they are missing."""

from __future__ import annotations

import importlib.util

import pytest

from napari_mil.errors import TilingError
from napari_mil.samples import sample_file
from napari_mil.slides import open_slide
from napari_mil.tiling import SEGMENTERS, find_tissue, why_no_segmenter


@pytest.fixture
def slide():
    with open_slide(sample_file("sample-normal.tif")) as opened:
        yield opened


@pytest.fixture
def registry():
    return pytest.importorskip("lazyslide_models").MODEL_REGISTRY


def network(classes: tuple[str, ...]):
    """Return a class like those of the package: a convolution that takes what is not white for tissue."""
    import torch
    from lazyslide_models.base import SegmentationModel, SegmentationOutput

    class Chroma(SegmentationModel):
        def __init__(self) -> None:
            self.model = torch.nn.Conv2d(3, 1, 9, padding=4, padding_mode="replicate")
            with torch.no_grad():
                self.model.weight.zero_()
                self.model.weight[:, 1] = 1 / 81  # green, averaged
                self.model.bias.zero_()
            self.shapes: list[tuple[int, ...]] = []

        @torch.inference_mode()
        def segment(self, image):
            self.shapes.append(tuple(image.shape))
            green = self.model(image)
            # ImageNet's mean and deviation of green: 0.88 parts glass from tissue
            tissue = torch.sigmoid(((0.88 - 0.456) / 0.224 - green) * 20)
            maps = {"Tissue": tissue, "Background": 1 - tissue}
            return SegmentationOutput(probability_map=torch.cat([maps[c] for c in classes], 1), classes=classes)

    return Chroma


@pytest.mark.parametrize(
    ("method", "classes"), [("grandqc", ("Tissue", "Background")), ("hest", ("Background", "Tissue"))]
)
def test_a_network_of_the_packages_kind_finds_the_tissue(slide, registry, monkeypatch, method, classes):
    monkeypatch.setitem(registry._data, SEGMENTERS[method].key, network(classes))
    found, colour = find_tissue(slide, method=method, device="cpu"), find_tissue(slide)
    assert found.origin == f"found by {SEGMENTERS[method].title}"
    assert found.mask.shape == colour.mask.shape
    assert found.l0_per_px == colour.l0_per_px
    both, either = (found.mask & colour.mask).sum(), (found.mask | colour.mask).sum()
    assert both / either > 0.85
    # where the network is sure no patch borders show: its answer is that of one patch, shifted at will
    coarse = find_tissue(slide, method=method, mpp=16, device="cpu").mask
    assert coarse.mean() == pytest.approx(found.mask.mean(), rel=0.03)


def test_patches_are_of_the_size_and_scale_that_the_network_learned(slide, registry, monkeypatch):
    seen: list[tuple[float, int]] = []
    made = network(("Tissue", "Background"))
    monkeypatch.setitem(registry._data, "grandqc-tissue", made)
    read = type(slide).read_patch

    def watched(self, l0_row, l0_col, edge_l0, out_px):
        seen.append((edge_l0 * 0.5 / out_px, out_px))
        return read(self, l0_row, l0_col, edge_l0, out_px)

    monkeypatch.setattr(type(slide), "read_patch", watched)
    find_tissue(slide, method="grandqc", device="cpu")
    assert {px for _, px in seen} == {512}
    assert [mpp for mpp, _ in seen] == pytest.approx([10.0] * len(seen), rel=0.01)


def test_without_the_package_one_sentence_says_what_to_install(slide, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    assert "pip install lazyslide-models" in why_no_segmenter("hest")
    with pytest.raises(TilingError, match=r"GrandQC needs the package lazyslide-models\. Install it"):
        find_tissue(slide, method="grandqc")


def test_without_the_weights_one_sentence_says_what_to_do(slide, registry, monkeypatch):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def absent():
        raise LocalEntryNotFoundError("cannot find the requested files")

    monkeypatch.setitem(registry._data, "hest-tissue-segmentation", absent)
    with pytest.raises(
        TilingError, match=r"weights of HEST could not be fetched\. Connect to the internet once, or let"
    ):
        find_tissue(slide, method="hest")


def test_a_part_that_is_missing_is_named(slide, registry, monkeypatch):
    def lacking():
        raise ImportError("To use this, you need to install torch-geometry.")

    monkeypatch.setitem(registry._data, "hest-tissue-segmentation", lacking)
    with pytest.raises(
        TilingError, match=r"HEST needs another package \(To use this, .* let tissue be found by colour"
    ):
        find_tissue(slide, method="hest")


def test_a_slide_without_scale_is_said_to_lack_it(shared_data):
    with (
        open_slide(shared_data / "slides" / "tcga-jp2k-no-mpp.svs") as slide,
        pytest.raises(TilingError, match="how large its pixels are, which GrandQC must know"),
    ):
        find_tissue(slide, method="grandqc")
