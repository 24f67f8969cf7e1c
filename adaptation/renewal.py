"""From verdicts in a log to a model that takes the place of the one in use, or does not."""

import time
from dataclasses import dataclass
from pathlib import Path

from adaptation.comparing import compared, fresh, learned_before
from adaptation.promotion import Comparison
from adaptation.report import report_path
from adaptation.run import Adapted, fitted, load_parent, write
from adaptation.verdict_section import section_of
from adaptation.verdicts import Verdicts, print_verdicts, read_verdicts, task_of
from common.text import printable
from traceability.models import Models


@dataclass(frozen=True)
class Renewal:
    """How it ended."""

    sha256: str  # of the candidate
    parent: str  # SHA-256
    page: Path
    comparison: Comparison
    verdicts: Verdicts

    @property
    def promoted(self) -> bool:
        """Whether the candidate is in use now."""
        return not self.comparison.reasons


def renew(
    log: Path,
    pictures: Path | None,
    old: Path,
    models: Models,
    checkpoint: Path,
    threshold_only: bool = False,
    device: str | None = None,
) -> Renewal:
    """Make a candidate, compare it, and promote it or keep it aside; see adapt.py's options.

    Args:
        checkpoint: the model in use.

    Raises:
        UserError: no verdicts, too few, or a model that cannot be adapted; nothing is written.
    """
    started = time.perf_counter()
    parent = load_parent(checkpoint, device, threshold_only)
    verdicts = read_verdicts(log, pictures, parent.checkpoint)
    print_verdicts(verdicts)
    task = task_of(parent, verdicts, old, threshold_only)
    able = fresh(task)
    adapted = fitted(task, started)
    comparison = compared(adapted, able)
    remember(adapted, verdicts, comparison)
    write(models.candidate, adapted, section_of(models, parent.sha256, verdicts, comparison))
    if comparison.reasons:
        sha256 = models.refuse(parent.sha256, comparison.as_dict())
        kept = models.candidate
    else:
        sha256 = models.promote(checkpoint, parent.sha256, comparison.as_dict())
        kept = models.kept(sha256)
    return Renewal(sha256, parent.sha256, report_path(kept, "html"), comparison, verdicts)


def remember(adapted: Adapted, verdicts: Verdicts, comparison: Comparison) -> None:
    """Let the checkpoint know by which verdicts it was made, and how it compared."""
    adapted.checkpoint.adaptation |= {
        "verdicts": {
            "log": printable(verdicts.log.resolve()),
            "last": verdicts.last,
            "disagreements": [
                {
                    "file": printable(one.file),
                    "sha256": one.sha256,
                    "decision": one.decision,
                    "prob_defect": one.prob_defect,
                    "verdict": one.verdict,
                    "person": printable(one.person),
                }
                for one, _ in verdicts.disagreements
            ],
            "missing": len(verdicts.missing),
            "contradicted": sum(one.contradicted for one in verdicts.judged),
            "learned": sorted(learned_before(adapted.task.parent.checkpoint.adaptation)),
        },
        "comparison": comparison.as_dict(),
    }
