"""Judgement: finished runs and saved models on slides they had not seen, and whether their scores are faithful."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader as _lazy

if TYPE_CHECKING:
    from ._agreement import Agreement as Agreement
    from ._agreement import AgreementStudy as AgreementStudy
    from ._agreement import CohortAgreement as CohortAgreement
    from ._agreement import iter_agreement as iter_agreement
    from ._agreement_figures import overlap_figure as overlap_figure
    from ._agreement_rules import TOP_K as TOP_K
    from ._agreement_rules import AgreementRules as AgreementRules
    from ._agreement_write import agreement_record as agreement_record
    from ._agreement_write import printed_agreement as printed_agreement
    from ._agreement_write import printed_cohorts as printed_cohorts
    from ._agreement_write import write_agreement as write_agreement
    from ._bootstrap import resample as resample
    from ._calibration import Calibration as Calibration
    from ._calibration import calibrate as calibrate
    from ._cases import AgreementCase as AgreementCase
    from ._cases import check_cases as check_cases
    from ._cases import pair_cases as pair_cases
    from ._cases import read_cases as read_cases
    from ._compare import Comparison as Comparison
    from ._delong import DelongTest as DelongTest
    from ._delong import delong as delong
    from ._delong import delong_test as delong_test
    from ._evaluate import Evaluation as Evaluation
    from ._evaluate import Judged as Judged
    from ._evaluate import iter_evaluate as iter_evaluate
    from ._faithfulness import Faithfulness as Faithfulness
    from ._faithfulness import SlideFlips as SlideFlips
    from ._faithfulness import iter_faithfulness as iter_faithfulness
    from ._flipping import Flips as Flips
    from ._flipping import aupc as aupc
    from ._flipping import iter_flips as iter_flips
    from ._flipping import relevance_order as relevance_order
    from ._froc import FALSE_POSITIVES as FALSE_POSITIVES
    from ._froc import Froc as Froc
    from ._froc import LesionMask as LesionMask
    from ._froc import SlideHits as SlideHits
    from ._froc import froc as froc
    from ._froc import lesion_mask as lesion_mask
    from ._froc import match_lesions as match_lesions
    from ._held_out import iter_held_out as iter_held_out
    from ._hot_spot_precision import IOUS as IOUS
    from ._hot_spot_precision import SlideOverlaps as SlideOverlaps
    from ._hot_spot_precision import average_precisions as average_precisions
    from ._hot_spot_precision import lesion_overlaps as lesion_overlaps
    from ._localisation import Localisation as Localisation
    from ._localisation import localise as localise
    from ._measures import Estimate as Estimate
    from ._measures import Measures as Measures
    from ._measures import measure as measure
    from ._overlap import Overlap as Overlap
    from ._overlap import OverlapCurve as OverlapCurve
    from ._overlap_picture import OverlapPicture as OverlapPicture
    from ._overlap_picture import overlap_picture as overlap_picture
    from ._predictions import Candidate as Candidate
    from ._predictions import Predictions as Predictions
    from ._predictions import cohort_of as cohort_of
    from ._runs import read_run as read_run
    from ._runs import read_runs as read_runs
    from ._tables import latex as latex
    from ._tables import markdown as markdown
    from ._tables import printed as printed
    from ._tables import printed_comparisons as printed_comparisons
    from ._tables import printed_faithfulness as printed_faithfulness
    from ._write import evaluation_record as evaluation_record
    from ._write import plain_values as plain_values
    from ._write import write_evaluation as write_evaluation
    from ._write import write_faithfulness as write_faithfulness

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "_agreement": ["Agreement", "AgreementStudy", "CohortAgreement", "iter_agreement"],
        "_agreement_figures": ["overlap_figure"],
        "_agreement_rules": ["TOP_K", "AgreementRules"],
        "_agreement_write": ["agreement_record", "printed_agreement", "printed_cohorts", "write_agreement"],
        "_bootstrap": ["resample"],
        "_calibration": ["Calibration", "calibrate"],
        "_cases": ["AgreementCase", "check_cases", "pair_cases", "read_cases"],
        "_compare": ["Comparison"],
        "_delong": ["DelongTest", "delong", "delong_test"],
        "_evaluate": ["Evaluation", "Judged", "iter_evaluate"],
        "_faithfulness": ["Faithfulness", "SlideFlips", "iter_faithfulness"],
        "_flipping": ["Flips", "aupc", "iter_flips", "relevance_order"],
        "_froc": [
            "FALSE_POSITIVES",
            "Froc",
            "LesionMask",
            "SlideHits",
            "froc",
            "lesion_mask",
            "match_lesions",
        ],
        "_held_out": ["iter_held_out"],
        "_hot_spot_precision": ["IOUS", "SlideOverlaps", "average_precisions", "lesion_overlaps"],
        "_localisation": ["Localisation", "localise"],
        "_measures": ["Estimate", "Measures", "measure"],
        "_overlap": ["Overlap", "OverlapCurve"],
        "_overlap_picture": ["OverlapPicture", "overlap_picture"],
        "_predictions": ["Candidate", "Predictions", "cohort_of"],
        "_runs": ["read_run", "read_runs"],
        "_tables": ["latex", "markdown", "printed", "printed_comparisons", "printed_faithfulness"],
        "_write": ["evaluation_record", "plain_values", "write_evaluation", "write_faithfulness"],
    },
)
