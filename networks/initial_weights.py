"""Weights to begin with: torchvision's of ImageNet, or those in a file, of whatever program.

A file may be a state dict under torchvision's names, one of our checkpoints, or what other training
scripts save: a dictionary that holds the state dict, and names with something in front of them, as
`module.` by DataParallel, `_orig_mod.` by torch.compile, `model.` or `backbone.` by others.
"""

import urllib.error
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from common.errors import UserError
from networks.tensor_files import TORCHVISION_NAME, check_weights, load_tensors

WEIGHTS_FILE = "resnet18-f37072fd.pth"  # torchvision's name of the ImageNet weights
HOLDERS = ("weights", "state_dict", "model_state_dict", "model", "net")  # of a state dict


def imagenet_weights() -> dict[str, Tensor]:
    """ResNet-18's, from torchvision's cache folder or the network.

    Raises:
        UserError: they are neither there nor to be had.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_FILE
    try:
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            from torchvision.models import ResNet18_Weights

            digits = TORCHVISION_NAME.fullmatch(WEIGHTS_FILE)[1]
            torch.hub.download_url_to_file(ResNet18_Weights.DEFAULT.url, str(path), digits)
    except (urllib.error.URLError, OSError, RuntimeError) as error:  # the last: other bytes
        raise UserError(
            f"the ImageNet weights cannot be downloaded ({error}); put {WEIGHTS_FILE} into "
            f"{path.parent}, or train from random weights with --weights none"
        ) from error
    content, _ = load_tensors(path)
    return content


def load_backbone(model: nn.Module, path: Path, network: str) -> None:
    """Everything but the last layers, whose classes may be others.

    Raises:
        UserError: the file holds no such network.
    """
    state = state_dict_in(load_tensors(path)[0])
    name = "ResNet-18" if network == "resnet18" else f"{network} network"
    own = model.state_dict()
    wanted = sorted(key for key in own if not key.startswith("fc"))  # fc, fc3, fc4
    prefix = common_prefix(state, wanted)
    missing = [key for key in wanted if prefix + key not in state]
    if missing:
        raise UserError(f"{path} holds no {name}: {missing[0]} and {len(missing) - 1} more missing")
    chosen = {key: state[prefix + key] for key in wanted}
    try:
        check_weights(chosen)
        model.load_state_dict(own | chosen)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{path} holds no {name}: {str(error).splitlines()[-1].strip()}") from error


def state_dict_in(content: dict) -> dict:
    """The state dict that a file's content is, or holds under one of the usual names."""
    while held := [content[name] for name in HOLDERS if isinstance(content.get(name), dict)]:
        content = held[0]
    return {key: value for key, value in content.items() if isinstance(key, str)}


def common_prefix(names: Iterable[str], wanted: list[str]) -> str:
    """What stands before the wanted names: '' or the like of 'module.'."""
    last = wanted[-1]
    found = [name.removesuffix(last) for name in names if f".{name}".endswith(f".{last}")]
    return min(found, key=len, default="")
