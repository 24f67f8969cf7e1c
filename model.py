"""The network, its weights and its checkpoint file.

A checkpoint is one file of tensors and plain values that loads with `weights_only=True`, so that
no file can run code, and a readable JSON beside it. Whatever a prediction depends on
(preprocessing, class order, threshold) is stored in it once and read from it everywhere.
"""

import hashlib
import io
import math
import urllib.error
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, resnet18
from torchvision.models.resnet import BasicBlock

from common.errors import UserError
from common.files import CHECKPOINTS, write_atomic, write_json
from common.labels import is_defect
from gate.limits import Limits
from networks.classes import defect_flags
from networks.features import Distance
from networks.grey_stem import GreyStem
from networks.local import LocalNetwork
from networks.winograd import WinogradConv2d

HEADS = ("softmax", "sigmoid")
CHECKPOINT_FORMAT = 4
# The oldest that can be read; a local network's threshold of format 2 was fitted without
# test-time augmentation. Up to format 3 there was no gate.
OLDEST_FORMAT = {"resnet18": 2, "local": 3}
NETWORKS = tuple(OLDEST_FORMAT)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
NO_IMAGENET = "ImageNet's weights do not fit --network local; use --weights none"
WEIGHTS_FILE = "resnet18-f37072fd.pth"  # torchvision's name of the ImageNet weights


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
            file: a state dict under torchvision's names, or one of our checkpoints.
        head: 'softmax' for CrossEntropyLoss, 'sigmoid' (one output: the defect) for BCE.
        mean, std: of ResNet-18's three channels, each grey image fills them alike.
        network: 'resnet18', or 'local', with logits for each cell (networks/local.py).
        defects: which classes are defects; for 'local'.

    Raises:
        UserError: weights that cannot be had, or do not fit.
    """
    if head not in HEADS:
        raise UserError(f"unknown head '{head}'; choose from {', '.join(HEADS)}")
    if head == "sigmoid" and num_classes != 2:
        raise UserError(f"--head sigmoid tells two classes apart, the data has {num_classes}")
    outputs = 1 if head == "sigmoid" else num_classes
    model = resnet18(weights=None) if network == "resnet18" else LocalNetwork(outputs, defects)
    if weights == "imagenet":
        if network == "local":
            raise UserError(NO_IMAGENET)
        model.load_state_dict(_imagenet_weights())
    elif weights != "none":
        _load_backbone(model, Path(weights), network)
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


def _imagenet_weights() -> dict[str, Tensor]:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    try:
        return ResNet18_Weights.DEFAULT.get_state_dict(
            progress=True, check_hash=True, weights_only=True
        )
    except (urllib.error.URLError, OSError) as error:
        raise UserError(
            f"the ImageNet weights cannot be downloaded ({error}); put {WEIGHTS_FILE} into {folder}"
            ", or train from random weights with --weights none"
        ) from error
    except Exception as error:  # a damaged or foreign file in the cache
        raise UserError(
            f"{folder / WEIGHTS_FILE} is not a weights file ({type(error).__name__}); remove it"
        ) from error


def _load_backbone(model: nn.Module, path: Path, network: str) -> None:
    """Everything but the last layer, whose classes may be others."""
    content = load_tensors(path)
    state = content.get("weights", content)
    name = "ResNet-18" if network == "resnet18" else "local network"
    if not isinstance(state, dict):
        raise UserError(f"{path} holds no {name}")
    own = model.state_dict()
    wanted = {key for key in own if not key.startswith("fc.")}
    missing = sorted(wanted - set(state))
    if missing:
        raise UserError(f"{path} holds no {name}: {missing[0]} and {len(missing) - 1} more missing")
    try:
        model.load_state_dict(own | {key: state[key] for key in wanted})
    except (RuntimeError, TypeError) as error:
        raise UserError(f"{path} holds no {name}: {str(error).splitlines()[-1].strip()}") from error


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

    def description(self) -> dict:
        """All but the tensors, as plain values for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "weights"}
        if self.gate:
            plain = {k: v for k, v in self.gate.items() if not isinstance(v, Tensor)}
            values["gate"] = plain
        return values

    @property
    def limits(self) -> Limits | None:
        """The gate's limits, where there is one."""
        return Limits.from_dict(self.gate["limits"]) if self.gate else None

    def distance(self) -> Distance | None:
        """The gate's distance from the training images, where there is one."""
        return Distance(self.gate["mean"], self.gate["whitening"]) if self.gate else None

    def check(self) -> None:
        """Raise ValueError or TypeError unless every value is one that a prediction can rest on."""
        if not all(isinstance(name, str) for name in self.class_names):
            raise TypeError("class names are not text")
        if {is_defect(name) for name in self.class_names} != {True, False}:
            raise ValueError("its classes are not good parts and defects")
        if not (isinstance(self.image_size_px, int) and self.image_size_px > 0):
            raise ValueError("its image size is no number of pixels")
        numbers = [self.threshold, self.temperature, *self.mean, *self.std]
        if len(self.mean) != 3 or len(self.std) != 3 or not all(map(math.isfinite, numbers)):
            raise ValueError("threshold, temperature, mean or std is no finite number")
        if self.gate is not None:
            Limits.from_dict(self.gate["limits"])

    def model(self) -> nn.Module:
        """The network with these weights, in evaluation mode, with its test-time augmentation."""
        model = build_model(
            len(self.class_names),
            "none",
            self.head,
            self.mean,
            self.std,
            self.architecture,
            defect_flags(self.class_names).tolist(),
        )
        model.load_state_dict(self.weights)
        if self.architecture == "local":
            model.test_time_augmentation = True
        return model.eval()


