"""Batches: cut from the store by index, augmented as a whole, on the device.

Normalisation is the network's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from common.labels import is_defect
from dataset.augmentation import geometric_augmentation, photometric_augmentation
from dataset.listing import ImageRow
from dataset.synthetic_defects import with_synthetic_defects

DRAWN_AT_ONCE = 64  # images
# Contrast of the defects drawn to validate on, of that in training: real ones are harder to see.
# Placed by full ones, the decision of a model of good castings alone misses several times as many
# (docs/experiments.md, 2026-11-27).
FAINT = 0.5
DEVICE_SHARE = 0.5  # of a GPU's free memory may hold the store


@dataclass
class Batches:
    """Cuts batches out of a store, in an order that depends on seed and epoch alone.

    All randomness comes from generators seeded by (seed, epoch, step), so that a run continued in
    the middle of an epoch sees the very same batches as one that was never interrupted. Several
    processes share each batch: `rank` of `world_size` cuts its part, and only that.
    """

    pixels: Tensor  # uint8 (N, S, S), on the device when it fits there
    targets: Tensor  # int64 (N,), class indices, on the device
    batch_size: int
    device: torch.device
    augment: str = "none"
    shuffle: bool = False
    sampler: str = "image"
    epoch_size: int | None = None  # images in an epoch; None: all of them
    castings: Sequence[str] = ()  # (N,), names, for the samplers 'casting' and 'class'
    sessions: Sequence[str] = ()  # (N,), names, for the sampler 'class'
    kinds: Sequence[str] = ()  # (N,), class names, for the sampler 'kind'
    is_defect: Tensor | None = None  # bool (N,), for 'class', 'kind' and synthetic defects
    real_defects: float = 0.5  # share of photographs of defective parts, for 'class' and 'kind'
    synthetic_defects: float | None = None  # on which share of the good images
    drawn_where: str = "ring"  # see with_synthetic_defects
    seed: int = 0
    rank: int = 0
    world_size: int = 1

    @property
    def images(self) -> int:
        """Images in an epoch."""
        return self.epoch_size or len(self.targets)

    def __len__(self) -> int:
        return -(-self.images // self.batch_size)

    def epoch(self, epoch: int = 0, first_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `(images (B, 1, S, S) float32 in 0..1, targets (B,))` from `first_step` on.

        With synthetic defects, images are (B, 2, S, S): the second channel marks their pixels.

        A process without a share of a batch gets the batch's first image: it has to take part in
        the exchange of gradients.
        """
        # One copy an epoch: a GPU that is sent indices batch by batch has to wait for each.
        order = self.order(epoch)
        order_there, order = order.to(self.device), order.to(self.pixels.device)
        for step in range(first_step, len(self)):
            part = self.share(step)
            if part.start == part.stop:
                part = slice(step * self.batch_size, step * self.batch_size + 1)
            # (B, S, S) bytes travel, not floats: a quarter of the traffic
            images = unit_range(self.pixels[order[part]].to(self.device))
            if self.augment != "none" or self.synthetic_defects is not None:
                generator = seeded(self.seed, epoch, step + 1, self.rank, device=self.device)
                images = self.changed(images, order_there[part], generator)
            yield images, self.targets[order_there[part]]

    def changed(self, images: Tensor, which: Tensor, generator: torch.Generator) -> Tensor:
        """Images (B, 1, S, S), the `which` (B,) of the split, augmented, with synthetic defects."""
        images = geometric_augmentation(images, self.augment, generator)
        if self.synthetic_defects is None:
            return photometric_augmentation(images, self.augment, generator)
        wanted = torch.rand(len(which), generator=generator, device=self.device)
        chosen = (wanted < self.synthetic_defects) & ~self.is_defect[which]
        images, marks = with_synthetic_defects(images, chosen, generator, self.drawn_where)
        return torch.cat([photometric_augmentation(images, self.augment, generator), marks], dim=1)

    def share(self, step: int) -> slice:
        """Where in an epoch's order this process's share of a batch lies; it may be empty."""
        start, size = step * self.batch_size, self.size_of_batch(step)
        # Rounded up: the first process, whose BatchNorm statistics count, always has a share.
        first, last = (-(-size * rank // self.world_size) for rank in (self.rank, self.rank + 1))
        return slice(start + first, start + last)

    def size_of_batch(self, step: int) -> int:
        """Images of a batch, all processes' shares together."""
        return min(self.batch_size, self.images - step * self.batch_size)

    def order(self, epoch: int) -> Tensor:
        """The images of an epoch, as indices int64 (`images`,), in their order."""
        generator = seeded(self.seed, epoch)
        if self.sampler == "casting":
            return order_by_castings(self.castings, self.images, generator)
        if self.sampler in ("class", "kind"):
            defective = round(self.real_defects * self.images)
            parts = ((True, defective), (False, self.images - defective))
            groups = self.sessions if self.sampler == "class" else self.kinds
            return order_by_classes(self.castings, self.is_defect.cpu(), groups, parts, generator)
        count = len(self.targets)
        if not self.shuffle:
            return torch.arange(count)[: self.images]
        rounds = range(-(-self.images // count))
        order = [torch.randperm(count, generator=generator) for _ in rounds]
        return torch.cat(order)[: self.images]


def order_by_castings(castings: Sequence[str], images: int, generator: torch.Generator) -> Tensor:
    """Indices int64 (`images`,) in which each casting occurs equally often, give or take one.

    A round takes one image, any, of every casting, in random order.
    """
    names, casting, sizes = np.unique(np.array(castings), return_inverse=True, return_counts=True)
    rounds = -(-images // len(names))
    order = torch.cat([torch.randperm(len(names), generator=generator) for _ in range(rounds)])
    order = order[:images]
    by_casting = torch.from_numpy(np.argsort(casting, kind="stable"))  # its images, side by side
    size = torch.from_numpy(sizes)[order]
    start = torch.from_numpy(np.cumsum(sizes) - sizes)[order]
    # double: a float32 just below 1 times the size would round up to it
    nth = (torch.rand(images, generator=generator, dtype=torch.float64) * size).long()
    return by_casting[start + nth]


def order_by_classes(
    castings: Sequence[str],
    is_defect: Tensor,
    groups: Sequence[str],
    parts: Sequence[tuple[bool, int]],
    generator: torch.Generator,
) -> Tensor:
    """Indices int64 of as many images as `parts` says, `(is_defect, images)` of either class.

    Within a class each group, session or kind, occurs equally often, within a group each casting.
    """
    found = []
    for wanted, count in parts:
        members = torch.nonzero(is_defect == wanted).flatten()
        present = sorted({groups[index] for index in members.tolist()})
        for number, group in enumerate(present):
            chosen = [index for index in members.tolist() if groups[index] == group]
            # Shares of a count that does not divide differ by one
            share = (number + 1) * count // len(present) - number * count // len(present)
            if share == 0:
                continue
            order = order_by_castings([castings[index] for index in chosen], share, generator)
            found.append(torch.tensor(chosen)[order])
    order = torch.cat(found)
    return order[torch.randperm(len(order), generator=generator)]


def make_batches(
    store: np.ndarray,
    rows: Sequence[ImageRow],
    split: str,
    class_names: Sequence[str],
    device: torch.device,
    **options,
) -> Batches:
    """Batches of one split; the store goes to a GPU as a whole when it fits, else batch by batch.

    Raises:
        UserError: the split is empty.
    """
    indices = [i for i, row in enumerate(rows) if row.split == split]
    if not indices:
        raise UserError(f"the split '{split}' holds no image; look at split.csv")
    targets = torch.tensor([class_names.index(rows[i].label) for i in indices], device=device)
    options["castings"] = [rows[i].casting for i in indices]
    options["sessions"] = [rows[i].session for i in indices]
    options["kinds"] = [rows[i].label for i in indices]
    options["is_defect"] = torch.tensor([is_defect(rows[i].label) for i in indices], device=device)
    if device.type == "cuda" and _fits(len(indices) * store[0].size, device):
        pixels = torch.from_numpy(store[indices]).to(device)
        return Batches(pixels, targets, device=device, **options)
    return Batches(_Selection(store, np.asarray(indices)), targets, device=device, **options)


def with_drawn_copies(good: Batches, defective: int, where: str, seed: int = 0) -> Batches:
    """Images of good parts, and after them copies with faint drawn defects: what to validate on.

    Args:
        good: batches that are neither shuffled nor augmented.
        defective: the class index of the copies.
        where: as of `with_synthetic_defects`.
    """
    generator, copies, kept = seeded(seed), [], []
    plain = good.pixels[torch.arange(len(good.targets))].cpu()
    for start in range(0, len(plain), DRAWN_AT_ONCE):
        images = unit_range(plain[start : start + DRAWN_AT_ONCE])
        chosen = torch.ones(len(images), dtype=torch.bool)
        drawn, marks = with_synthetic_defects(images, chosen, generator, where)
        visible = marks.flatten(1).any(1)
        faint = torch.lerp(images, drawn, FAINT)
        copies.append((faint[visible, 0] * 255).round().byte())
        kept += (start + visible.nonzero().flatten()).tolist()
    targets = torch.full((len(kept),), defective, device=good.device)
    castings = [f"drawn on {good.castings[index] or index}" for index in kept]
    return replace(
        good,
        pixels=torch.cat([plain, *copies]).to(good.device),
        targets=torch.cat([good.targets, targets]),
        castings=[*good.castings, *castings],
        is_defect=torch.cat([good.is_defect, torch.ones_like(targets, dtype=torch.bool)]),
    )


class _Selection:
    """Rows of a memory-mapped store, read from disk when a batch asks for them."""

    device = torch.device("cpu")

    def __init__(self, store: np.ndarray, indices: np.ndarray):
        self.store, self.indices = store, indices

    def __getitem__(self, index: Tensor) -> Tensor:
        return torch.from_numpy(self.store[self.indices[index.numpy()]])


def _fits(size_bytes: int, device: torch.device) -> bool:
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return size_bytes < DEVICE_SHARE * free_bytes


def unit_range(grey: Tensor) -> Tensor:
    """Grey bytes (B, S, S) as floats (B, 1, S, S) in 0..1."""
    return grey.unsqueeze(1).float() / 255


def seeded(*numbers: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator on the device that uses its numbers; equal seeds repeat on equal devices."""
    # SeedSequence mixes neighbouring (seed, epoch, step) into unrelated streams
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
    return torch.Generator(device).manual_seed(seed & (2**63 - 1))
