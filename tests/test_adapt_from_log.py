"""adapt.py --from-log: verdicts of persons become a model in use, or do not."""

import json
import shutil
from contextlib import suppress

import numpy as np
import pytest
from builders import spoken_on

import adapt
from adaptation import promotion, renewal, task, tuning
from adaptation.comparing import fresh
from adaptation.earlier import read_earlier
from adaptation.promotion import FROZEN, VERDICTS, Comparison, Group, compared_group
from common.errors import EXIT_GATE, UserError
from common.files import sha256_of_file
from inspection.predictor import load_predictor
from inspection.recording import Inspector, Part
from model import load_checkpoint
from traceability.log import InspectionLog
from traceability.models import FOUND, PROMOTED, REFUSED, Models


@pytest.fixture(autouse=True)
def brief(monkeypatch):
    """A few steps: what is learned is not looked at here."""
    for name in ("FULL", "BRIEF"):
        monkeypatch.setattr(task, name, tuning.Effort(steps=3, batch_size=4))
    monkeypatch.setattr("adaptation.run.FULL", tuning.Effort(steps=3, batch_size=4))


@pytest.fixture
def adapted(log_with_verdicts, castings, trained, tmp_path):
    """A function that runs the command, with further options, and returns the folder of models."""

    def adapted(*options, first=True):
        arguments = ["--from-log", log_with_verdicts, "--old", castings / "train"]
        arguments += ["--device", "cpu"]
        arguments += ["--models", tmp_path / "models"]
        arguments += ["--checkpoint", trained / "best.pth"] if first else []
        assert adapt.main([str(one) for one in [*arguments, *options]]) == 0
        return Models(tmp_path / "models")

    return adapted


@pytest.fixture
def outcome(monkeypatch):
    """A function that sets how many good parts with a verdict become wrong, of ten."""

    def outcome(wrong):
        groups = [Group(s, k, 10, 10, 0, 0) for s in (VERDICTS, FROZEN) for k in promotion.KINDS]
        groups[0] = Group(VERDICTS, "good", 10, 10, wrong, 0)
        monkeypatch.setattr(renewal, "compared", lambda *_: Comparison(groups))

    return outcome


def test_a_candidate_that_is_not_worse_is_in_use_and_the_way_back_is_there(
    adapted, outcome, trained, tmp_path, capsys
):
    outcome(0)
    parent = trained / "best.pth"
    before = parent.read_bytes()
    models = adapted()
    out = capsys.readouterr().out
    last = json.loads(out.splitlines()[-1])
    assert last["promoted"]
    assert last["model"] == sha256_of_file(models.current)[:12]
    assert parent.read_bytes() == before
    assert not list(models.folder.glob("candidate*"))
    found = load_checkpoint(models.current).adaptation
    assert found["parent"] == sha256_of_file(parent)
    assert len(found["good"]) == len(found["defective"]) == 8
    assert found["comparison"]["promoted"]
    assert [event.event for event in models.history()] == [FOUND, PROMOTED]
    page = models.kept(last["model"]).with_suffix(".adaptation.html").read_text()
    assert "promoted" in page
    assert "://" not in page
    assert adapt.main(["--rollback", "--models", str(models.folder)]) == 0
    assert models.current.read_bytes() == before
    with pytest.raises(UserError, match="knows of no model before") as error:
        adapt.main(["--rollback", "--models", str(models.folder)])
    assert error.value.exit_code == 2


def test_a_worse_one_is_refused_with_the_reasons_and_what_is_in_use_stays(
    adapted, outcome, tmp_path, trained
):
    (tmp_path / "models").mkdir()
    shutil.copy(trained / "best.pth", tmp_path / "models" / "current.pth")
    before = (tmp_path / "models" / "current.pth").read_bytes()
    outcome(6)
    with pytest.raises(UserError) as error:
        adapted(first=False)
    assert error.value.exit_code == EXIT_GATE
    assert "\n  verdicts: right on 14 of 20 parts, the model in use 20\n" in str(error.value)
    assert "verdicts, good: 6 became wrong, 0 right: chance explains this" in str(error.value)
    models = Models(tmp_path / "models")
    assert models.current.read_bytes() == before
    load_checkpoint(models.candidate)
    assert "was not promoted" in models.candidate.with_suffix(".adaptation.html").read_text()
    (event,) = models.history()
    assert (event.event, event.before) == (REFUSED, sha256_of_file(models.current))


