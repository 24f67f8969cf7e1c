"""Batch normalisation folded into convolutions: the same numbers up to rounding, sooner.

In evaluation BatchNorm is a factor and a term for each channel, which the convolution before it can
take in. On a CPU that saves a pass over each map: a third of a local network's time for one part.
"""

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from networks.resnet import BasicBlock


def with_folded_batch_norm(model: nn.Module) -> nn.Module:
    """The network, in evaluation mode, changed in place; it can no longer be trained.

    ResNet-18's first layer stays as it is: GreyStem computes its kernels anew.
    """
    if type(model.conv1) is nn.Conv2d:
        _fold(model, "conv1", "bn1")
    for block in [module for module in model.modules() if isinstance(module, BasicBlock)]:
        _fold(block, "conv1", "bn1")
        _fold(block, "conv2", "bn2")
        if block.downsample is not None:
            _fold(block.downsample, "0", "1")
    return model


def _fold(parent: nn.Module, convolution: str, norm: str) -> None:
    folded = fuse_conv_bn_eval(getattr(parent, convolution), getattr(parent, norm))
    setattr(parent, convolution, folded)
    setattr(parent, norm, nn.Identity())
