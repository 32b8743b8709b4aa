"""The colour-texture encoder: stain and texture statistics of a patch, in torch, without weights or download.

Each number is a plain image statistic that `_colour_texture_table` names and explains. Everything is computed for a
whole batch at once and gives the same numbers whatever the batch around a patch. Sizes are in patch pixels, chosen
for 1 micron per pixel, where a lymphocyte's nucleus spans about 7 and a tumour cell's about 12.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from ._colour_texture_table import TABLE

_STAINS_RGB = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
"""Optical density (R, G, B) of haematoxylin, eosin and DAB (here the residual): Ruifrok & Johnston 2001."""

_OD_FLOOR = 1e-6
_DECADES = 6.0  # -log10 of the floor: turns scikit-image's unit into decadic optical density
_GREY = (0.2125, 0.7154, 0.0721)
_SCALES = 3
_GLCM_LEVELS = 8
_GLCM_TOP_OD = 0.8
_CHUNK = {"cpu": 32}  # a chunk whose maps stay in a core's cache; other devices take the batch whole


def hed(rgb: Tensor) -> Tensor:
    """Separate haematoxylin, eosin and residual by colour deconvolution.

    Parameters
    ----------
    rgb : (B, 3, H, W) float32
        Colours in [0, 1].

    Returns
    -------
    (B, 3, H, W) float32
        Stain amounts, not negative, in the unit of ``skimage.color.rgb2hed`` (one is six decades of absorption).

    Notes
    -----
    Ruifrok & Johnston, "Quantification of histochemical staining by color deconvolution", 2001.
    """
    from_rgb = torch.linalg.inv(torch.tensor(_STAINS_RGB, dtype=torch.float64)).to(rgb)
    absorbed = rgb.clamp(min=_OD_FLOOR).log() / math.log(_OD_FLOOR)
    return torch.stack([_weighted(absorbed, from_rgb[:, stain]) for stain in range(3)], 1).clamp(min=0)


def uniform_lbp(grey: Tensor) -> Tensor:
    """Return the rotation-invariant uniform local binary pattern of whole-numbered grey levels.

    Parameters
    ----------
    grey : (B, H, W) float32
        Whole numbers, so that flat regions compare equal exactly.

    Returns
    -------
    (B, H - 2, W - 2) int64
        0 to 8 for uniform patterns (neighbours not darker than the centre), 9 for all others.

    Notes
    -----
    Eight neighbours at radius 1, diagonal ones interpolated: Ojala, Pietikäinen & Mäenpää 2002, as in
    ``skimage.feature.local_binary_pattern(..., 8, 1, "uniform")``.
    """
    rows, cols = grey.shape[-2] - 2, grey.shape[-1] - 2
    at = {(r, c): grey[:, 1 + r : 1 + r + rows, 1 + c : 1 + c + cols] for r in (-1, 0, 1) for c in (-1, 0, 1)}
    d = round(math.sqrt(0.5), 5)
    centre = at[0, 0]
    bits = []
    for r, c in ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1)):
        value = at[r, c]
        if r and c:
            value = (1 - d) ** 2 * centre + d * (1 - d) * (at[r, 0] + at[0, c]) + d * d * value
        bits.append(value >= centre - 1e-4)  # an interpolated tie is a tie in spite of rounding
    ring = torch.stack(bits).to(torch.int8)
    changes = (ring != ring.roll(1, 0)).sum(0)
    return torch.where(changes <= 2, ring.sum(0, dtype=torch.int64), 9)


def cooccurrence(levels: Tensor, n_levels: int, distance: int) -> Tensor:
    """Return the symmetric, normalised grey-level co-occurrence matrix, averaged over four directions.

    Parameters
    ----------
    levels : (B, H, W) int64
        Grey levels from 0 to ``n_levels - 1``.
    n_levels : int
        Number of levels L.
    distance : int
        Pixels between the two of a pair, along rows and columns; rounded along diagonals.

    Returns
    -------
    (B, L, L) float32
        Each sums to 1.

    Notes
    -----
    Haralick 1973; equals the mean over angles of ``skimage.feature.graycomatrix(..., symmetric=True, normed=True)``.
    """
    batch, height, width = levels.shape
    cells = n_levels * n_levels
    base = torch.arange(batch, device=levels.device)[:, None, None] * cells
    diagonal = round(distance * math.sqrt(0.5))
    total = torch.zeros(batch, n_levels, n_levels, device=levels.device)
    for r, c in ((0, distance), (diagonal, diagonal), (distance, 0), (diagonal, -diagonal)):
        first = levels[:, : height - r, max(0, -c) : width - max(0, c)]
        second = levels[:, r:, max(0, c) : width + min(0, c)]
        counts = torch.bincount((base + first * n_levels + second).flatten(), minlength=batch * cells)
        matrix = counts.view(batch, n_levels, n_levels).float()
        total += (matrix + matrix.transpose(1, 2)) / (2 * first[0].numel())
    return total / 4


def glcm_properties(glcm: Tensor) -> Tensor:
    """Return contrast, homogeneity, energy, correlation and entropy of co-occurrence matrices.

    Parameters
    ----------
    glcm : (B, L, L) float32
        Symmetric, each summing to 1.

    Returns
    -------
    (B, 5) float32
        As ``skimage.feature.graycoprops`` defines them (correlation 1 where there is no variance); entropy in nats.
    """
    level = torch.arange(glcm.shape[-1], device=glcm.device, dtype=glcm.dtype)
    apart = (level[:, None] - level[None, :]) ** 2
    marginal = glcm.sum(2)
    mean = (marginal * level).sum(1, keepdim=True)
    variance = (marginal * (level - mean) ** 2).sum(1)
    away = level - mean  # (B, L)
    covariance = (glcm * away[:, :, None] * away[:, None, :]).sum((1, 2))
    correlation = torch.where(variance > 1e-12, covariance / variance.clamp(min=1e-12), 1.0)
    contrast = (glcm * apart).sum((1, 2))
    homogeneity = (glcm / (1 + apart)).sum((1, 2))
    energy = glcm.square().sum((1, 2)).sqrt()
    entropy = -torch.xlogy(glcm, glcm).sum((1, 2))
    return torch.stack([contrast, homogeneity, energy, correlation, entropy], 1)


class ColourTexture(nn.Module):
    """The colour-texture encoder's network-free network: (B, 3, T, T) colours to (B, D) standardised statistics.

    Every statistic is centred and scaled by the fixed constants of the table and held within [-8, 8].
    """

    centre: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("centre", torch.tensor([row.centre for row in TABLE]))
        self.register_buffer("scale", torch.tensor([row.scale for row in TABLE]))

    def forward(self, rgb: Tensor) -> Tensor:
        """Return the standardised statistics, (B, D) float32, of patches of 16 px or more in [0, 1]."""
        step = _CHUNK.get(rgb.device.type, len(rgb)) or 1
        raw = [statistics(rgb[i : i + step]) for i in range(0, len(rgb), step)]
        if not raw:
            return rgb.new_zeros((0, len(self.centre)))
        return ((torch.cat(raw) - self.centre) / self.scale).clamp(-8, 8)


def statistics(rgb: Tensor) -> Tensor:
    """Return the statistics of the table before standardisation.

    Parameters
    ----------
    rgb : (B, 3, T, T) float32
        Colours in [0, 1]; T >= 16.

    Returns
    -------
    (B, D) float32
        In the order of ``TABLE``.
    """
    rgb = rgb.clamp(1 / 255, 1)
    stains = hed(rgb) * _DECADES  # (B, 3, T, T)
    grey = _weighted(rgb, torch.tensor(_GREY, device=rgb.device))[:, None]
    scales = _pyramid(torch.cat([stains[:, :2], grey], 1))
    groups = [_stain(stains), _colour(rgb), _coverage(rgb), _nuclei(stains), *_texture(scales)]
    groups += [_pattern_shares(scales[k][:, 2]) for k in range(2)]
    h_levels = (stains[:, 0] * (_GLCM_LEVELS / _GLCM_TOP_OD)).long().clamp(max=_GLCM_LEVELS - 1)
    groups += [glcm_properties(cooccurrence(h_levels, _GLCM_LEVELS, distance)) for distance in (1, 3)]
    return torch.cat(groups, 1)


def _weighted(channels: Tensor, weights: Tensor) -> Tensor:
    """Return the weighted sum of three channels, (B, H, W); a matrix product's last bit would vary with the batch."""
    return channels[:, 0] * weights[0] + channels[:, 1] * weights[1] + channels[:, 2] * weights[2]


