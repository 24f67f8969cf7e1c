"""Which photographs show the same physical casting, recognised by the skin of its ring.

No two castings have the same tooling marks, stains and grain. The ring around the hub is unwrapped
to polar coordinates, where shear and zoom vanish, a rotation is a shift and a mirroring a reversal;
light is removed; two photographs match by the largest normalised cross-correlation of their rings
over all rotations, both mirrorings and small radial shifts. On the real set that score has two
humps, 0.05 to 0.5 for different castings and 0.65 to 1 for the same one, with a valley between.

Turning marks repeat themselves around the ring, and are alike on castings of one lathe. Hence two
more rules. Harmonics of the angle that tower above their neighbours are cut down. And the score has
to stand out from that of the best other position (as in D. Lowe, Distinctive Image Features from
Scale-Invariant Keypoints, 2004, section 7.1): rings with marks alike match nearly as well when
turned on to the next mark, photographs of one casting in one position alone.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from dataset.hubs import ANGLES, NoHubError, contrast, find_hubs, unwrapped

RING = (1.05, 1.9)  # of the hub's half axes: its rim, the groove, the face, the outer edge
RADII = 64
LIGHT_WINDOW = (9, 25)  # radii x angles over which light is taken to be even
LOWEST_HARMONIC, HARMONICS = 6, 128  # of the angle: below is light, above is noise
NEIGHBOURING, TOWERING = 10, 1.5  # harmonics either way, and times their median energy
RADIAL_SHIFTS = 2  # either way, in steps of two radii: the hub's ellipse is that uncertain
CANDIDATES = 100
AT_ONCE = 16  # images: more leave the cache of a core, and reading rings takes twice as long
SAME_CASTING = 0.65  # score from which two photographs show the same casting
STANDS_OUT = 0.4  # if it is larger by this than that of the best other position
PEAK = 12  # angles either way that belong to one position


@dataclass(frozen=True)
class Castings:
    """Who looks like whom: for each of N images its C likeliest partners and their scores."""

    partners: np.ndarray  # int32 (N, C), indices of images
    scores: np.ndarray  # float32 (N, C), correlation of the rings
    elsewhere: np.ndarray  # float32 (N, C), their correlation in the best other position
    # float32 (N,), grey of the face minus that of the ground; empty where only rings are known
    contrasts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    def groups(self, threshold: float = SAME_CASTING) -> np.ndarray:
        """The casting of each image, int (N,), numbered in order of first appearance.

        Castings are the connected components of 'matches at the threshold, and stands out'.
        """
        return components(*self.matches(threshold), len(self.partners))

    def matches(self, threshold: float = SAME_CASTING) -> tuple[np.ndarray, np.ndarray]:
        """Images and partners, int (M,), that show the same casting."""
        same = (self.scores >= threshold) & (self.scores - self.elsewhere >= STANDS_OUT)
        image, column = np.nonzero(same)
        return image, self.partners[image, column]

    def best_match(self, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each image its best partner `among` the chosen ones, bool (N,): index and score.

        The index is -1 and the score 0 where none of them is a partner.
        """
        scores = np.where(among[self.partners], self.scores, -1.0)
        best = scores.argmax(axis=1)[:, None]
        score = np.take_along_axis(scores, best, axis=1)[:, 0]
        partner = np.take_along_axis(self.partners, best, axis=1)[:, 0]
        return np.where(score >= 0, partner, -1), np.maximum(score, 0)


def fingerprint(
    batches: Iterable[np.ndarray], progress: Callable[[int, str], None] = lambda done, what: None
) -> Castings:
    """Compare the rings of all images, given as batches uint8 (B, 300, 300) of any B.

    `progress(images, what)` is called as images pass each stage.

    Raises:
        NoHubError: images without a hub, all of them.
    """
    spectra, contrasts = read_rings(batches, progress)
    return replace(match(spectra, progress), contrasts=contrasts.numpy())


