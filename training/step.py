"""One training step: forward, backward, optimiser; kernel by kernel, or recorded as a CUDA graph.

At batch 16 a GPU finishes each of ResNet-18's kernels sooner than Python launches the next one; a
CUDA graph launches all those of a step at once.
"""

import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from networks.classes import class_logits
from networks.losses import LocalLoss
from training.distributed import world_size

EAGER_STEPS = 3  # before recording: cuDNN chooses its algorithms, the optimiser makes its state


class TrainingStep:
    """Trains on one batch, or on this process's share of it, and returns its figures unread."""

    def __init__(
        self,
        network: nn.Module,
        loss: nn.Module,
        optimizer: torch.optim.Optimizer,
        autocast: Callable[[], AbstractContextManager],
        class_names: list[str],
    ):
        self.network, self.loss, self.optimizer = network, loss, optimizer
        self.autocast, self.class_names = autocast, class_names

    def __call__(self, images: Tensor, targets: Tensor, counted: int, batch_size: int) -> Tensor:
        """Float32 (2,) on the device: the sum of the losses, and the images classified right.

        Args:
            images, targets: (B, 1, S, S), or (B, 2, S, S) with the marks of synthetic defects, and
                (B,): this process's share.
            counted: B; or 0 where the share is empty and any image stands in for it.
            batch_size: images of all processes together.
        """
        loss, right = self.loss_and_right(images, targets)
        self.optimizer.zero_grad(set_to_none=True)
        # DistributedDataParallel averages over processes, whatever their shares.
        (loss * (counted * world_size() / batch_size)).backward()
        self.optimizer.step()
        return torch.stack([loss.detach() * counted, right * min(counted, 1)])

    def loss_and_right(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The mean loss of a batch, and how many of its images are classified right."""
        if isinstance(self.loss, LocalLoss):
            images, marks = images[:, :1], images[:, 1:]
            with self.autocast():
                maps = self.network(images, pool=False)
            loss, right = self.loss(maps, targets, marks)
            return loss, right.sum().float()
        with self.autocast():
            logits = self.network(images)
        loss = self.loss(logits.float(), targets)
        return loss, count_right(logits, targets, self.class_names)


class GraphedStep(TrainingStep):
    """The same on a GPU in one process, recorded once for each shape of a batch, then replayed."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.stream = torch.cuda.Stream()
        self.eager_steps, self.graphs = Counter(), {}  # by the images' shape

    def __call__(self, images: Tensor, targets: Tensor, counted: int, batch_size: int) -> Tensor:
        if self.eager_steps[images.shape] < EAGER_STEPS:
            self.eager_steps[images.shape] += 1
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream), warnings.catch_warnings():
                # The optimiser wonders at not being recorded yet.
                warnings.filterwarnings("ignore", message=".*capturable")
                figures = super().__call__(images, targets, counted, batch_size)
            torch.cuda.current_stream().wait_stream(self.stream)
            return figures
        if images.shape not in self.graphs:
            self.graphs[images.shape] = self._record(images, targets)
        graph, inputs, figures = self.graphs[images.shape]
        for recorded, new in zip(inputs, (images, targets), strict=True):
            recorded.copy_(new)
        graph.replay()
        return figures.clone()

    def _record(self, *batch: Tensor) -> tuple[torch.cuda.CUDAGraph, list[Tensor], Tensor]:
        """A graph with the tensors that it reads and writes; recording computes nothing."""
        inputs = [tensor.clone() for tensor in batch]
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, stream=self.stream):
            figures = super().__call__(*inputs, len(inputs[0]), len(inputs[0]))
        return graph, inputs, figures


def count_right(logits: Tensor, targets: Tensor, class_names: list[str]) -> Tensor:
    """How many images of a batch have their own class as the most probable one, float32 ()."""
    predicted = class_logits(logits.detach(), class_names).argmax(dim=1)
    return (predicted == targets).sum().float()
