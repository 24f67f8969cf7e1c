"""One file is the same input to the network on every way in: the very same bytes."""

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from dataset.listing import ImageRow
from dataset.store import open_store
from inspection.explanation import explain_images
from inspection.heatmap import Explainer
from inspection.origin import Origins
from inspection.predictor import load_predictor
from inspection.recording import Inspector, Part
from inspection.station import Station
from service.application import create_app
from service.runtime import ServiceSettings
from traceability.log import InspectionLog


@pytest.fixture
def seen(trained):
    """A predictor, and what its network is given."""
    predictor, given = load_predictor(trained / "best.pth", "cpu"), []
    network = predictor.network

    def noting(grey: torch.Tensor):
        given.append(grey.numpy().copy())
        return network(grey)

    predictor.network = noting
    return predictor, given


@pytest.fixture(params=["grey.png", "colour.jpeg", "turned.jpeg", "large.png"])
def photograph(request, paths, tmp_path):
    """A part as cameras and phones write it."""
    with Image.open(paths[0]) as image:
        part, exif = image.convert("L"), Image.Exif()
    exif[0x0112] = 6
    kind = request.param.split(".")[0]
    changed = {"large": lambda: part.resize((500, 480)), "colour": lambda: part.convert("RGB")}
    image = changed.get(kind, lambda: part)()
    (folder := tmp_path / "incoming").mkdir()
    image.save(folder / request.param, exif=exif if kind == "turned" else Image.Exif())
    return folder / request.param


def test_every_way_in_gives_the_network_the_same_bytes(seen, photograph, tmp_path):
    predictor, given = seen
    data = photograph.read_bytes()
    predictor.predict([photograph])
    predictor.predict([data])
    with InspectionLog(tmp_path / "a.db", "create") as log:
        Inspector(predictor, log).inspect([Part("page", data)])
    with InspectionLog(tmp_path / "b.db", "create") as log:
        station = Station(predictor, photograph.parent, log, "", Origins())
        while not station.tick():
            pass
    settings = ServiceSettings(log=tmp_path / "c.db")
    address = "http://127.0.0.1:8000"
    with TestClient(create_app(settings, predictor), base_url=address) as client:
        headers = {"Content-Type": "image/jpeg"}
        assert client.post("/v1/predict", content=data, headers=headers).status_code == 200
    with Image.open(photograph) as image:
        explain_images(predictor, Explainer(predictor.checkpoint, predictor.device), [image])
    size = predictor.checkpoint.image_size_px
    row = ImageRow(photograph.name, "ok", "test", sha256="-")
    stored = open_store(photograph.parent, [row], size, cache=False)
    assert len(given) == 6
    for grey in given:
        assert np.array_equal(grey, stored)