def read_rings(
    batches: Iterable[np.ndarray], progress: Callable[[int, str], None] = lambda done, what: None
) -> tuple[Tensor, Tensor]:
    """The `ring_spectra` and contrasts (N,) of all images, given as `fingerprint` takes them.

    Needs 32 kB an image.

    Raises:
        NoHubError: images without a hub, all of them.
    """
    spectra, contrasts, missing, count = [], [], [], 0
    for images in (piece for batch in batches for piece in _pieces(batch)):
        hubs = find_hubs(images)
        missing += [count + i for i, hub in enumerate(hubs) if hub is None]
        if not missing:
            found = torch.from_numpy(np.stack(hubs))
            spectra.append(ring_spectra(images, found))
            contrasts.append(contrast(images, found))
        count += len(images)
        progress(len(images), "recognising castings")
    if missing:
        raise NoHubError(missing)
    return torch.cat(spectra), torch.cat(contrasts)


def _pieces(batch: np.ndarray) -> list[np.ndarray]:
    return np.split(batch, range(AT_ONCE, len(batch), AT_ONCE))


def ring_spectra(images: np.ndarray, hubs: Tensor) -> Tensor:
    """Angular spectra complex64 (B, K, R) of the unwrapped rings, light removed, of unit norm.

    Args:
        images: uint8 (B, S, S).
        hubs: float32 (B, 3, 2) as `find_hubs` gives them.
    """
    ring = unwrapped(images, hubs, RING, (RADII, ANGLES))[0].unsqueeze(1)
    mean = _local_mean(ring)
    deviation = (_local_mean(ring * ring) - mean * mean).clamp_min(0).sqrt()
    skin = ((ring - mean) / (deviation + 4 / 255)).clamp(-4, 4)  # 4 grey levels: even metal
    window = torch.hann_window(RADII + 2, periodic=False)[1:-1].sqrt().view(1, 1, -1, 1)
    skin = avg_pool2d(skin * window, (2, 1))[:, 0]  # two radii in one
    spectrum = torch.fft.rfft(skin)[..., :HARMONICS].mT.contiguous()
    spectrum[:, :LOWEST_HARMONIC] = 0
    spectrum[:, LOWEST_HARMONIC:] *= _without_towers(spectrum[:, LOWEST_HARMONIC:])
    # An image without any skin, all black say, is like none; NaN would spoil all others.
    norm = torch.linalg.vector_norm(spectrum, dim=(1, 2), keepdim=True)
    return spectrum / norm.clamp_min(1e-12)


def _without_towers(spectrum: Tensor) -> Tensor:
    """Factors (B, K, 1), 1 at most, for harmonics complex64 (B, K, R) that marks have raised."""
    energy = spectrum.abs().square().sum(2)  # (B, K)
    wide = pad(energy.unsqueeze(1), (NEIGHBOURING, NEIGHBOURING), mode="replicate")
    usual = wide[:, 0].unfold(1, 2 * NEIGHBOURING + 1, 1).median(dim=2).values
    return (TOWERING * usual / energy.clamp_min(1e-12)).clamp(max=1).sqrt().unsqueeze(2)


