"""Reading runs, judging saved models, leaks, tables, and the command."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from napari_mil.errors import EvaluationError
from napari_mil.evaluation import iter_evaluate, iter_held_out, latex, markdown, read_run, read_runs, write_evaluation
from napari_mil.evaluation._tables import escape_latex
from napari_mil.features import EncoderInfo
from napari_mil.models import create_model, save_model
from napari_mil.progress import finish
from napari_mil.training import Bags, Cohort, fingerprint

TEST = [("a", "p1", "normal", 1, 0.2), ("b", "p2", "tumour", 1, 0.7), ("c", "p3", "normal", 2, 0.6)]
TEST.append(("d", "p4", "tumour", 2, 0.9))
VALIDATION = [("c", "p3", "normal", 1, 0.3), ("d", "p4", "tumour", 1, 0.4), ("a", "p1", "normal", 2, 0.75)]
VALIDATION.append(("b", "p2", "tumour", 2, 0.85))


def test_thresholds_are_of_each_folds_validation(run_folder):
    one = read_run(run_folder("one", TEST, VALIDATION))
    assert one.thresholds == pytest.approx({1: 0.35, 2: 0.8})
    assert one.decided.tolist() == [0, 1, 0, 1]
    assert one.pooling == "mean"
    assert one.provenance["seed"] == 3
    assert read_run(run_folder("two", TEST, VALIDATION), threshold=0.1).decided.tolist() == [1, 1, 1, 1]


def test_without_validation_it_says_so(run_folder):
    one = read_run(run_folder("one", TEST))
    assert set(one.thresholds.values()) == {0.5}
    assert "No validation.csv" in one.notes[0]
    bare = read_run(run_folder("two", TEST, VALIDATION[1:]))
    assert bare.thresholds == pytest.approx({1: 0.5, 2: 0.8})
    assert "fold 1 lack a class" in bare.notes[0]


@pytest.mark.parametrize(
    ("test", "validation", "said"),
    [
        ([*TEST, TEST[0]], None, "more than once"),
        ([*TEST, ("e", "p5", "normal", 1, "nan")], None, "not a number in row 6"),
        ([*TEST, ("e", "p5", "normal", 1, 1.5)], None, "outside 0 to 1 in row 6"),
        ([*TEST, ("e", "p5", "necrosis", 1, 0.5)], None, "necrosis"),
        ([*TEST, ("e", "p5", "normal", "x", 0.5)], None, "fold that is not a whole number in row 6"),
        ([], None, "holds no predictions"),
        (TEST, [("a", "p9", "normal", 1, 0.3)], "slides that it tests, a among them: a leak"),
        (TEST, [("z", "p1", "normal", 1, 0.3)], "patients that it tests, p1 among them: a leak"),
    ],
)
def test_damaged_runs_are_refused_in_words(run_folder, test, validation, said):
    with pytest.raises(EvaluationError, match=said):
        read_run(run_folder("one", test, validation))


def test_no_run_at_all(tmp_path, run_folder):
    with pytest.raises(EvaluationError, match="no finished run"):
        read_run(tmp_path)
    folder = run_folder("one", TEST)
    with pytest.raises(EvaluationError, match="given twice"):
        read_runs([folder, folder])
    (folder / "summary.json").write_text("{")
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_run(folder)


def test_runs_of_different_questions_are_not_compared(run_folder):
    turned = [(s, p, "normal" if s == "b" else label, f, x) for s, p, label, f, x in TEST]
    runs = read_runs([run_folder("one", TEST), run_folder("two", turned)])
    with pytest.raises(EvaluationError, match="Slide b is tumour in one and normal in two"):
        finish(iter_evaluate(runs, replicates=100))


def test_what_is_written_can_be_read_again(run_folder, tmp_path):
    runs = read_runs([run_folder("one_&_50%", TEST, VALIDATION), run_folder("two", TEST[:3], VALIDATION)])
    judged = finish(iter_evaluate(runs, replicates=100))
    files = write_evaluation(tmp_path / "out", judged)
    assert all(path.stat().st_size > 0 for path in files)
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert table["auc"].tolist() == [1.0, 1.0]
    assert table["specificity"].tolist() == [1.0, 1.0]
    record = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert record["models"][0]["auc"]["value"] == 1.0
    assert record["models"][0]["thresholds"] == pytest.approx({"1": 0.35, "2": 0.8})
    assert record["rules"]["resamplings"] == 100
    assert record["comparisons"][0]["n_slides"] == 3
    text = (tmp_path / "out" / "table.tex").read_text()
    assert r"one\_\&\_50\%" in text
    predictions = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert predictions.loc[predictions["name"] == "two", "p_tumour"].tolist() == [0.2, 0.7, 0.6]


def test_tables_print_what_they_hold():
    table = pd.DataFrame([{"a|b": "x_1 & y", "c": "0.5 [0.4, 0.6]"}, {"a|b": "[z] 100 %", "c": "\\~^#{$"}])
    lines = latex(table).splitlines()
    assert lines[0] == r"\begin{tabular}{ll}"
    rows = [line for line in lines if line.endswith(r"\\")]
    assert len(rows) == 3
    assert rows[1] == r"x\_1 \& y & 0.5 {[}0.4, 0.6] \\"
    assert rows[2].startswith("{[}z] 100 \\% & ")
    for line in rows:
        assert line.replace(r"\&", "").count("&") == 1
    assert escape_latex("\\~^#{$") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}\#\{\$"
    assert markdown(table).splitlines()[0] == r"| a\|b | c |"
    assert len(markdown(table).splitlines()) == 4


def seen(slides, patients):
    return {"slides": [fingerprint(s) for s in slides], "patients": [fingerprint(p) for p in patients]}


@pytest.fixture
def held_out(tmp_path):
    """Return a model file, a cohort of six slides, and their bags."""
    g = np.random.default_rng(1)
    model = create_model("mean", in_features=3, class_names=("normal", "tumour"), seed=2, hidden=4).eval()
    names = tuple(f"s{i}" for i in range(6))
    cohort = Cohort(names, ("normal", "tumour") * 3, tuple("uvwxyz"), None, ("normal", "tumour"), {})
    bags = Bags({s: g.normal(size=(5, 3)).astype(np.float32) for s in names}, EncoderInfo("toy", "1", "0", 3, 64, 1.0))

    def save(**training):
        model.card = replace(model.card, training=training)
        save_model(tmp_path / "m.safetensors", model)
        return tmp_path / "m.safetensors"

    return save, cohort, bags


def test_saved_models_on_a_held_out_cohort(held_out):
    import torch

    from napari_mil.models import load_model

    save, cohort, bags = held_out
    path = save(threshold=0.25, seen=seen(["t1"], ["q"]))
    (one,) = finish(iter_held_out([path], cohort, bags))
    model = load_model(path)
    wanted = [float(torch.softmax(model(torch.from_numpy(bags.values[s])).logits, 0)[1]) for s in cohort.slides]
    assert one.test.probabilities[:, 1] == pytest.approx(wanted, abs=1e-6)
    assert one.thresholds == {0: 0.25}
    assert one.notes == ()
    judged = finish(iter_evaluate([one], bags=bags, replicates=100)).judged[0]
    assert judged.cost.parameters == 3 * 4 + 4 + 4 * 2 + 2
    assert judged.cost.seconds > 0
    assert judged.cost.n_patches == 5
    (given,) = finish(iter_held_out([path], cohort, bags, threshold=0.9))
    assert given.thresholds == {0: 0.9}


@pytest.mark.parametrize(
    ("training", "said"),
    [((["s3"], ["q"]), r"1 slide of this cohort \(s3\): a leak"), ((["t"], ["x", "q"]), r"1 patient .* \(x\)")],
)
def test_leaks_are_refused(held_out, training, said):
    save, cohort, bags = held_out
    with pytest.raises(EvaluationError, match=said):
        finish(iter_held_out([save(seen=seen(*training))], cohort, bags))


def test_a_renamed_scan_is_a_leak(held_out):
    save, cohort, bags = held_out
    known = replace(bags, quickhashes={"s4": "c0ffee", "s5": "beef"})
    card = seen(["t1"], ["q"]) | {"scans": ["c0ffee"]}
    with pytest.raises(EvaluationError, match=r"under other names \(s4; "):
        finish(iter_held_out([save(seen=card)], cohort, known))


def test_what_could_not_be_checked_is_said(held_out):
    save, cohort, bags = held_out
    (one,) = finish(iter_held_out([save()], cohort, bags))
    assert one.thresholds == {0: 0.5}
    assert "was not checked" in one.notes[0]
    assert "no threshold" in one.notes[1]
    other = replace(cohort, labels=("benign", "tumour") * 3, class_names=("benign", "tumour"))
    with pytest.raises(EvaluationError, match="Name the classes"):
        finish(iter_held_out([save()], other, bags))


def test_only_the_test_split_is_judged(held_out):
    save, cohort, bags = held_out
    split = replace(cohort, splits=("train", "train", "train", "test", "test", "val"))
    (one,) = finish(iter_held_out([save(seen=seen(["s0"], []))], split, bags))
    assert one.test.slides == ("s3", "s4")


def test_command(run_folder, tmp_path, capsys):
    from typer.testing import CliRunner

    from napari_mil.cli import app

    folder = str(run_folder("one", TEST, VALIDATION))
    call = CliRunner().invoke
    done = call(app, ["evaluate", folder, "--out", str(tmp_path / "out"), "--bootstrap", "100", "--json"])
    assert done.exit_code == 0
    record = json.loads(done.stdout)
    assert record["models"][0]["sensitivity"]["value"] == 1.0
    assert str(tmp_path / "out" / "roc.png") in record["files"]
    text = call(app, ["evaluate", folder, "--bootstrap", "100"])
    assert "Youden's index on the validation slides" in text.stdout
    for wrong in (["--faithfulness"], ["--score", "attention"], ["--cohort", "c.csv"], ["--bootstrap", "5"]):
        assert call(app, ["evaluate", folder, *wrong]).exit_code == 2
    assert call(app, ["evaluate", str(tmp_path / "nowhere")]).exit_code == 1


def test_a_trained_model_is_not_judged_on_what_it_was_trained_on(held_out, tmp_path):
    from napari_mil.training import RECIPES, iter_train

    _, cohort, bags = held_out
    more = Cohort(
        tuple(f"/slides/t{i}.svs" for i in range(12)),
        ("normal", "tumour") * 6,
        tuple(f"q{i}" for i in range(12)),
        None,
        ("normal", "tumour"),
        {},
    )
    values = {slide: bags.values[f"s{i % 6}"] for i, slide in enumerate(more.slides)}
    recipe = replace(RECIPES["default"], epochs=1)
    finish(iter_train(more, Bags(values, bags.encoder), "mean", tmp_path / "run", recipe=recipe, folds=2, device="cpu"))
    path = tmp_path / "run" / "model.safetensors"
    (one,) = finish(iter_held_out([path], cohort, bags))
    assert not any("not checked" in note for note in one.notes)
    mixed = replace(cohort, slides=(*cohort.slides[:5], "elsewhere/t3.ndpi"))
    with pytest.raises(EvaluationError, match=r"trained on 1 slide of this cohort \(t3\)"):
        finish(iter_held_out([path], mixed, bags))
    assert read_run(tmp_path / "run").threshold_from.startswith("Youden")
