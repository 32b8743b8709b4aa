"""The cohort table: what is read, and what is refused with the row that is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mil.errors import CohortError
from napari_mil.slides import slide_name
from napari_mil.training import read_cohort


def test_columns_are_read_and_others_kept(table):
    path = table("stain,slide,label,patient", "HE,/data/a.svs,tumour,P1", "IHC,b,normal,P2", "HE,c.tif,tumour,P1")
    cohort = read_cohort(path)
    assert cohort.slides == ("/data/a.svs", "b", "c.tif")
    assert cohort.labels == ("tumour", "normal", "tumour")
    assert cohort.patients == ("P1", "P2", "P1")
    assert cohort.splits is None
    assert cohort.class_names == ("normal", "tumour")
    assert cohort.extra == {"stain": ("HE", "IHC", "HE")}
    np.testing.assert_array_equal(cohort.targets, [1, 0, 1])
    assert len(cohort) == 3


def test_spreadsheet_habits_are_understood(table):
    lines = ("Slide ; LABEL;Split", "a;001; Train", "", "b;002;TEST", "c;001;test", "d;002;train", ";;")
    cohort = read_cohort(table(*lines, encoding="utf-8-sig"))
    assert cohort.slides == ("a", "b", "c", "d")
    assert cohort.class_names == ("001", "002")  # labels stay text
    assert cohort.splits == ("train", "test", "test", "train")


def test_without_patients_each_slide_is_its_own(table):
    assert read_cohort(table("slide,label", "x/a.svs,0", "b.ndpi,1")).patients == ("a", "b")


def test_classes_may_be_put_in_order(table):
    path = table("slide,label", "a,pos", "b,neg")
    assert read_cohort(path, class_names=["pos", "neg"]).class_names == ("pos", "neg")
    for wrong in (["pos"], ["pos", "neg", "other"], ["pos", "neg", "neg"]):
        with pytest.raises(CohortError, match="were asked for"):
            read_cohort(path, class_names=wrong)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["slide,patient", "a,p"], r"no column 'label' \(found: slide, patient\)"),
        (["file,label", "a,p"], "no column 'slide'"),
        (["slide,label"], "lists no slides"),
        ([""], "cannot be read as a table"),
        (["slide,label", "a,0", "b,", "c,1", "d,"], "an empty label in rows 3, 5"),
        (["slide,label", "a,0", ",1"], "an empty slide in row 3"),
        (["slide,label", "a,0", "", ",1"], "an empty slide in row 4"),
        (["slide,label,patient", "a,0,p", "b,1,"], "an empty patient in row 3"),
        (["slide,label", "a,0", "b,1", "x/a.svs,0"], "a slide that was listed before in row 4"),
        (["slide,label", "a,0", "b,0"], r"one class only \(0\)"),
        (["slide,label,split", "a,0,train", "b,1,holdout"], "an unknown split in row 3. Use train, val, test"),
        (["slide,label,split", "a,0,train", "b,1,train", "c,0,test"], "no slide of 1 in the split 'test'"),
        (["slide,label", *[f"s{i}," for i in range(9)]], "in rows 2, 3, 4, 5, 6 and 4 more"),
        (["slide,label", "a,0,extra,more", "b,1"], "cohort.csv"),
    ],
)
def test_faults_are_named(table, lines, message):
    with pytest.raises(CohortError, match=message):
        read_cohort(table(*lines))


def test_patient_in_two_splits_is_a_leak(table):
    path = table(
        "slide,label,patient,split", "a,0,P1,train", "b,1,P2,train", "c,0,P1,test", "d,1,P3,test", "e,1,P2,val"
    )
    with pytest.raises(CohortError, match=r"more than one split: P1, P2\. Keep all slides of a patient"):
        read_cohort(path)


def test_missing_file_and_other_encodings_are_named(tmp_path):
    with pytest.raises(CohortError, match="There is no cohort table"):
        read_cohort(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes("slide,label\na,Gewöhnlich\nb,x\n".encode("latin-1"))
    with pytest.raises(CohortError, match="UTF-8"):
        read_cohort(tmp_path / "latin.csv")


@pytest.mark.parametrize(
    ("slide", "stem"),
    [
        ("a", "a"),
        ("/x/y/a.SVS", "a"),
        (r"C:\slides\b.ndpi", "b"),
        ("TCGA-A1-01Z-DX1.5F2C-77.svs", "TCGA-A1-01Z-DX1.5F2C-77"),
        ("TCGA-A1-01Z-DX1.5F2C-77", "TCGA-A1-01Z-DX1.5F2C-77"),
    ],
)
def test_stem_of_a_slide(slide, stem):
    assert slide_name(slide) == stem


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slide,label\na.svs,x,1\nb.svs,y,2\n", "3 cells in row 2, where the header has 2"),
        ("slide,label\na.svs,x,\nb.svs,y,\n", "3 cells in row 2, where the header has 2"),
        ("slide,label,label\na.svs,x,1\nb.svs,y,2\n", "column 'label' twice"),
    ],
)
def test_rows_that_do_not_fit_the_header_are_refused_not_shifted(tmp_path, text, words):
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(CohortError, match=words):
        read_cohort(tmp_path / "c.csv")