def _local_mean(ring: Tensor) -> Tensor:
    """Mean over LIGHT_WINDOW; the angle goes round, the outermost radii are repeated."""
    radii, angles = LIGHT_WINDOW
    wide = pad(ring, (angles // 2, angles // 2, 0, 0), mode="circular")
    wide = avg_pool2d(wide, (1, angles), stride=1)
    wide = pad(wide, (0, 0, radii // 2, radii // 2), mode="replicate")
    return avg_pool2d(wide, (radii, 1), stride=1)


def components(images: np.ndarray, partners: np.ndarray, count: int) -> np.ndarray:
    """Connected components int (count,), numbered in order of first appearance.

    Args:
        images, partners: int (M,), which of the `count` nodes are linked.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    links = coo_matrix((np.ones(len(images), bool), (images, partners)), shape=(count, count))
    _, labels = connected_components(links, directed=False)
    _, first, labels = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[labels]


def match(
    spectra: Tensor,
    progress: Callable[[int, str], None] = lambda done, what: None,
    first: int = 0,
) -> Castings:
    """Score images against their likeliest partners among all.

    Args:
        spectra: complex64 (N, K, R) of unit norm.
        first: the images from this one on get partners, the others only are some.
    """
    partners = candidates(spectra)[first:]
    scores, elsewhere = torch.empty(2, *partners.shape)
    for index, chosen in enumerate(partners):
        found = correlations(spectra[first + index], spectra[chosen])
        scores[index], elsewhere[index] = best_positions(found)
        progress(1, "comparing castings")
    return Castings(partners.int().numpy(), scores.numpy(), elsewhere.numpy())


def candidates(spectra: Tensor) -> Tensor:
    """Nearest neighbours int64 (N, C) by magnitude, which rotation and mirroring do not change."""
    count = len(spectra)
    magnitude = avg_pool2d(spectra.abs().unsqueeze(1), (1, 4), stride=(1, 2)).flatten(1)
    magnitude -= magnitude.mean(dim=0)
    magnitude /= torch.linalg.vector_norm(magnitude, dim=1, keepdim=True).clamp_min(1e-12)
    found = []
    for block in torch.arange(count).split(512):
        likeness = magnitude[block] @ magnitude.T
        likeness[torch.arange(len(block)), block] = -torch.inf  # not oneself
        found.append(likeness.topk(min(CANDIDATES, count - 1)).indices)
    return torch.cat(found)


def best_positions(correlations: Tensor) -> tuple[Tensor, Tensor]:
    """Largest correlation (C,) over all movements (C, moves, A), and that in any other position.

    A position is an angle and a mirroring; PEAK angles beside it are the same, whatever the shift.
    """
    by_position = torch.stack([half.amax(1) for half in correlations.chunk(2, dim=1)], dim=1)
    best, where = by_position.flatten(1).max(dim=1)
    mirroring, angle = where // ANGLES, where % ANGLES
    near = (angle.view(-1, 1) + torch.arange(-PEAK + 1, PEAK)) % ANGLES  # (C, 2 PEAK - 1)
    same = (mirroring * ANGLES).view(-1, 1) + near
    return best, by_position.flatten(1).scatter(1, same, -torch.inf).amax(1)


def correlations(ring: Tensor, others: Tensor) -> Tensor:
    """Correlations (C, moves, A) of one ring (K, R) with others (C, K, R) by movement and angle.

    The first half of the moves mirrors, the second does not; within each the radius is shifted.
    By the correlation theorem the product of two spectra, one of them conjugated, holds the
    correlations for all rotations; without the conjugation one of the two is mirrored.
    """
    shifts = range(-RADIAL_SHIFTS, RADIAL_SHIFTS + 1)
    wide = pad(torch.view_as_real(ring), (0, 0, RADIAL_SHIFTS, RADIAL_SHIFTS))
    wide = torch.view_as_complex(wide)
    moved = torch.stack([wide.narrow(1, RADIAL_SHIFTS + s, ring.shape[1]) for s in shifts], dim=1)
    both = torch.cat([moved, moved.conj()], dim=1)  # (K, moves, R)
    product = torch.bmm(both, others.permute(1, 2, 0))  # (K, moves, C)
    by_angle = torch.fft.irfft(product.permute(2, 1, 0), n=ANGLES)  # (C, moves, A)
    return by_angle * (ANGLES / 2)


def alignment(image: np.ndarray, other: np.ndarray) -> tuple[float, np.ndarray]:
    """How two photographs uint8 (S, S) of one casting lie: score, and the movement (2, 3).

    The movement takes a point (x, y, 1) of `image` to the same spot of the casting in `other`.

    Raises:
        NoHubError: one of them shows no hub.
    """
    pair = np.stack([image, other])
    hubs = find_hubs(pair)
    if missing := [i for i, hub in enumerate(hubs) if hub is None]:
        raise NoHubError(missing)
    spectra = ring_spectra(pair, torch.from_numpy(np.stack(hubs)))
    found = correlations(spectra[0], spectra[1:])[0]
    move, angle = divmod(int(found.argmax()), ANGLES)
    turn = angle * 2 * np.pi / ANGLES
    mirror = -1 if move < len(found) // 2 else 1
    cos, sin = np.cos(turn), np.sin(turn)
    turned = np.array([[cos, -mirror * sin], [sin, mirror * cos]])
    (centre, *axes), (other_centre, *other_axes) = hubs
    linear = np.array(other_axes) @ turned @ np.linalg.inv(np.array(axes))
    return float(found.max()), np.column_stack([linear, other_centre - linear @ centre])