def test_what_the_model_had_decided_otherwise_comes_first_everywhere(
    adapted, outcome, log_with_verdicts, tmp_path, capsys
):
    outcome(0)
    with InspectionLog(log_with_verdicts) as opened:
        rows = opened.query("SELECT id, file, decision FROM inspections ORDER BY id")
        wrong = [f for n, f, decision in rows if decision != ("ok" if n <= 8 else "defect")]
    assert wrong  # the threshold of the fixture rejects half
    models = adapted()
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("verdicts"))
    assert f"16 photographs: 8 good, 8 defective; {len(wrong)} where" in lines[start]
    told = lines[start + 1 : start + 1 + len(wrong)]
    assert {line.split(":")[0].strip() for line in told} == set(wrong)
    report = next(models.folder.glob("*.adaptation.json"))
    listed = json.loads(report.read_text())["verdicts"]["disagreements"]
    assert {one["file"] for one in listed} == set(wrong)
    page = report.with_suffix(".html").read_text()
    assert page.count("data:image/png") == 3
    assert page.index("on which model and person disagree") < page.index("What was found")


def test_the_figures_are_those_of_the_two_models(adapted, castings, trained, tmp_path, capsys):
    """On frozen castings, which no candidate learns, as predict.py would decide them."""
    with suppress(UserError):  # promoted or not
        adapted()
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    groups = {(one["source"], one["kind"]): one for one in last["groups"]}
    assert groups[VERDICTS, "good"]["parts"] <= 8
    models = Models(tmp_path / "models")
    candidate = models.current if last["promoted"] else models.candidate
    learned = {one["sha256"] for one in load_checkpoint(candidate).adaptation["old"]}
    earlier = read_earlier(castings / "train", load_checkpoint(candidate))
    paths = [one.path for one in earlier.frozen]
    assert paths
    assert not learned & {sha256_of_file(path) for path in paths}
    decided = {}
    for which, path in (("right_before", trained / "best.pth"), ("right", candidate)):
        found = load_predictor(path, "cpu", gate=False).predict(paths)
        decided[which] = np.array([one.decision == "defect" for one in found])
    for kind, own in (("good", ~earlier.is_defect), ("defective", earlier.is_defect)):
        names = [part for part, chosen in zip(earlier.parts, own, strict=True) if chosen]
        wrong = [(decided[which] != earlier.is_defect)[own] for which in ("right_before", "right")]
        found = compared_group(FROZEN, kind, names, *wrong)
        assert found.as_dict() == groups[FROZEN, kind]


class StoppedError(Exception):
    """Raised instead of tuning."""


@pytest.fixture
def prepared(adapted, monkeypatch):
    """A function that runs the command up to tuning, and returns what would be tuned and tested."""

    def prepared(**options):
        tasks = []

        def stopped(found, started):
            tasks.append(found)
            raise StoppedError

        with monkeypatch.context() as patch:
            patch.setattr(renewal, "fitted", stopped)
            with pytest.raises(StoppedError):
                adapted(**options)
        return tasks[0], fresh(tasks[0])

    return prepared


