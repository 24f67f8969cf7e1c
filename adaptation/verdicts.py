"""From an inspection log to photographs that persons decided on: found again, read, sorted out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from adaptation.earlier import read_earlier
from adaptation.photographs import (
    LEAST,
    MOST,
    Photograph,
    framing,
    read_photographs,
    refuse_few,
    sound,
)
from adaptation.scoring import drawn_on
from adaptation.task import DRAWN_SEED, Parent, Task
from common.errors import UserError, tell
from common.text import count_of, printable
from inspection.pictures import KeptImages
from model import Checkpoint
from traceability.log import InspectionLog
from traceability.verdicts import Judged, judged_photographs

LEAST_PARTS = 2  # good ones: one is left out while the other is learned
SHOWN = 20  # disagreements on a terminal


@dataclass(frozen=True)
class Verdicts:
    """What persons said of photographs (N,), what the model had said otherwise first."""

    log: Path
    last: int  # number of the log's last verdict
    judged: list[Judged]  # (N,)
    photographs: list[Photograph]  # (N,), in the same order
    missing: list[Judged]  # whose photographs are nowhere, or not what they were

    def of(self, verdict: str) -> list[Photograph]:
        """Those of one verdict, 'ok' or 'defect'."""
        pairs = zip(self.judged, self.photographs, strict=True)
        return [photograph for one, photograph in pairs if one.verdict == verdict]

    @property
    def disagreements(self) -> list[tuple[Judged, Photograph]]:
        """Where the model had said otherwise."""
        pairs = zip(self.judged, self.photographs, strict=True)
        return [pair for pair in pairs if pair[0].disagrees]

    def describe(self) -> str:
        """A line for people."""
        good, bad, other = len(self.of("ok")), len(self.of("defect")), len(self.disagreements)
        return (
            f"{count_of(len(self.judged), 'photograph')}: {good} good, {bad} defective; "
            f"{other or 'none'} where the model had said otherwise"
        )


def read_verdicts(log: Path, pictures: Path | None, checkpoint: Checkpoint) -> Verdicts:
    """The photographs of a log that persons decided on; says what is missing.

    Args:
        pictures: where photographs were kept, by SHA-256; by default beside the log.
        checkpoint: whose network is to take them.

    Raises:
        UserError: no log, no such folder, or no verdict.
    """
    if pictures and not pictures.is_dir():
        raise UserError(f"--pictures: no such folder: {pictures}")
    with InspectionLog(log) as opened:
        judged = judged_photographs(opened)
    if not judged:
        raise UserError(
            f"{log} holds no verdict of a person: decide on parts on the page (app.py), or with "
            "records.py verdict"
        )
    found, missing = located(judged, KeptImages(log, pictures))
    found = {one: found[one] for one in at_most(list(found))}
    photographs = read_photographs(list(found.values()), checkpoint)
    judged_once, once = without_copies(list(found), photographs)
    last = max(one.number for one in judged)
    verdicts = Verdicts(log, last, judged_once, once, missing)
    tell_missing(verdicts, pictures or KeptImages(log).folder)
    return verdicts


def located(judged: Sequence[Judged], kept: KeptImages) -> tuple[dict[Judged, Path], list[Judged]]:
    """The file of each photograph, and those that have none."""
    found, missing = {}, []
    for one in judged:
        place = None if one.status == "error" else kept.locate(one.sha256, one.file)
        if place is None:
            missing.append(one)
        else:
            found[one] = place[0]
    return found, missing


def at_most(judged: Sequence[Judged]) -> list[Judged]:
    """The first MOST of each verdict; says how many there are beyond."""
    seen, chosen = Counter(), []
    for one in judged:
        seen[one.verdict] += 1
        if seen[one.verdict] <= MOST:
            chosen.append(one)
    if beyond := len(judged) - len(chosen):
        tell(
            f"note: {count_of(beyond, 'verdict')} left out, for {MOST} of a kind are the most: "
            "where the model said otherwise, then the latest"
        )
    return chosen


def without_copies(
    judged: Sequence[Judged], photographs: Sequence[Photograph]
) -> tuple[list[Judged], list[Photograph]]:
    """Each picture once, by its latest verdict, under whatever name and SHA-256 it was inspected.

    Raises:
        UserError: a file was changed just now.
    """
    latest: dict[bytes, int] = {}
    contradicted = set()
    for index, (one, photograph) in enumerate(zip(judged, photographs, strict=True)):
        if photograph.sha256 != one.sha256:
            raise UserError(f"{printable(photograph.path)} was changed just now; run this again")
        other = latest.setdefault(photograph.contents, index)
        if judged[other].verdict != one.verdict:
            contradicted.add(photograph.contents)
        if one.number > judged[other].number:
            latest[photograph.contents] = index
    chosen = sorted(latest.values())
    kept = [photographs[index] for index in chosen]
    said = [
        replace(judged[i], contradicted=judged[i].contradicted or photographs[i].contents in
                contradicted)
        for i in chosen
    ]  # fmt: skip
    return said, kept


def tell_missing(verdicts: Verdicts, folder: Path) -> None:
    """Say which verdicts have no photograph, and where persons contradicted one another."""
    if missing := verdicts.missing:
        tell(
            f"note: {count_of(len(missing), 'verdict')} without a photograph, neither in "
            f"{printable(folder)} nor unchanged where it was inspected; first "
            f"{printable(missing[0].file)} (inspection {missing[0].inspection})"
        )
    if several := [one for one in verdicts.judged if one.contradicted]:
        tell(
            f"note: {count_of(len(several), 'photograph')} with verdicts that contradict one "
            f"another: the latest counts; first {printable(several[0].file)}: "
            f"{several[0].verdict} says {printable(several[0].person)}"
        )


def print_verdicts(verdicts: Verdicts) -> None:
    """What was found, what the model had said otherwise first."""
    print(f"verdicts {verdicts.describe()}")
    found = verdicts.disagreements
    for one, _ in found[:SHOWN]:
        print(f"         {printable(one.describe())}")
    if len(found) > SHOWN:
        print(f"         ... {len(found) - SHOWN} more")


def task_of(parent: Parent, verdicts: Verdicts, old: Path, threshold_only: bool) -> Task:
    """What to make the candidate of; says what was found.

    Raises:
        UserError: too few photographs of either kind.
    """
    checkpoint = parent.checkpoint
    good = sound(verdicts.of("ok"), checkpoint.limits)
    refuse_few(good)
    if good.count < LEAST_PARTS:
        raise UserError(
            f"all {len(good.photographs)} photographs of good parts show one part; of "
            f"{LEAST_PARTS} at least one can be left out to test"
        )
    print(f"good     {good.describe()}; {framing(good.photographs)}")
    defective = sound(verdicts.of("defect"), checkpoint.limits)
    if (count := len(defective.photographs)) < LEAST:
        raise UserError(
            f"{count_of(count, 'usable photograph')} of defective parts; at least {LEAST} are "
            "needed to tell whether a candidate finds defects"
        )
    print(f"defects  {defective.describe()}", flush=True)
    defective = replace(defective, parts=[f"defective {name}" for name in defective.parts])
    earlier = read_earlier(old, checkpoint)
    print(f"old      {earlier.describe()}", flush=True)
    drawn = drawn_on(good.pixels, good.parts, DRAWN_SEED)
    return Task(parent, good, defective, earlier, drawn, threshold_only, thorough=True)
