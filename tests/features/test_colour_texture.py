"""The built-in encoder: equal to scikit-image where it has the same statistic, and able to tell tissues apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import rgb2hed
from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

from napari_mil.errors import EncoderError
from napari_mil.features import FEATURE_NAMES, load_encoder
from napari_mil.features._colour_texture import (
    _opened,
    cooccurrence,
    glcm_properties,
    hed,
    statistics,
    uniform_lbp,
)


def _batch(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)


def raw(images: np.ndarray) -> dict[str, np.ndarray]:
    values = statistics(_batch(images)).numpy()
    return dict(zip(FEATURE_NAMES, values.T, strict=True))


def test_stains_equal_scikit_image(images: np.ndarray) -> None:
    np.testing.assert_allclose(hed(_batch(images)).permute(0, 2, 3, 1).numpy(), rgb2hed(images), atol=1e-4)


def test_binary_patterns_equal_scikit_image(images: np.ndarray) -> None:
    grey = images[..., 0]
    ours = uniform_lbp(torch.from_numpy(grey).float()).numpy()
    theirs = np.stack([local_binary_pattern(g, 8, 1, "uniform") for g in grey])[:, 1:-1, 1:-1]
    np.testing.assert_array_equal(ours, theirs)


def test_flat_regions_are_one_binary_pattern() -> None:
    assert (uniform_lbp(torch.full((1, 9, 9), 77.0)) == 8).all()


@pytest.mark.parametrize("distance", [1, 3])
def test_cooccurrence_equals_scikit_image(images: np.ndarray, distance: int) -> None:
    levels = images[..., 1] // 32
    levels[-1] = 5  # no variance at all
    ours = cooccurrence(torch.from_numpy(levels).long(), 8, distance)
    angles = [0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    for k, image in enumerate(levels):
        theirs = graycomatrix(image, [distance], angles, 8, symmetric=True, normed=True).mean(3, keepdims=True)
        np.testing.assert_allclose(ours[k], theirs[..., 0, 0], atol=1e-6)
        expected = [graycoprops(theirs, p)[0, 0] for p in ("contrast", "homogeneity", "energy", "correlation")]
        flat = theirs[theirs > 0]
        expected.append(-(flat * np.log(flat)).sum())
        np.testing.assert_allclose(glcm_properties(ours[k : k + 1])[0], expected, atol=2e-5)


def test_opening_equals_scikit_image() -> None:
    from skimage.morphology import opening

    image = np.random.default_rng(1).random((31, 37)).astype(np.float32)
    ours = _opened(torch.from_numpy(image)[None, None], 5)[0, 0].numpy()
    inside = (slice(4, -4), slice(4, -4))
    np.testing.assert_array_equal(ours[inside], opening(image, np.ones((5, 5)))[inside])


def test_known_patch_gives_known_numbers() -> None:
    """A flat patch of pure stain: 0.4 of haematoxylin and 0.3 of eosin, in decadic optical density."""
    vectors = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    rgb = 10.0 ** -(np.array([0.4, 0.3]) @ vectors)
    patch = torch.tensor(rgb, dtype=torch.float32)[None, :, None, None].expand(1, 3, 32, 32)
    values = dict(zip(FEATURE_NAMES, statistics(patch)[0].numpy(), strict=True))
    assert values["h_mean"] == pytest.approx(0.4, abs=1e-5)
    assert values["e_p50"] == pytest.approx(0.3, abs=1e-5)
    assert values["residual_mean"] == pytest.approx(0, abs=1e-5)
    assert values["h_std"] == pytest.approx(0, abs=1e-5)
    assert values["h_share"] == pytest.approx(0.4 / 0.72, abs=1e-5)
    assert values["saturation_mean"] == pytest.approx(1 - rgb.min() / rgb.max(), abs=1e-5)
    assert values["value_p90"] == pytest.approx(rgb.max(), abs=1e-5)
    assert values["od_green_mean"] == pytest.approx(0.4 * 0.70 + 0.3 * 0.99, abs=1e-5)
    assert values["h_above_30"] == 1
    assert values["h_above_50"] == 0
    assert values["h_peaks_2px"] == 0
    assert values["lbp8_1px"] == 1
    assert values["h_gradient_1px"] == pytest.approx(-5, abs=1e-3)


def test_nuclei_are_counted() -> None:
    """Twelve dark discs of 8 px on eosin give twelve peaks and survive an opening of 5 px but not of 13."""
    patch = np.full((1, 64, 64, 3), (235, 170, 205), np.uint8)
    row, col = np.mgrid[:64, :64]
    for r in range(10, 64, 22):
        for c in range(8, 64, 16):
            patch[0][(row - r) ** 2 + (col - c) ** 2 <= 16] = (80, 50, 140)
    values = raw(patch)
    assert values["h_peaks_2px"][0] * 32 * 32 / 100 == pytest.approx(12, abs=0.1)
    assert values["h_opened_5px"][0] > 0.6
    assert values["h_opened_13px"][0] < 0.3
    assert values["h_above_50"][0] == pytest.approx(12 * 49 / 64**2, abs=0.001)


def test_fibres_are_coherent() -> None:
    stripes = np.tile((128 + 60 * np.sin(np.arange(48) / 2)).astype(np.uint8)[None, :, None], (48, 1, 3))[None]
    assert raw(stripes)["coherence_1px"][0] > 0.99
    assert raw(np.random.default_rng(0).integers(0, 256, (1, 48, 48, 3), np.uint8))["coherence_1px"][0] < 0.2


def test_ink_and_glass_are_seen() -> None:
    colours = np.array([(245, 244, 246), (20, 20, 25), (40, 150, 90), (40, 70, 190), (200, 120, 180)], np.uint8)
    values = raw(np.broadcast_to(colours[:, None, None], (5, 16, 16, 3)).copy())
    assert values["glass_share"].tolist() == [1, 0, 0, 0, 0]
    assert values["black_share"].tolist() == [0, 1, 0, 0, 0]
    assert values["green_ink_share"].tolist() == [0, 0, 1, 0, 0]
    assert values["blue_ink_share"].tolist() == [0, 0, 0, 1, 0]


def test_mirror_images_give_the_same_numbers(images: np.ndarray) -> None:
    """But for diagonals of whole-pixel steps and even edges, no statistic knows left from right."""
    ours, mirrored = statistics(_batch(images)), statistics(_batch(images[:, :, ::-1].copy()))
    torch.testing.assert_close(ours, mirrored, atol=2e-3, rtol=2e-3)


def test_a_patch_does_not_know_its_batch(images: np.ndarray) -> None:
    encoder = load_encoder("colour-texture", tile_px=40)
    many = _batch(np.concatenate([images] * 15))
    alone = torch.cat([encoder(many[i : i + 1]) for i in range(5)])
    np.testing.assert_array_equal(encoder(many)[70:].numpy(), alone.numpy())


@pytest.mark.parametrize("size", [16, 17, 50, 256])
def test_any_size_gives_finite_bounded_numbers(size: int) -> None:
    patches = np.zeros((3, size, size, 3), np.uint8)
    patches[1], patches[2] = 255, np.random.default_rng(0).integers(0, 256, patches[2].shape)
    values = load_encoder("colour-texture", tile_px=size)(_batch(patches))
    assert values.shape == (3, len(FEATURE_NAMES))
    assert torch.isfinite(values).all()
    assert values.abs().max() <= 8


def test_card() -> None:
    encoder = load_encoder("colour-texture")
    info = encoder.info
    assert (info.name, info.version, info.dim, info.tile_px, info.mpp) == ("colour-texture", "1", 102, 64, 1.0)
    assert len(set(FEATURE_NAMES)) == 102
    assert encoder(torch.zeros(0, 3, 64, 64)).shape == (0, 102)
    with pytest.raises(EncoderError, match="at least 16 px"):
        load_encoder("colour-texture", tile_px=12)


def test_tells_real_tumour_from_other_tissue(shared_data: Path) -> None:
    """A linear probe over real breast patches, tested on patients that it has not seen."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.preprocessing import StandardScaler

    with np.load(shared_data / "idc" / "idc_patches.npz") as data:
        images, patient, label = data["images"], data["patient"], data["label"]
    chosen = np.random.default_rng(0).permutation(len(images))[:1600]
    images, patient, label = images[chosen], patient[chosen], label[chosen]
    with torch.inference_mode():
        values = load_encoder("colour-texture", tile_px=50, mpp=4.0)(_batch(images)).numpy()
    held_out = np.isin(patient, np.unique(patient)[::4])
    scaler = StandardScaler().fit(values[~held_out])
    probe = LogisticRegression(C=0.05, max_iter=500).fit(scaler.transform(values[~held_out]), label[~held_out])
    score = probe.decision_function(scaler.transform(values[held_out]))
    assert roc_auc_score(label[held_out], score) > 0.85