def test_the_same_castings_are_frozen_at_every_run_and_what_was_learned_does_not_test(
    adapted, prepared, outcome, log_with_verdicts, castings, monkeypatch
):
    one, first = prepared()
    assert first.good.all()
    assert first.frozen.all()
    outcome(0)
    monkeypatch.setattr("adaptation.run.page_text", lambda *_: "")  # it takes a second
    adapted()
    with pytest.raises(UserError, match="nothing new: the model in use has learned"):
        adapted(first=False)
    spoken_on(log_with_verdicts, sorted((castings / "test" / "ok_front").glob("*.jpeg"))[8], "ok")
    other, second = prepared(first=False)
    assert [p.sha256 for p in one.earlier.frozen] == [p.sha256 for p in other.earlier.frozen]
    assert (int(second.good.sum()), int(second.defective.sum())) == (1, 0)
    assert second.frozen.all()


def test_frozen_castings_with_a_verdict_do_not_test(prepared, log_with_verdicts):
    before, able = prepared()
    for one in (before.earlier.frozen[0], before.earlier.learned[0]):
        spoken_on(log_with_verdicts, one.path, "defect" if "def" in one.path.parent.name else "ok")
    _, after = prepared()
    part = np.array(before.earlier.parts) == before.earlier.parts[0]
    assert (after.frozen == (able.frozen & ~part)).all()
    both = np.concatenate([after.good, after.defective])
    assert len(both) == 18
    assert both.sum() == 17  # not the one that is learned as an old casting, too


@pytest.mark.parametrize(("kind", "message"), [("ok", "good parts"), ("defect", "defective parts")])
def test_too_few_are_one_line_and_nothing_is_written(
    castings, trained, line_parts, predictor, tmp_path, kind, message
):
    paths = [*line_parts["ok_front"], *line_parts["def_front"]]
    chosen = paths[:8] if kind == "defect" else paths[8:]
    chosen += paths[8:12] if kind == "defect" else paths[:4]
    with InspectionLog(tmp_path / "few.db", "create") as log:
        inspected = Inspector(predictor, log).inspect(
            [Part(str(path), path.read_bytes()) for path in chosen]
        )
        for one, path in zip(inspected, chosen, strict=True):
            verdict = "ok" if path.parent.name == "ok_front" else "defect"
            log.add_disposition(one.id, verdict, "Huber")
    arguments = ["--from-log", tmp_path / "few.db", "--old", castings / "train"]
    arguments += ["--checkpoint", trained / "best.pth", "--models", tmp_path / "models"]
    with pytest.raises(UserError, match=f"4 usable photographs of {message}") as error:
        adapt.main([str(one) for one in arguments])
    assert error.value.exit_code == 2
    assert not (tmp_path / "models").exists()


def test_a_log_without_verdicts_is_one_line(castings, trained, tmp_path):
    InspectionLog(tmp_path / "new.db", "create").__exit__()
    with pytest.raises(UserError, match="holds no verdict of a person"):
        adapt.main(["--from-log", str(tmp_path / "new.db"), "--old", str(castings / "train"),
                    "--checkpoint", str(trained / "best.pth"),
                    "--models", str(tmp_path / "models")])  # fmt: skip


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_nothing_is_written_when_it_is_stopped(adapted, monkeypatch, tmp_path, error):
    def stopped(*args):
        raise error

    monkeypatch.setattr(task, "tuned", stopped)
    with pytest.raises(error):
        adapted()
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "named: nothing"),
        (["a", "--rollback"], "named: photographs and --rollback"),
        (["--from-log", "a.db"], "--from-log needs --old"),
        (["--from-log", "a.db", "--old", "b", "--out", "c.pth"], "--out does not go with"),
        (["--from-log", "a.db", "--old", "b", "--defects", "c"], "--defects does not go with"),
        (["--rollback", "--old", "b"], "--old does not go with --rollback"),
        (["a", "--pictures", "b"], "--pictures does not go with photographs"),
        (["a", "--models", "b"], "--models does not go with photographs"),
        (["--rollback", "--models", "nowhere"], "no such folder"),
    ],
)
def test_options_that_say_different_things_are_refused(arguments, message):
    with pytest.raises(UserError, match=message) as error:
        adapt.main(arguments)
    assert error.value.exit_code == 2
