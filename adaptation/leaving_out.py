"""Each part decided by a network that has not seen it, at a point that its scores did not place.

The other parts' scores, which place it, come from networks that have seen the part: to leave out
pairs of groups would take three times as long.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import nn

from adaptation.deciding import Scores, point_of
from adaptation.task import Task


@dataclass(frozen=True)
class HeldOut:
    """Scores of good (N,) and defective photographs (M,), and of drawn defects (D,).

    `groups`: of parts, by a network without which each was scored; empty where all were seen.
    """

    good: np.ndarray
    defective: np.ndarray
    drawn: np.ndarray
    groups: list[list[str]]


def scores_without_each(task: Task, network: nn.Module, progress: Callable[[int], None]) -> HeldOut:
    """Tune a network without each group of parts, and score the group by it.

    Args:
        network: tuned on all, for where a single part leaves none without.
    """
    if not task.groups or task.threshold_only:  # the parent has seen none of them
        everything = [*task.good.parts, *(task.defective.parts if task.defective else ())]
        found = _scored(task, [(everything, network)])
        return HeldOut(*found, task.groups)
    effort = task.effort_without
    pairs = [(group, task.network_without(group, effort, progress)) for group in task.groups]
    return HeldOut(*_scored(task, pairs), task.groups)


def _scored(task: Task, pairs: list[tuple[list[str], nn.Module]]) -> tuple[np.ndarray, ...]:
    """Good photographs, defective ones and drawn defects, each group by its network."""
    good, defective = task.good, task.defective
    scores = np.zeros(len(good.parts)), np.zeros(len(defective.parts) if defective else 0)
    drawn = np.zeros(len(task.drawn.photograph))
    for group, network in pairs:
        for material, found in zip((good, defective), scores, strict=True):
            own = np.flatnonzero(np.isin(material.parts, group)) if material else []
            if len(own):
                found[own] = task.parent.scores(network, material.pixels[own])
        own = np.isin(np.array(good.parts)[task.drawn.photograph], group)
        if own.any():
            drawn[own] = task.parent.scores(network, task.drawn.images[own])
    return *scores, drawn


def point_without(task: Task, held_out: HeldOut, group: list[str]) -> float:
    """Where to decide, by all parts but those of a group."""
    kept = ~np.isin(task.good.parts, group)
    drawn_parts = np.array(task.good.parts)[task.drawn.photograph]
    drawn = ~np.isin(drawn_parts, group)
    defective, names = held_out.drawn[drawn], [f"on {part}" for part in drawn_parts[drawn]]
    if task.defective:
        real = ~np.isin(task.defective.parts, group)
        defective = np.append(defective, held_out.defective[real])
        names += np.array(task.defective.parts)[real].tolist()
    parts = np.array(task.good.parts)[kept].tolist()
    scores = Scores(held_out.good[kept], parts, defective, names)
    return point_of(scores, task.parent.good_castings, task.threshold_only)


@dataclass(frozen=True)
class Decisions:
    """Which good (N,) and defective (M,) photographs are rejected, and at which point each group.

    Without groups there are no points, and the rest says nothing.
    """

    rejected: np.ndarray
    caught: np.ndarray
    points: list[float]


def decisions_without(task: Task, held_out: HeldOut) -> Decisions:
    """Each group decided at the point that the others place."""
    rejected, caught = np.zeros(len(held_out.good), bool), np.zeros(len(held_out.defective), bool)
    points = []
    for group in held_out.groups:
        points.append(point_without(task, held_out, group))
        own = np.isin(task.good.parts, group)
        rejected[own] = held_out.good[own] >= points[-1]
        if task.defective:
            own = np.isin(task.defective.parts, group)
            caught[own] = held_out.defective[own] >= points[-1]
    return Decisions(rejected, caught, points)
