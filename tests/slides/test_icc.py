"""Scanner colours become screen colours: exactly, at once, from any thread, and only for people's eyes."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from napari_mil.slides import open_slide
from napari_mil.slides._icc import srgb_transform


@pytest.fixture(scope="module")
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (300, 401, 3), dtype=np.uint8)


def in_closed_form(rgb: NDArray[np.uint8], gamma: float = 1.8) -> NDArray[np.float64]:
    """From a gamma to sRGB's curve (IEC 61966-2-1), primaries being the same."""
    light = (rgb / 255.0) ** gamma
    return 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def table_profile(intent: int = 0) -> bytes:
    """Return a profile such as scanner makers ship: a table of 17^3 colours in CIE Lab (ICC.1 2001-04, lut16Type)."""

    def s15(values: object) -> bytes:
        return b"".join(struct.pack(">i", round(float(v) * 65536)) for v in np.ravel(np.asarray(values)))

    grid = np.linspace(0, 1, 17)
    r, g, b = (axis.ravel() ** 1.9 for axis in np.meshgrid(grid, grid, grid, indexing="ij"))
    # sensitivities that overlap as a camera's do; columns sum to the white point D50
    matrix = np.array([[0.50, 0.33, 0.1342], [0.25, 0.68, 0.07], [0.02, 0.10, 0.7049]])
    xyz = np.stack([r, g, b], axis=1) @ matrix.T / matrix.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lab = [
        (116 * f[:, 1] - 16) * 652.8,
        (500 * (f[:, 0] - f[:, 1]) + 128) * 256,
        (200 * (f[:, 1] - f[:, 2]) + 128) * 256,
    ]
    ramp = np.linspace(0, 65535, 256).round().astype(">u2").tobytes()
    table = np.stack(lab, axis=1).clip(0, 65535).round().astype(">u2").tobytes()
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 8) + b"Scanner\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + s15([0.9642, 1, 0.8249]),
        b"A2B0": b"mft2" + bytes(4) + bytes([3, 3, 17, 0]) + s15(np.eye(3)) + struct.pack(">HH", 256, 256)
        + ramp * 3 + table + ramp * 3,
    }  # fmt: skip
    index, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        index += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = 128 + len(index) + len(body)
    head = struct.pack(">I4sI4s4s4s6H4s", size, b"none", 0x02400000, b"scnr", b"RGB ", b"Lab ", 2020, 1, 1, 0, 0, 0,
                       b"acsp") + bytes(24) + struct.pack(">I", intent) + s15([0.9642, 1, 0.8249])  # fmt: skip
    return head.ljust(128, b"\0") + index + body


