"""What logits say: class probabilities, the probability of a defect, the margin between both kinds.

Of any set of classes some are defects (`common.labels`); P(defect) is the sum over them. A network
with one output gives the logit of 'is a defect'.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from common.labels import is_defect


def logit_margin(logits: Tensor, defects: Tensor) -> Tensor:
    """Logit of the likeliest defect class minus that of the likeliest good one.

    Args:
        logits: (B, C, ...), or (B, 1, ...): then it is the margin itself.
        defects: bool (C,), on the device of the logits.
    """
    if logits.shape[1] == 1:
        return logits[:, 0]
    # Masked instead of selected: how many a mask selects, a GPU would have to be waited for.
    defects = defects.view(-1, *[1] * (logits.ndim - 2))
    bad, good = (logits.masked_fill(others, -torch.inf) for others in (~defects, defects))
    return bad.amax(1) - good.amax(1)


def class_probabilities(
    logits: Tensor, class_names: Sequence[str], temperature: float = 1.0
) -> Tensor:
    """Probabilities (B, C) in the order of `class_names`, from either head's logits, in float32."""
    return (class_logits(logits, class_names) / temperature).softmax(dim=1)


def class_logits(logits: Tensor, class_names: Sequence[str]) -> Tensor:
    """Logits (B, C) in float32 from either head: softmax of (z, 0) is the sigmoid of z."""
    logits = logits.float()
    if logits.shape[1] > 1:
        return logits
    pair = [logits, torch.zeros_like(logits)]  # of the defect, of the good part
    return torch.cat(pair if is_defect(class_names[0]) else pair[::-1], dim=1)


def defect_probability(probabilities: Tensor, class_names: Sequence[str]) -> Tensor:
    """Sum over the defect classes: (B, C) -> (B,)."""
    return probabilities[:, defect_flags(class_names).to(probabilities.device)].sum(dim=1)


def defect_flags(class_names: Sequence[str]) -> Tensor:
    """Bool (C,): which classes are defects."""
    return torch.tensor([is_defect(name) for name in class_names])


def defect_margin(logits: Tensor, class_names: Sequence[str]) -> Tensor:
    """Logit of the likeliest defect class minus that of the likeliest good one: (B, C) -> (B,)."""
    logits = class_logits(logits, class_names)
    return logit_margin(logits, defect_flags(class_names).to(logits.device))