def _moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and standard deviation of each map, (B, C) each."""
    flat = maps.flatten(2)
    mean = flat.mean(2, keepdim=True)
    return mean[..., 0], (flat - mean).square().mean(2).sqrt()


def _ranks(maps: Tensor, shares: tuple[float, ...]) -> Tensor:
    """Return values at given ranks of each map's 2 x 2 means, (B, C * len(shares)); nearest rank."""
    ordered = nnf.avg_pool2d(maps, 2).flatten(2).sort(2).values
    at = [round(share * (ordered.shape[2] - 1)) for share in shares]
    return ordered[:, :, at].flatten(1)


def _stain(stains: Tensor) -> Tensor:
    """Amounts of haematoxylin, eosin and residual: mean, deviation, three ranks; and how H and E go together."""
    mean, deviation = _moments(stains)
    away = stains[:, :2].flatten(2) - mean[:, :2, None]
    together = (away[:, 0] * away[:, 1]).mean(1) / (deviation[:, 0] * deviation[:, 1] + 1e-3)
    share = mean[:, 0] / (mean[:, 0] + mean[:, 1] + 0.02)
    return torch.cat([mean, deviation, _ranks(stains, (0.1, 0.5, 0.9)), together[:, None], share[:, None]], 1)


def _colour(rgb: Tensor) -> Tensor:
    """Saturation and value, the hue plane, and optical density a channel."""
    value, least = rgb.amax(1), rgb.amin(1)
    saturation = (value - least) / value
    plane = torch.stack([rgb[:, 0] - (rgb[:, 1] + rgb[:, 2]) / 2, (rgb[:, 1] - rgb[:, 2]) * math.sqrt(0.75)], 1)
    density = -rgb.log10()
    sv = torch.stack([saturation, value], 1)
    return torch.cat([*_moments(sv), _ranks(sv, (0.1, 0.9)), *_moments(plane), *_moments(density)], 1)


