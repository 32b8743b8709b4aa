"""Whose feature files are read and written."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """A tool's way to keep features on the disk."""

    trident = "trident"
    """TRIDENT's HDF5, which is napari-mil's own layout, too."""
    clam = "clam"
    """CLAM's HDF5 (``h5_files/``, ``pt_files/``), patch sizes in ``patches/``."""
    stamp = "stamp"
    """STAMP's HDF5, places in microns."""
    slideflow = "slideflow"
    """Slideflow's bags: ``.pt``, ``.index.npz`` with tile centres, ``bags_config.json``."""
    wsinfer = "wsinfer"
    """WSInfer's tables of class probabilities, patches in ``patches/``."""
    wsidata = "wsidata"
    """wsidata's and LazySlide's SpatialData folder (zarr)."""

    @property
    def tool(self) -> str:
        """The tool's name as its makers write it."""
        return _TITLES[self]


_TITLES = {
    Format.trident: "TRIDENT",
    Format.clam: "CLAM",
    Format.stamp: "STAMP",
    Format.slideflow: "Slideflow",
    Format.wsinfer: "WSInfer",
    Format.wsidata: "wsidata",
}
