"""The colour-texture encoder's numbers, one by one: name, fixed centre and scale, meaning.

Centres and scales are the median and half the 16th-to-84th percentile range over some thousands of
tissue tiles of four real H&E slides at 1 micron per pixel, 64 px, rounded; shares of glass, black and ink, rare in
tissue, are centred on 0 with a scale of at least 0.1. They only bring the numbers to a like size, so
that models train without further scaling; they are part of the encoder's version and never change within it.
"""

from __future__ import annotations

from typing import NamedTuple


class Statistic(NamedTuple):
    """One number of the colour-texture encoder: ``(raw - centre) / scale``."""

    name: str
    centre: float
    scale: float
    meaning: str


# fmt: off
TABLE = (
    Statistic("h_mean", 0.0878, 0.129, "mean haematoxylin, optical density"),
    Statistic("e_mean", 0.0986, 0.0913, "mean eosin, optical density"),
    Statistic("residual_mean", 0.151, 0.0707, "mean residual, optical density"),
    Statistic("h_std", 0.105, 0.0948, "standard deviation of haematoxylin"),
    Statistic("e_std", 0.0511, 0.043, "standard deviation of eosin"),
    Statistic("residual_std", 0.0666, 0.0428, "standard deviation of residual"),
    Statistic("h_p10", 0.0228, 0.0477, "10th percentile of haematoxylin (2 x 2 means)"),
    Statistic("h_p50", 0.0631, 0.112, "50th percentile of haematoxylin (2 x 2 means)"),
    Statistic("h_p90", 0.157, 0.242, "90th percentile of haematoxylin (2 x 2 means)"),
    Statistic("e_p10", 0.0277, 0.0548, "10th percentile of eosin (2 x 2 means)"),
    Statistic("e_p50", 0.093, 0.0972, "50th percentile of eosin (2 x 2 means)"),
    Statistic("e_p90", 0.158, 0.128, "90th percentile of eosin (2 x 2 means)"),
    Statistic("residual_p10", 0.0662, 0.0556, "10th percentile of residual (2 x 2 means)"),
    Statistic("residual_p50", 0.148, 0.0737, "50th percentile of residual (2 x 2 means)"),
    Statistic("residual_p90", 0.25, 0.107, "90th percentile of residual (2 x 2 means)"),
    Statistic("he_correlation", 0.0962, 0.181, "correlation of haematoxylin with eosin"),
    Statistic("h_share", 0.474, 0.322, "haematoxylin's share of both stains"),
    Statistic("saturation_mean", 0.295, 0.138, "mean saturation (HSV)"),
    Statistic("value_mean", 0.774, 0.0931, "mean value (HSV)"),
    Statistic("saturation_std", 0.117, 0.0647, "standard deviation of saturation (HSV)"),
    Statistic("value_std", 0.108, 0.0496, "standard deviation of value (HSV)"),
    Statistic("saturation_p10", 0.132, 0.132, "10th percentile of saturation (2 x 2 means)"),
    Statistic("saturation_p90", 0.46, 0.167, "90th percentile of saturation (2 x 2 means)"),
    Statistic("value_p10", 0.655, 0.146, "10th percentile of value (2 x 2 means)"),
    Statistic("value_p90", 0.896, 0.0638, "90th percentile of value (2 x 2 means)"),
    Statistic("red_cyan_mean", 0.115, 0.113, "mean red against cyan: R - (G + B) / 2"),
    Statistic("green_blue_mean", -0.119, 0.038, "mean green against blue: 0.866 (G - B)"),
    Statistic("red_cyan_std", 0.0484, 0.0389, "standard deviation of red against cyan: R - (G + B) / 2"),
    Statistic("green_blue_std", 0.0379, 0.0207, "standard deviation of green against blue: 0.866 (G - B)"),
    Statistic("od_red_mean", 0.12, 0.0808, "mean optical density in red"),
    Statistic("od_green_mean", 0.314, 0.122, "mean optical density in green"),
    Statistic("od_blue_mean", 0.183, 0.0644, "mean optical density in blue"),
    Statistic("od_red_std", 0.0853, 0.0623, "standard deviation of optical density in red"),
    Statistic("od_green_std", 0.144, 0.0835, "standard deviation of optical density in green"),
    Statistic("od_blue_std", 0.0812, 0.045, "standard deviation of optical density in blue"),
    Statistic("glass_share", 0, 0.111, "share of bare glass: bright and colourless"),
    Statistic("black_share", 0, 0.1, "share of near black"),
    Statistic("green_ink_share", 0, 0.1, "share of green ink: green above red and blue"),
    Statistic("blue_ink_share", 0, 0.1, "share of blue ink: far bluer than red, green too"),
    Statistic("h_above_15", 0.148, 0.379, "share with haematoxylin above 0.15: nuclei, all"),
    Statistic("h_above_30", 0.0398, 0.194, "share with haematoxylin above 0.30: nuclei, dense"),
    Statistic("h_above_50", 0.0139, 0.0771, "share with haematoxylin above 0.50: nuclei, darkest"),
    Statistic("h_in_nuclei", 0.41, 0.297, "mean haematoxylin where it is above 0.3"),
    Statistic("e_in_nuclei", 0.048, 0.0714, "mean eosin there"),
    Statistic("e_outside_nuclei", 0.0887, 0.0927, "mean eosin elsewhere"),
    Statistic("h_peaks_2px", 0.586, 1.07, "peaks of haematoxylin per 100 px at half resolution: small nuclei"),
    Statistic("h_peaks_4px", 1.17, 1.56, "the same at quarter resolution: large nuclei"),
    Statistic("h_opened_3px", 0.467, 0.258, "haematoxylin left by opening with a 3 px square: bodies so wide"),
    Statistic("h_opened_5px", 0.275, 0.271, "haematoxylin left by opening with a 5 px square: bodies so wide"),
    Statistic("h_opened_9px", 0.116, 0.238, "haematoxylin left by opening with a 9 px square: bodies so wide"),
    Statistic("h_opened_13px", 0.0604, 0.209, "haematoxylin left by opening with a 13 px square: bodies so wide"),
    Statistic("h_gradient_1px", -2.42, 0.733, "log10 gradient energy of haematoxylin at 1 px"),
    Statistic("e_gradient_1px", -2.99, 0.904, "log10 gradient energy of eosin at 1 px"),
    Statistic("grey_gradient_1px", -2.06, 0.301, "log10 gradient energy of grey at 1 px"),
    Statistic("h_band_1px", -2.83, 0.676, "log10 energy of haematoxylin minus its Gaussian at 1 px"),
    Statistic("e_band_1px", -3.34, 0.956, "log10 energy of eosin minus its Gaussian at 1 px"),
    Statistic("grey_band_1px", -2.45, 0.308, "log10 energy of grey minus its Gaussian at 1 px"),
    Statistic("coherence_1px", 0.212, 0.158, "coherence of grey edges at 1 px: 1 where all run parallel (fibres)"),
    Statistic("h_gradient_2px", -2.35, 0.864, "log10 gradient energy of haematoxylin at 2 px"),
    Statistic("e_gradient_2px", -3.09, 0.763, "log10 gradient energy of eosin at 2 px"),
    Statistic("grey_gradient_2px", -2.03, 0.352, "log10 gradient energy of grey at 2 px"),
    Statistic("h_band_2px", -2.7, 0.803, "log10 energy of haematoxylin minus its Gaussian at 2 px"),
    Statistic("e_band_2px", -3.43, 0.841, "log10 energy of eosin minus its Gaussian at 2 px"),
    Statistic("grey_band_2px", -2.36, 0.332, "log10 energy of grey minus its Gaussian at 2 px"),
    Statistic("coherence_2px", 0.233, 0.169, "coherence of grey edges at 2 px: 1 where all run parallel (fibres)"),
    Statistic("h_gradient_4px", -2.39, 0.969, "log10 gradient energy of haematoxylin at 4 px"),
    Statistic("e_gradient_4px", -3.11, 0.669, "log10 gradient energy of eosin at 4 px"),
    Statistic("grey_gradient_4px", -2.08, 0.412, "log10 gradient energy of grey at 4 px"),
    Statistic("h_band_4px", -2.66, 0.937, "log10 energy of haematoxylin minus its Gaussian at 4 px"),
    Statistic("e_band_4px", -3.45, 0.689, "log10 energy of eosin minus its Gaussian at 4 px"),
    Statistic("grey_band_4px", -2.38, 0.385, "log10 energy of grey minus its Gaussian at 4 px"),
    Statistic("coherence_4px", 0.272, 0.188, "coherence of grey edges at 4 px: 1 where all run parallel (fibres)"),
    Statistic("lbp0_1px", 0.0804, 0.0148, "share of local binary pattern 0 at 1 px"),
    Statistic("lbp1_1px", 0.0937, 0.0169, "share of local binary pattern 1 at 1 px"),
    Statistic("lbp2_1px", 0.0622, 0.0118, "share of local binary pattern 2 at 1 px"),
    Statistic("lbp3_1px", 0.0913, 0.015, "share of local binary pattern 3 at 1 px"),
    Statistic("lbp4_1px", 0.126, 0.0364, "share of local binary pattern 4 at 1 px"),
    Statistic("lbp5_1px", 0.0999, 0.0276, "share of local binary pattern 5 at 1 px"),
    Statistic("lbp6_1px", 0.0739, 0.00976, "share of local binary pattern 6 at 1 px"),
    Statistic("lbp7_1px", 0.096, 0.0138, "share of local binary pattern 7 at 1 px"),
    Statistic("lbp8_1px", 0.106, 0.0199, "share of local binary pattern 8 at 1 px"),
    Statistic("lbp9_1px", 0.158, 0.0251, "share of local binary pattern 9 at 1 px (not uniform)"),
    Statistic("lbp0_2px", 0.0989, 0.0222, "share of local binary pattern 0 at 2 px"),
    Statistic("lbp1_2px", 0.0989, 0.0139, "share of local binary pattern 1 at 2 px"),
    Statistic("lbp2_2px", 0.0589, 0.0122, "share of local binary pattern 2 at 2 px"),
    Statistic("lbp3_2px", 0.0778, 0.0211, "share of local binary pattern 3 at 2 px"),
    Statistic("lbp4_2px", 0.103, 0.035, "share of local binary pattern 4 at 2 px"),
    Statistic("lbp5_2px", 0.09, 0.0328, "share of local binary pattern 5 at 2 px"),
    Statistic("lbp6_2px", 0.07, 0.015, "share of local binary pattern 6 at 2 px"),
    Statistic("lbp7_2px", 0.101, 0.0139, "share of local binary pattern 7 at 2 px"),
    Statistic("lbp8_2px", 0.118, 0.0267, "share of local binary pattern 8 at 2 px"),
    Statistic("lbp9_2px", 0.177, 0.0328, "share of local binary pattern 9 at 2 px (not uniform)"),
    Statistic("glcm_contrast_1px", 0.521, 0.85, "co-occurrence contrast of haematoxylin, 1 px apart"),
    Statistic("glcm_homogeneity_1px", 0.834, 0.138, "co-occurrence homogeneity of haematoxylin, 1 px apart"),
    Statistic("glcm_energy_1px", 0.616, 0.313, "co-occurrence energy of haematoxylin, 1 px apart"),
    Statistic("glcm_correlation_1px", 0.617, 0.306, "co-occurrence correlation of haematoxylin, 1 px apart"),
    Statistic("glcm_entropy_1px", 1.59, 1.33, "co-occurrence entropy of haematoxylin, 1 px apart"),
    Statistic("glcm_contrast_3px", 1.05, 1.84, "co-occurrence contrast of haematoxylin, 3 px apart"),
    Statistic("glcm_homogeneity_3px", 0.781, 0.195, "co-occurrence homogeneity of haematoxylin, 3 px apart"),
    Statistic("glcm_energy_3px", 0.59, 0.331, "co-occurrence energy of haematoxylin, 3 px apart"),
    Statistic("glcm_correlation_3px", 0.287, 0.225, "co-occurrence correlation of haematoxylin, 3 px apart"),
    Statistic("glcm_entropy_3px", 1.67, 1.47, "co-occurrence entropy of haematoxylin, 3 px apart"),
)
# fmt: on

FEATURE_NAMES: tuple[str, ...] = tuple(row.name for row in TABLE)
"""Names of the colour-texture encoder's numbers, in order."""
