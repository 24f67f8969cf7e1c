"""What the page works with: log, places, and the model as its file is now."""

import threading
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import UserError
from inspection.explanation import explainer_of
from inspection.heatmap import Explainer
from inspection.model_file import ModelFile
from inspection.pictures import KeptImages
from inspection.predictor import Predictor
from page.log import PageLog


@dataclass(frozen=True)
class Desk:
    """The model and the log that the page works with; one for all who look at it."""

    predictor: Predictor
    explainer: Explainer | None  # none for an ONNX file
    path: Path  # of the model
    log: PageLog
    station: str
    lot: str
    lock: threading.Lock  # around drawing and heatmaps, which several visitors may ask for at once

    @property
    def images(self) -> KeptImages:
        return KeptImages(self.log.path)


class DeskKeeper:
    """Holds the desk, and lays another model on it when the model's file is another one.

    Raises:
        UserError: there is no usable model.
    """

    def __init__(self, file: ModelFile, log: PageLog, station: str, lot: str):
        predictor = file.load()
        own = (log, station, lot, threading.Lock())
        self._desk = Desk(predictor, explainer_of(predictor), file.path, *own)
        self._file, self._turn = file, threading.Lock()
        self.refusal = ""  # why the file that lies there now is not used

    def desk(self) -> Desk:
        """The desk for one run of the page; all that this run shows is decided by its model."""
        with self._turn:
            if self._file.is_due():
                self._take_up()
            return self._desk

    def _take_up(self) -> None:
        try:
            new = self._file.reload(self._desk.predictor)
        except UserError as error:
            self.refusal = str(error)
        else:
            self.refusal = ""
            self._desk = replace(self._desk, predictor=new, explainer=explainer_of(new))
