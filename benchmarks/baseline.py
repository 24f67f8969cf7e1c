"""The reference loop as its users run it: what the speed of this repository is compared with.

Every epoch each image is opened, decoded, resized and normalised again, one by one; float32,
three channels, ResNet-18 as torchvision ships it. Only the benchmarks use this.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.models import resnet18

from model import IMAGENET_MEAN, IMAGENET_STD


def plain_transform(
    image_size_px: int,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
) -> transforms.Compose:
    """From an image to a normalised tensor (3, S, S)."""
    return transforms.Compose(
        [
            transforms.Resize((image_size_px, image_size_px)),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )


class CastingImages(Dataset):
    """Image files with their class indices, decoded when they are asked for."""

    def __init__(self, paths: Sequence[Path], targets: Sequence[int], image_size_px: int):
        self.paths, self.targets = paths, targets
        self.transform = plain_transform(image_size_px)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.open(self.paths[index]).convert("RGB")
        return self.transform(image), self.targets[index]


class PlainTraining:
    """The published recipe: Adam 1e-3, weight decay 1e-4, cross entropy, no augmentation."""

    def __init__(self, images: CastingImages, batch_size: int, workers: int, device: torch.device):
        self.device = device
        self.model = resnet18(num_classes=len(set(images.targets))).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, weight_decay=1e-4)
        self.loss = nn.CrossEntropyLoss()
        self.loader = DataLoader(
            images,
            batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=device.type == "cuda",
        )

    def train_one_epoch(self) -> None:
        """Train on every image once."""
        self.model.train()
        for images, targets in self.loader:
            images, targets = images.to(self.device), targets.to(self.device)
            self.optimizer.zero_grad()
            loss = self.loss(self.model(images), targets)
            loss.backward()
            self.optimizer.step()
            loss.item()  # users add it to the epoch's sum

    @torch.inference_mode()
    def accuracy(self, loader: DataLoader) -> float:
        """Share of the images of a loader that are classified right."""
        self.model.eval()
        right = 0
        for images, targets in loader:
            predicted = self.model(images.to(self.device)).argmax(dim=1).cpu()
            right += int((predicted == targets).sum())
        return right / len(loader.dataset)
