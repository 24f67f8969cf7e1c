"""The network, its weights and its checkpoint file.

A checkpoint is one file of tensors and plain values that loads with `weights_only=True`, so that
no file can run code, and a readable JSON beside it. Whatever a prediction depends on
(preprocessing, class order, threshold) is stored in it once and read from it everywhere.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from common.errors import UserError
from common.files import CHECKPOINTS, ROOT, read_json, write_atomic, write_json
from gate.limits import Limits
from imaging.framing import framed
from networks.classes import defect_flags
from networks.description import HEADS, NO_IMAGENET, check_description
from networks.features import Distance, check_distance
from networks.grey_stem import GreyStem
from networks.initial_weights import imagenet_weights, load_backbone
from networks.local import LocalNetwork
from networks.multiscale import UNUSUAL, MultiscaleNetwork, Unusual
from networks.resnet import BasicBlock, ResNet18
from networks.tensor_files import check_weights, load_tensors, to_bytes
from networks.winograd import WinogradConv2d

CHECKPOINT_FORMAT = 5
# The oldest that can be read; a local network's threshold and gate of formats 3 and 4 were fitted
# to means over four turns of the image. Up to format 3 there was no gate.
OLDEST_FORMAT = {"resnet18": 2, "local": 5, "multiscale": 5}
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LOCAL = {"local": LocalNetwork, "multiscale": MultiscaleNetwork}
OPTIONAL = {"gate", "fit", "adaptation"}  # of a checkpoint's fields: older files lack them


def build_model(
    num_classes: int,
    weights: str = "imagenet",
    head: str = "softmax",
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    network: str = "resnet18",
    defects: Sequence[bool] = (True, False),
) -> nn.Module:
    """A network for grey images (B, 1, S, S) in 0..1; returns logits (B, num_classes), or (B, 1).

    ResNet-18's weights have torchvision's names and shapes; its outputs are those of torchvision's
    on three equal, normalised channels, up to rounding, but faster.

    Args:
        num_classes: classes in the data; 'sigmoid' takes two only.
        weights: 'imagenet' (torchvision's, from its cache or the network), 'none' (random), or a
            file: see networks/initial_weights.py.
        head: 'softmax' for CrossEntropyLoss, 'sigmoid' (one output: the defect) for BCE.
        mean, std: of ResNet-18's three channels, each grey image fills them alike.
        network: 'resnet18', or one with logits for each cell: 'local' (networks/local.py), or
            'multiscale' (networks/multiscale.py).
        defects: which classes are defects; for the latter two.

    Raises:
        UserError: weights that cannot be had, or do not fit.
    """
    if head not in HEADS:
        raise UserError(f"unknown head '{head}'; choose from {', '.join(HEADS)}")
    if head == "sigmoid" and num_classes != 2:
        raise UserError(f"--head sigmoid tells two classes apart, the data has {num_classes}")
    outputs = 1 if head == "sigmoid" else num_classes
    model = ResNet18() if network == "resnet18" else LOCAL[network](outputs, defects)
    if weights == "imagenet":
        if network in LOCAL:
            raise UserError(NO_IMAGENET)
        model.load_state_dict(imagenet_weights())
    elif weights != "none":
        load_backbone(model, Path(weights), network)
    if network == "resnet18":
        model.fc = nn.Linear(model.fc.in_features, outputs)
        stem = GreyStem(mean, std)
        stem.load_state_dict(model.conv1.state_dict())
        model.conv1 = stem
    return _for_speed(model).to(memory_format=torch.channels_last)


def _for_speed(model: nn.Module) -> nn.Module:
    """The same network with faster layers under the same names."""
    for block in [block for block in model.modules() if isinstance(block, BasicBlock)]:
        for name in ("conv1", "conv2"):
            plain = getattr(block, name)
            if plain.stride == (1, 1):
                faster = WinogradConv2d(plain.in_channels, plain.out_channels)
                faster.load_state_dict(plain.state_dict())
                setattr(block, name, faster)
    return model


# --- checkpoints ---------------------------------------------------------------------------------


@dataclass
class Checkpoint:
    """A trained model and everything that its predictions depend on."""

    weights: dict[str, Tensor] = field(repr=False)
    head: str
    class_names: list[str]
    image_size_px: int
    mean: list[float]
    std: list[float]
    threshold: float  # a part is rejected when its defect probability is at least this
    temperature: float
    protocol: str
    fold: int | None
    epoch: int  # counted from 1
    validation: dict[str, float]
    training: dict  # the resolved options of train.py
    data: str  # what reports call the data, e.g. 'synthetic castings'
    split_sha256: str
    torch_version: str
    operating_point: dict | None = None  # how threshold and temperature came about, once fitted
    architecture: str = "resnet18"  # one of NETWORKS
    format: int = CHECKPOINT_FORMAT
    # What it can be asked about (folder gate): 'limits', plain values, and of the features of
    # training images 'mean' (D,) and 'whitening' (D, D). None: it judges every picture.
    gate: dict | None = None
    fit: str = "stretch"  # one of FITS: how a photograph becomes a square
    # How it was made from another one (folder adaptation): that one's SHA-256, the photographs with
    # theirs, and figures, all plain values. None: train.py made it.
    adaptation: dict | None = None

    def description(self) -> dict:
        """All but the tensors, as plain values for JSON; a lineage, and a letterbox, if any."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "weights"}
        if self.gate:
            plain = {k: v for k, v in self.gate.items() if not isinstance(v, Tensor)}
            values["gate"] = plain
        if self.adaptation is None:  # as of most
            del values["adaptation"]
        if self.fit == "stretch":
            del values["fit"]
        return values

    def framed(self, image: Image.Image) -> np.ndarray:
        """An image as the network takes it, uint8 (S, S)."""
        return framed(image, self.image_size_px, self.fit)

    @property
    def limits(self) -> Limits | None:
        """The gate's limits, where there is one."""
        return Limits.from_dict(self.gate["limits"]) if self.gate else None

    def distance(self) -> Distance | None:
        """The gate's distance from the training images, where there is one."""
        return Distance(self.gate["mean"], self.gate["whitening"]) if self.gate else None

    def check(self) -> None:
        """Raise ValueError unless every value is one that a prediction can rest on."""
        check_description(self.description())
        check_weights(self.weights)
        if self.gate is not None:
            Limits.from_dict(self.gate["limits"])
            if self.weights:  # an exported model has them in its graph
                check_distance(self.gate["mean"], self.gate["whitening"], self.architecture)

    def model(self) -> nn.Module:
        """The network with these weights, in evaluation mode."""
        model = build_model(
            len(self.class_names),
            "none",
            self.head,
            self.mean,
            self.std,
            self.architecture,
            defect_flags(self.class_names).tolist(),
        )
        if any(name.startswith(UNUSUAL) for name in self.weights):
            model.unusual = Unusual()
        model.load_state_dict(self.weights)
        return model.eval()


def with_logit_bias(checkpoint: Checkpoint, shift: float) -> dict[str, Tensor]:
    """Weights with which the logits of defects are larger by `shift`, all else being equal.

    An operating point's `logit_bias` is taken away: its shift is negative.
    """
    flags = defect_flags(checkpoint.class_names)
    more = torch.tensor([shift]) if checkpoint.head == "sigmoid" else shift * flags
    bias = checkpoint.weights["fc.bias"]
    return checkpoint.weights | {"fc.bias": bias + more.to(bias)}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint and, beside it, its description as JSON; each atomically.

    A crash at any moment leaves no description, or the right one, beside either checkpoint.
    """
    data, description = to_bytes(asdict(checkpoint)), path.with_suffix(".json")
    write_atomic(path, data, outdated=description)
    identity = {"sha256": hashlib.sha256(data).hexdigest()}
    write_json(description, checkpoint.description() | identity)


def sha256_of(checkpoint: Checkpoint) -> str:
    """The SHA-256 of the file that `save_checkpoint` makes of it."""
    return hashlib.sha256(to_bytes(asdict(checkpoint))).hexdigest()


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of this repository; nothing in the file is ever executed.

    Raises:
        UserError: missing, truncated, damaged, malicious or foreign file, or one that the JSON
            beside it does not describe.
    """
    return load_identified(path)[0]


def load_identified(path: Path) -> tuple[Checkpoint, str]:
    """A checkpoint, as `load_checkpoint` does, and the SHA-256 of the bytes that it was read from.

    Raises:
        UserError: as there.
    """
    content, sha256 = load_tensors(path)
    if described_sha256(path) not in (None, sha256):
        content, sha256 = load_tensors(path)  # a training may have replaced both just now
    if described_sha256(path) not in (None, sha256):
        raise UserError(
            f"{path} is not the file that {path.with_suffix('.json')} describes: one of them is "
            "damaged or was replaced; put both back from where they came, or train again"
        )
    return checkpoint_from(content, path), sha256


def described_sha256(path: Path) -> str | None:
    """What the JSON beside a checkpoint says its SHA-256 is; None without a JSON.

    Raises:
        UserError: it is damaged.
    """
    description = path.with_suffix(".json")
    if not description.is_file():
        return None
    return str(read_json(description).get("sha256"))


def checkpoint_from(content: dict, path: Path) -> Checkpoint:
    """The checkpoint that the content of a file holds.

    Raises:
        UserError: it is none, or holds values that no prediction can rest on.
    """
    expected = {f.name for f in fields(Checkpoint)} - OPTIONAL
    if not expected <= set(content):
        raise UserError(f"{path} is not a checkpoint of this repository; train.py writes best.pth")
    names = expected | (OPTIONAL & set(content))
    checkpoint = Checkpoint(**{name: content[name] for name in names})
    oldest = OLDEST_FORMAT.get(str(checkpoint.architecture), CHECKPOINT_FORMAT + 1)
    if checkpoint.format not in range(oldest, CHECKPOINT_FORMAT + 1):
        known = [f"{name} from format {first} on" for name, first in OLDEST_FORMAT.items()]
        raise UserError(
            f"{path} holds {checkpoint.architecture}, format {checkpoint.format}; this version "
            f"reads {', '.join(known)}, up to {CHECKPOINT_FORMAT}: train it anew"
        )
    try:
        checkpoint.check()
        checkpoint.model()
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError) as error:
        reason = str(error).splitlines()[-1].strip()
        if isinstance(error, LookupError):
            reason = f"{reason} is missing"
        raise UserError(f"{path} does not fit its own description: {reason}") from error
    return checkpoint


def find_checkpoint(argument: Path | None = None) -> Path:
    """The checkpoint to use: `argument`, else the latest training's, the released, the demo's.

    In checkpoints/ of the present folder, else in the repository's.

    Raises:
        UserError: there is none; the message says how to make one.
    """
    if argument is not None:
        if not argument.is_file():
            raise UserError(f"no such checkpoint: {argument}")
        return argument
    for folder in (CHECKPOINTS, ROOT / CHECKPOINTS):
        for name in ("best.pth", "released.pth", "demo/best.pth"):
            if (folder / name).is_file():
                return folder / name
    raise UserError(f"no checkpoint in {CHECKPOINTS}; make one with: python train.py, or make demo")