def _coverage(rgb: Tensor) -> Tensor:
    """Shares of glass, of near black, and of ink: green, blue."""
    red, green, blue = rgb.unbind(1)
    value, least = rgb.amax(1), rgb.amin(1)
    glass = (value > 0.85) & (value - least < 0.08)
    black = value < 0.3
    green_ink = green - torch.maximum(red, blue * 0.9) > 0.04
    blue_ink = (blue - red > 0.2) & (green > red * 0.9)
    return torch.stack([glass, black, green_ink, blue_ink], 1).float().mean((2, 3))


def _nuclei(stains: Tensor) -> Tensor:
    """Stand-ins for nuclei: H above three amounts, amounts in and out of them, peaks of H, and H kept by opening."""
    h, e = stains[:, 0], stains[:, 1]
    shares = torch.stack([h > limit for limit in (0.15, 0.3, 0.5)], 1).float().mean((2, 3))
    nuclear = (h > 0.3).float()
    count = nuclear.sum((1, 2))
    amounts = [
        (h * nuclear).sum((1, 2)) / (count + 8),
        (e * nuclear).sum((1, 2)) / (count + 8),
        (e * (1 - nuclear)).sum((1, 2)) / (h[0].numel() - count + 8),
    ]
    peaks, level = [], stains[:, :1]
    for _ in range(2):
        level = nnf.avg_pool2d(level, 2)
        smooth = _blur(level)
        top = nnf.max_pool2d(smooth, 3, 1, 1)
        stands_out = smooth - nnf.avg_pool2d(smooth, 5, 1, 2, count_include_pad=False) > 0.02
        peaks.append(((smooth == top) & stands_out & (smooth > 0.15)).float().mean((1, 2, 3)) * 100)
    whole = h.mean((1, 2)) + 0.02
    kept = [_opened(stains[:, :1], edge).mean((1, 2, 3)) / whole for edge in (3, 5, 9, 13)]
    return torch.cat([shares, torch.stack([*amounts, *peaks, *kept], 1)], 1)