def with_logit_bias(checkpoint: Checkpoint, shift: float) -> dict[str, Tensor]:
    """Weights with which the logits of defects are larger by `shift`, all else being equal.

    An operating point's `logit_bias` is taken away: its shift is negative.
    """
    flags = defect_flags(checkpoint.class_names)
    more = torch.tensor([shift]) if checkpoint.head == "sigmoid" else shift * flags
    bias = checkpoint.weights["fc.bias"]
    return checkpoint.weights | {"fc.bias": bias + more.to(bias)}


def to_bytes(content: dict) -> bytes:
    """A dictionary of tensors and plain values as torch.save writes it."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint and, beside it, its description as JSON; each atomically."""
    content = asdict(checkpoint)
    data = to_bytes(content)
    write_atomic(path, data)
    identity = {"sha256": hashlib.sha256(data).hexdigest()}
    write_json(path.with_suffix(".json"), checkpoint.description() | identity)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint of this repository; nothing in the file is ever executed.

    Raises:
        UserError: missing, truncated, malicious or foreign file.
    """
    content = load_tensors(path)
    expected = {f.name for f in fields(Checkpoint)} - {"gate"}
    if not expected <= set(content):
        raise UserError(f"{path} is not a checkpoint of this repository; train.py writes best.pth")
    names = expected | ({"gate"} & set(content))
    checkpoint = Checkpoint(**{name: content[name] for name in names})
    oldest = OLDEST_FORMAT.get(str(checkpoint.architecture), CHECKPOINT_FORMAT + 1)
    if checkpoint.format not in range(oldest, CHECKPOINT_FORMAT + 1):
        known = (f"{name} from format {first} on" for name, first in OLDEST_FORMAT.items())
        raise UserError(
            f"{path} holds {checkpoint.architecture}, format {checkpoint.format}; this version "
            f"reads {' and '.join(known)}, up to {CHECKPOINT_FORMAT}: train it anew"
        )
    try:
        checkpoint.check()
        checkpoint.model()
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path} does not fit its own description: {error}".split("\n")[0]
        ) from error
    return checkpoint


def load_tensors(path: Path) -> dict:
    """A file of tensors and plain values; refuses whatever could run code.

    Raises:
        UserError: missing, damaged, unsafe, or not a dictionary.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:  # unpickling fails in many ways
        raise UserError(
            f"{path} is not a checkpoint, damaged, or unsafe to load ({type(error).__name__})"
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not a checkpoint of this repository: {type(content).__name__}")
    return content


def find_checkpoint(argument: Path | None = None) -> Path:
    """The checkpoint to use: `argument`, else the latest training's, the released, the demo's.

    Raises:
        UserError: there is none; the message says how to make one.
    """
    if argument is not None:
        if not argument.is_file():
            raise UserError(f"no such checkpoint: {argument}")
        return argument
    for name in ("best.pth", "released.pth", "demo/best.pth"):
        if (CHECKPOINTS / name).is_file():
            return CHECKPOINTS / name
    raise UserError(f"no checkpoint in {CHECKPOINTS}; make one with: python train.py, or make demo")