def little_cms(rgb: NDArray[np.uint8], profile: bytes, intent: int) -> NDArray[np.uint8]:
    """Convert as littleCMS does at its most exact."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        "RGB",
        "RGB",
        ImageCms.Intent(intent),
        ImageCms.Flags.NOOPTIMIZE,
    )
    return np.asarray(ImageCms.applyTransform(Image.fromarray(rgb), transform))


def test_a_gamma_in_closed_form_before_and_after_the_table(scanner_profile: bytes, pixels: NDArray[np.uint8]) -> None:
    convert, note = srgb_transform(scanner_profile)
    assert convert is not None
    assert note == ""
    at_once = convert(pixels)
    assert np.abs(at_once - in_closed_form(pixels)).max() < 1
    convert.wait()
    np.testing.assert_array_equal(convert(pixels), at_once)
    # every grey, white and black included
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    assert np.abs(convert(greys) - in_closed_form(greys)).max() < 1
    assert (convert(np.full((1, 1, 3), 255, np.uint8)) == 255).all()


@pytest.mark.parametrize("intent", [0, 1])
def test_a_scanner_makers_table_is_little_cms_own_result(pixels: NDArray[np.uint8], intent: int) -> None:
    """With the intent that the profile names."""
    profile = table_profile(intent)
    convert, note = srgb_transform(profile)
    assert convert is not None
    assert note == ""
    assert convert.name == "Scanner"
    convert.wait()
    got = convert(pixels)
    np.testing.assert_array_equal(got, little_cms(pixels, profile, intent))
    assert np.abs(got.astype(int) - pixels).mean() > 5


def test_any_layout_any_thread_and_the_input_stays(scanner_profile: bytes, pixels: NDArray[np.uint8]) -> None:
    convert, _ = srgb_transform(scanner_profile)
    assert convert is not None
    before = pixels.copy()
    flipped = pixels[::-1, ::3]
    assert not flipped.flags["C_CONTIGUOUS"]
    convert.wait()
    np.testing.assert_array_equal(convert(flipped), convert(pixels)[::-1, ::3])
    assert convert(pixels[:0]).shape == (0, 401, 3)
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(convert, [pixels] * 32))
    assert all(np.array_equal(result, results[0]) for result in results)
    np.testing.assert_array_equal(pixels, before)


def test_one_table_for_all_slides_of_a_scanner(scanner_profile: bytes) -> None:
    with ThreadPoolExecutor(4) as threads:
        transforms = {id(found[0]) for found in threads.map(srgb_transform, [bytes(bytearray(scanner_profile))] * 8)}
    convert, _ = srgb_transform(scanner_profile)
    assert convert is not None
    assert len(transforms) <= 4
    convert.wait()
    assert not any(thread.name == "colour-table" for thread in threading.enumerate())


def test_srgb_is_recognised_and_left_alone(shared_data: Path, pixels: NDArray[np.uint8]) -> None:
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert srgb_transform(made) == (None, "")
    with open_slide(shared_data / "slides" / "tcga-jp2k-no-mpp.svs") as slide:
        assert slide.icc_profile is not None
        assert len(slide.icc_profile) > 3000
        assert not slide.corrects_colours
        assert slide.to_srgb(pixels) is pixels
        assert slide.colours == "the file's colours are those of screens (sRGB) already"
        assert slide.notes == ()


def test_what_cannot_be_used_is_said_and_left(scanner_profile: bytes) -> None:
    import imagecodecs

    damaged = "its colour profile is damaged and was not applied"
    for bad in (b"", b"profile" * 50, scanner_profile[:200], scanner_profile[:128] + bytes(len(scanner_profile) - 128)):
        assert srgb_transform(bad) == (None, damaged)
    assert (
        srgb_transform(imagecodecs.cms_profile("gray"))[1]
        == "its colour profile is not one for RGB and was not applied"
    )
    flat = bytearray(scanner_profile)
    for tag in (b"rTRC", b"gTRC", b"bTRC"):
        place = struct.unpack(">I", flat[flat.index(tag) + 4 :][:4])[0]
        # one number: the gamma, 0 instead of 1.8
        flat[place + 8 : place + 16] = struct.pack(">IHH", 1, 0, 0)
    assert srgb_transform(bytes(flat))[1] == "its colour profile does not keep light and dark apart and was not applied"


def test_mutated_profiles_never_crash(scanner_profile: bytes, pixels: NDArray[np.uint8]) -> None:
    rng = np.random.default_rng(1)
    applied = 0
    for source in (scanner_profile, table_profile()):
        for _ in range(300):
            mutated = bytearray(source)
            for _ in range(rng.integers(1, 6)):
                mutated[rng.integers(0, min(700, len(mutated)))] = rng.integers(0, 256)
            convert, note = srgb_transform(bytes(mutated))
            assert convert is None or not note
            applied += convert is not None
    assert 0 < applied < 600


def test_a_slide_reads_stored_colours_and_shows_true_ones(
    profiled_slide: Path, small_slide: Path, scanner_profile: bytes
) -> None:
    with open_slide(profiled_slide) as slide, open_slide(small_slide) as plain:
        assert slide.icc_profile == scanner_profile
        assert slide.corrects_colours
        assert not plain.corrects_colours
        assert slide.colours == "the file has a colour profile (RGB built-in)"
        assert plain.colours == "the file has no colour profile"
        stored = slide.read(0, 100, 200, 256, 300)
        assert np.abs(slide.to_srgb(stored) - in_closed_form(stored)).max() < 1
        patch = slide.read_patch(100, 200, 256, 128)
        # read through other decoders, but not in other colours
        assert np.abs(stored - plain.read(0, 100, 200, 256, 300).astype(float)).mean() < 2
        assert np.abs(patch - plain.read_patch(100, 200, 256, 128).astype(float)).mean() < 2
        assert np.abs(slide.thumbnail(400)[0] - plain.thumbnail(400)[0].astype(float)).mean() < 2


def test_a_damaged_profile_is_noted_and_the_slide_opens(tmp_path: Path, profiled_slide: Path) -> None:
    raw = profiled_slide.read_bytes()
    with open_slide(profiled_slide) as slide:
        profile = slide.icc_profile
    assert profile is not None
    path = tmp_path / "damaged.tif"
    path.write_bytes(raw.replace(profile, profile[:100] + bytes(len(profile) - 100)))
    with open_slide(path) as slide:
        assert slide.notes == ("its colour profile is damaged and was not applied",)
        assert slide.colours == "its colour profile is damaged and was not applied"
        assert slide.icc_profile is None
        assert not slide.corrects_colours
        assert slide.read(0, 0, 0, 10, 10).shape == (10, 10, 3)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_plain_picture_is_shown_by_its_own_profile(
    tmp_path: Path, scanner_profile: bytes, pixels: NDArray[np.uint8], name: str
) -> None:
    Image.fromarray(pixels).save(tmp_path / name, icc_profile=scanner_profile, quality=95)
    with open_slide(tmp_path / name) as slide:
        assert slide.icc_profile == scanner_profile
        stored = slide.read(0, 0, 0, *slide.shape)
        assert np.abs(np.asarray(slide.levels()[0]) - in_closed_form(stored)).max() < 1
        assert np.array_equal(slide.levels(srgb=False)[0], stored)


def test_a_picture_of_a_slides_size_keeps_its_profile(tmp_path: Path, scanner_profile: bytes) -> None:
    """20 000 pixels a side, of which only the header is looked at; Pillow takes such a picture for a bomb."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    path = tmp_path / "large.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0))
        + chunk(b"iCCP", b"scanner\0\0" + zlib.compress(scanner_profile))
        + chunk(b"IDAT", bytes(100_000))
        + chunk(b"IEND", b"")
    )
    with open_slide(path) as slide:
        assert slide.shape == (20_000, 20_000)
        assert slide.icc_profile == scanner_profile
        assert slide.corrects_colours
