"""ResNet-18 is torchvision's, weight for weight, without importing it."""

import subprocess
import sys

import pytest
import torch
from torchvision.models import resnet18

from common.files import ROOT
from networks.resnet import ResNet18


def test_it_is_drawn_as_torchvisions():
    torch.manual_seed(3)
    theirs = resnet18(weights=None, num_classes=7).state_dict()
    torch.manual_seed(3)
    ours = ResNet18(7).state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("training", [False, True])
def test_its_logits_are_torchvisions(training):
    ours, theirs = ResNet18(2).train(training), resnet18(num_classes=2).train(training)
    theirs.load_state_dict(ours.state_dict())
    images = torch.randn(2, 3, 75, 64)
    expected = theirs(images)
    assert torch.allclose(ours(images), expected, atol=1e-5 * expected.abs().max().item())


def test_no_program_waits_for_torchvision():
    code = "import sys, model, inspection.predictor; print('torchvision' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