def _opened(maps: Tensor, edge: int) -> Tensor:
    """Open maps with a square of odd edge: what is narrower than it goes."""
    half = edge // 2
    for sign in (-1, 1):
        maps = nnf.pad(sign * maps, (half,) * 4, value=-math.inf)
        for axis in (2, 3):
            maps = _window_max(maps, edge, axis)
        maps = sign * maps
    return maps


def _window_max(maps: Tensor, edge: int, axis: int) -> Tensor:
    """Return the largest of each run of ``edge`` along an axis, doubling the run; far faster than pooling on a CPU."""
    run, length = 1, maps.shape[axis] - edge + 1
    while run < edge:
        step = min(run, edge - run)
        count = maps.shape[axis] - step
        maps = torch.maximum(maps.narrow(axis, 0, count), maps.narrow(axis, step, count))
        run += step
    return maps.narrow(axis, 0, length)


def _blur(maps: Tensor) -> Tensor:
    """Smooth with the 1-4-6-4-1 binomial (a Gaussian of one pixel), mirrored at the edges."""
    padded = nnf.pad(maps, (2, 2, 2, 2), mode="reflect")
    rows = (padded[:, :, :-4] + padded[:, :, 4:] + 4 * (padded[:, :, 1:-3] + padded[:, :, 3:-1])).add(
        padded[:, :, 2:-2], alpha=6
    )
    cols = (rows[..., :-4] + rows[..., 4:] + 4 * (rows[..., 1:-3] + rows[..., 3:-1])).add(rows[..., 2:-2], alpha=6)
    return cols / 256


def _pyramid(maps: Tensor) -> list[Tensor]:
    """Return the maps at full, half and quarter resolution."""
    scales = [maps]
    for _ in range(_SCALES - 1):
        scales.append(nnf.avg_pool2d(scales[-1], 2))
    return scales


def _texture(scales: list[Tensor]) -> list[Tensor]:
    """At each scale: log gradient energy and log band energy of H, E and grey, and how parallel the grey edges run."""
    groups = []
    for maps in scales:
        down = (maps[:, :, 2:, 1:-1] - maps[:, :, :-2, 1:-1]) / 2
        right = (maps[:, :, 1:-1, 2:] - maps[:, :, 1:-1, :-2]) / 2
        dd, rr = down.square().mean((2, 3)), right.square().mean((2, 3))
        dr = (down[:, 2] * right[:, 2]).mean((1, 2))
        spread = ((dd[:, 2] - rr[:, 2]).square() + 4 * dr.square()).sqrt()
        coherence = spread / (dd[:, 2] + rr[:, 2] + 1e-5)
        band = (maps - _blur(maps)).square().mean((2, 3))
        groups += [(dd + rr + 1e-5).log10(), (band + 1e-5).log10(), coherence[:, None]]
    return groups


def _pattern_shares(grey: Tensor) -> Tensor:
    """Share of each of the ten uniform local binary patterns, (B, 10), of grey levels rounded to 256."""
    codes = uniform_lbp((grey * 255).round()).flatten(1)
    offset = torch.arange(len(codes), device=codes.device)[:, None] * 10
    counts = torch.bincount((codes + offset).flatten(), minlength=10 * len(codes))
    return counts.view(-1, 10).float() / codes.shape[1]
