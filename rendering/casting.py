"""Draw one photograph of one casting, seen from above, good or with defects, and the defects' mask.

Ground, turned flange, eye with vanes, hub and bore are laid over one another as a lamp from the
side shows them; the casting's own texture, nicks and stains come from its key alone.
All lengths are pixels of a 300 px image; other image sizes scale the whole scene.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from rendering.options import DEFECT_SIZES, SIZE_RANGES_PX

# Edges of the part, from the axis outwards, measured on the real photographs.
RADII_PX = {"bore": 28.0, "hub": 36.0, "eye": 69.0, "rim": 77.0, "groove": 80.0, "outer": 122.0}
VANES = 6
CANVAS = 1.16  # a photograph is rendered this much larger than an image, for shifts and rotations


@dataclass(frozen=True)
class Casting:
    """One physical part. Its key seeds everything about it, so it never depends on other parts."""

    name: str
    key: tuple[int, ...]
    types: tuple[str, ...] = ()
    sizes: tuple[str, ...] = DEFECT_SIZES

    def random(self, *purpose: int) -> np.random.Generator:
        """A generator of its own for each purpose: a defect more must not shift the texture."""
        return np.random.default_rng([*self.key, *purpose])


GEOMETRY, TEXTURE, FLAWS, PHOTO, COPY, DEFECT = range(6)


def direction(angle: float) -> np.ndarray:
    """Unit vector (2,); float32, so that images stay float32 and fast."""
    return np.array([np.cos(angle), np.sin(angle)], np.float32)


def coverage(distance: np.ndarray, soft: float) -> np.ndarray:
    """0..1 from the signed distance to an edge (negative inside); smooth, so that it resamples."""
    share = np.clip(0.5 - distance * (1 / soft), 0, 1)
    return share * share * (3 - 2 * share)


class Scene:
    """One photograph in the making: grey levels (H, W) float32, mask (H, W), coordinates in px."""

    def __init__(self, casting: Casting, photo: int, image_size_px: int):
        random = casting.random(PHOTO, photo)
        geometry = casting.random(GEOMETRY)
        self.pitch = 300 / image_size_px
        self.soft = max(3.6, 1.2 * self.pitch)  # width of an edge; a pixel when pixels are coarse
        self.radius = {name: r * geometry.uniform(0.985, 1.015) for name, r in RADII_PX.items()}
        scale = geometry.uniform(0.98, 1.015)
        self.turn = random.uniform(0, 2 * np.pi)
        self.light = random.uniform(0, 2 * np.pi)
        side = round(image_size_px * CANVAS)
        middle = (side - 1) / 2
        y, x = (np.arange(side, dtype=np.float32) - middle)[:, None] * self.pitch, None
        x = y.T
        # The camera looks slightly aslant: circles become ellipses of axis ratio 0.92 to 1.
        axis, ratio = random.uniform(0, np.pi), random.uniform(0.92, 1.0)
        turned = np.array([[np.cos(axis), np.sin(axis)], [-np.sin(axis), np.cos(axis)]])
        view = turned.T @ np.diag([1 / ratio, 1.0]) @ turned / scale
        self.u = (view[0, 0] * x + view[0, 1] * y).astype(np.float32)
        self.v = (view[1, 0] * x + view[1, 1] * y).astype(np.float32)
        self.to_pixels, self.middle = np.linalg.inv(view) / self.pitch, middle
        # The rim was cast a little off the axis; the camera adds some parallax to that.
        self.rim_shift = geometry.uniform(0.6, 2.4) * direction(
            self.turn + geometry.uniform(0, 2 * np.pi)
        ) + random.uniform(0, 0.4) * direction(random.uniform(0, 2 * np.pi))
        self.hub_shift = self.rim_shift * 0.3 + geometry.uniform(-1, 1, 2).astype(np.float32)
        self.r, self.theta = np.hypot(self.u, self.v), np.arctan2(self.v, self.u)
        lamp = direction(self.light)
        self.towards_light = self.u * lamp[0] + self.v * lamp[1]
        self.lit = self.towards_light / np.maximum(self.r, 1)  # cosine of angle to the lamp
        self.grey = np.zeros((side, side), np.float32)
        self.mask = np.zeros((side, side), bool)

    def paint(self, alpha: np.ndarray, value: np.ndarray | float) -> None:
        """Lay grey levels over the scene."""
        self.grey += alpha * (value - self.grey)

    def disc(self, radius: float, shift: np.ndarray, value: np.ndarray | float) -> None:
        """Lay a disc over the scene, its centre shifted from the axis of the flange."""
        distance = np.hypot(self.u - shift[0], self.v - shift[1]) - radius
        self.paint(coverage(distance, self.soft), value)


def angular_light(light: float, random: np.random.Generator, bins: int = 720) -> np.ndarray:
    """Gloss of a turned face by angle (bins,), about -1..1: a bow tie with a few hard steps.

    Grooves reflect a lamp only where they lie across its direction, hence two bright sectors.
    """
    angle = np.linspace(0, 2 * np.pi, bins, endpoint=False)
    gloss = 0.5 * np.cos(2 * (angle - light)) + 0.3 * np.cos(angle - light)
    for _ in range(random.integers(3, 7)):
        off = np.abs(np.angle(np.exp(1j * (angle - random.uniform(0, 2 * np.pi)))))
        half, edge = random.uniform(0.1, 0.6), random.uniform(0.03, 0.15)
        gloss += random.choice([-0.4, 0.5]) / (1 + np.exp(np.clip((off - half) / edge, -30, 30)))
    return (gloss + 0.06 * smooth_noise((bins,), (14.0,), random)).astype(np.float32)


def smooth_noise(shape: tuple, sigma: tuple, random: np.random.Generator) -> np.ndarray:
    """Noise of unit deviation, smoothed by sigma bins; the ends join."""
    noise = ndimage.gaussian_filter(random.standard_normal(shape, np.float32), sigma, mode="wrap")
    return noise / noise.std()


@functools.lru_cache(maxsize=1)
def surface(casting: Casting) -> np.ndarray:
    """Texture of the machined faces, in grey levels, (76 radii from 60 px, 512 angles).

    It belongs to the casting: streaks along the turning marks, stains, and the marks of handling.
    """
    random = casting.random(TEXTURE)
    streaks = smooth_noise((76, 512), (0.5, 2.0), random)
    blotches = smooth_noise((76, 512), (2.5, 3.5), random)
    texture = 3.2 * streaks + 1.8 * blotches + 2.0 * smooth_noise((76, 1), (0.5, 0), random)
    radii, angles = np.arange(76)[:, None] + 60.0, np.arange(512)[None] * (2 * np.pi / 512)
    for _ in range(random.integers(1, 5)):
        off = np.angle(np.exp(1j * (angles - random.uniform(0, 2 * np.pi))))
        width, middle = random.uniform(6, 18), random.uniform(82, 118)
        blob = np.hypot((radii - middle) / width, off * middle / (width * random.uniform(1, 2)))
        texture += random.uniform(-16, 12) * np.exp(-(blob**2)) * (1 + 0.25 * blotches)
    for _ in range(random.integers(0, 4)):  # chatter: short arcs where the tool trembled
        off = np.angle(np.exp(1j * (angles - random.uniform(0, 2 * np.pi))))
        line = np.exp(-(((radii - random.uniform(84, 118)) / 0.9) ** 2))
        texture += random.uniform(-14, 14) * line * (np.abs(off) < random.uniform(0.05, 0.3))
    return texture.astype(np.float32)


def draw_ground(scene: Scene, random: np.random.Generator) -> None:
    """The table: light falls off to one side, and the part throws a soft shadow on the other."""
    far = scene.towards_light / 150
    level, slope = random.uniform(150, 182), random.uniform(4, 20)
    scene.grey += level + slope * far
    outside = scene.r - scene.radius["outer"]
    depth = random.uniform(0.35, 0.6) * (0.5 - 0.5 * scene.lit) + 0.12
    scene.grey *= 1 - depth * np.exp(np.clip(outside, 0, None) / -random.uniform(7, 15))


def draw_flange(scene: Scene, casting: Casting, random: np.random.Generator) -> np.ndarray:
    """The turned face and its dark side wall; returns the gloss (H, W), which the rim shares."""
    away = -direction(scene.light) * random.uniform(0.6, 1.8)
    scene.disc(scene.radius["outer"] + 0.6, away, 48.0)
    bins = (scene.theta * (720 / (2 * np.pi))).astype(np.int32) % 720
    cone = np.clip((scene.r - 86) / 24, 0, 1)  # the face bends: inside it mirrors another angle
    glosses = [angular_light(scene.light + turn, random)[bins] for turn in (0.35, 0.0)]
    gloss = glosses[0] * (1 - cone) + glosses[1] * cone
    strength, level = random.uniform(30, 70), random.uniform(160, 180)
    face = level + strength * gloss
    marks = np.sin(scene.r * random.uniform(1.6, 2.1) + 4 * scene.lit**2)
    face += (1.0 + 3 * np.clip(gloss, 0, 1)) * marks * min(1.0, 1 / scene.pitch)
    face = np.where(face > 205, 205 + 30 * np.tanh((face - 205) / 30), face)  # film shoulder
    face += 22 * np.exp(-(((scene.r - scene.radius["groove"] - 2) / 3.0) ** 2))  # chamfer
    face -= 26 * np.exp(-(((scene.r - scene.radius["outer"]) / 1.6) ** 2))
    scene.disc(scene.radius["outer"], np.zeros(2, np.float32), face)
    return gloss


def draw_eye(scene: Scene, gloss: np.ndarray, random: np.random.Generator) -> None:
    """Inside the flange: groove, bright eye rim, dark vanes, hub ring, bore with the table."""
    radius, rim, hub = scene.radius, scene.rim_shift, scene.hub_shift
    table = scene.grey[2, 2]
    scene.disc(radius["groove"] + 1.2, rim * 0.4, 95.0)
    scene.disc(radius["groove"], rim * -0.35, 26.0)
    scene.disc(radius["rim"], rim, random.uniform(172, 186) + 14 * gloss)
    scene.disc(radius["rim"] - 6.5, rim, 168 + 20 * gloss)
    scene.disc(radius["eye"], rim, 15.0)
    draw_vanes(scene, random.uniform(24, 40))
    scene.disc(radius["hub"] + 1, hub, 60.0)
    scene.disc(radius["hub"], hub, random.uniform(168, 182) + 12 * scene.lit)
    scene.disc(radius["bore"], hub, random.uniform(45, 75))
    # Through the bore one sees the table; on the side of the lamp the wall shades it.
    hole = hub - random.uniform(0.5, 4) * direction(scene.light)
    floor = table * 0.7 - random.uniform(0.8, 1.7) * scene.towards_light
    scene.disc(radius["bore"] - 2, hole, np.clip(floor, 50, 180))


def draw_vanes(scene: Scene, brightness: float) -> None:
    """Swept blades in the dark of the eye: each shows a lit edge or two; all stay below 60."""
    hub = scene.hub_shift
    ring = (scene.r > 38) & (scene.r < scene.radius["eye"] + 3)
    r = np.hypot(scene.u[ring] - hub[0], scene.v[ring] - hub[1])
    swept = VANES * (scene.theta[ring] - scene.turn) - 13.0 * np.log(r / 36)
    blade = np.clip(np.cos(swept), 0, 1) ** 6 + 0.6 * np.clip(np.cos(swept + 1.1), 0, 1) ** 20
    blade *= (0.65 + 0.35 * scene.lit[ring]) * np.exp(-(((r - 57) / 8) ** 2))
    dark = np.clip((40 - scene.grey[ring]) / 25, 0, 1)  # nothing on the rim
    scene.grey[ring] += dark * np.minimum(brightness * blade, 38)


class Patch:
    """A window of the scene around a place on the casting, in its own coordinates (px).

    x points outwards and y along the edge, from the place; r is the distance from the axis.
    """

    def __init__(self, scene: Scene, radius: float, angle: float, reach: float, raised: bool):
        shift = scene.rim_shift if raised else np.zeros(2, np.float32)
        angle += scene.turn
        out = direction(angle)
        column, row = scene.to_pixels @ (radius * out + shift) + scene.middle
        half = int(reach / scene.pitch * 1.1) + 3
        rows = slice(max(0, int(row) - half), int(row) + half + 1)
        columns = slice(max(0, int(column) - half), int(column) + half + 1)
        u, v = scene.u[rows, columns] - shift[0], scene.v[rows, columns] - shift[1]
        self.x, self.y = u * out[0] + v * out[1] - radius, v * out[0] - u * out[1]
        self.r, self.radius, self.raised = np.hypot(u, v), radius, raised
        self.edges = scene.radius
        self.along = radius * np.arctan2(self.y, self.x + radius)
        self.grey, self.mask = scene.grey[rows, columns], scene.mask[rows, columns]
        self.ground = scene.ground[rows, columns]
        self.light, self.soft = scene.light - angle, max(2.2, 1.2 * scene.pitch)

    def inside(self, distance: np.ndarray) -> np.ndarray:
        """Coverage 0..1 of a shape in the patch."""
        return coverage(distance, self.soft)

    def paint(self, alpha: np.ndarray, value: np.ndarray | float) -> None:
        """Lay grey levels over the patch and note in the mask every pixel that takes any."""
        alpha = np.where(alpha < 0.08, 0, alpha)
        self.grey += alpha * (value - self.grey)
        self.mask |= alpha > 0


def ragged(along: np.ndarray, width: float, random: np.random.Generator) -> np.ndarray:
    """A jagged bump 0..1 over |along| < width / 2, zero outside: the outline of broken metal."""
    count = max(7, int(width / 2.5))
    knots = np.linspace(-1, 1, count) + random.uniform(-0.7, 0.7, count) / count
    knots[[0, -1]] = -1, 1
    heights = random.uniform(0.5, 1.0, count) * np.sqrt(1 - np.minimum(knots**2, 1))
    return np.interp(along * 2 / width, knots, heights / heights.max())


def blow_hole(patch: Patch, size: float, random: np.random.Generator) -> None:
    """A round to oval pit: dark, its far lip catching the light."""
    angle, flat = random.uniform(0, np.pi), random.uniform(0.7, 1.0)
    a = patch.x * np.cos(angle) + patch.y * np.sin(angle)
    b = (patch.y * np.cos(angle) - patch.x * np.sin(angle)) / flat
    around = np.arctan2(b, a)
    wobble = 1 + 0.05 * np.sin(3 * around + angle * 5) + 0.03 * np.sin(5 * around + angle * 9)
    distance = np.hypot(a, b) * wobble - size / 2
    facing = np.cos(np.arctan2(patch.y, patch.x) - patch.light)
    lip = np.exp(-(((distance - 0.9) / 1.1) ** 2)) * np.clip(-facing, 0, 1)
    patch.paint(0.75 * lip, 238.0)
    patch.paint(patch.inside(distance), 34 - 16 * facing * np.clip(1 + distance / size, 0, 1))


def pinholes(patch: Patch, size: float, random: np.random.Generator) -> None:
    """A loose cluster of pores."""
    count = int(random.integers(7, 10) + size / 3)
    pore = random.uniform(0.6, 1.0, count) ** 2 * np.clip(0.12 * size, 0.9, 3.8)
    away, angle = np.sqrt(random.uniform(0, 1, count)), random.uniform(0, 2 * np.pi, count)
    x = patch.x[..., None] - away * np.cos(angle) * (min(size, 16) - pore)  # stays on the face
    y = patch.y[..., None] - away * np.sin(angle) * (size - pore)
    patch.paint(0.95 * patch.inside((np.hypot(x, y) - pore).min(-1)), 40.0)


def burr(patch: Patch, size: float, random: np.random.Generator) -> None:
    """Flash that stands out over an edge: torn, bright where it catches light, dark in folds."""
    height = (1.0 + 0.42 * min(size, 22)) * ragged(patch.along, 2 * size, random)
    depth = patch.r - patch.radius
    body = patch.inside(depth - height) * patch.inside(-depth - 1.5) * (height > 0)
    waves, phases = random.uniform(0.1, 0.6, 4), random.uniform(0, 2 * np.pi, 4)
    folds = sum(
        np.sin(wave * patch.along + phase + random.uniform(-0.9, 0.9) * depth)
        for wave, phase in zip(waves, phases, strict=True)
    )
    patch.paint(body, np.clip(135 + 60 * folds, 45, 240))


def chipping(patch: Patch, size: float, random: np.random.Generator) -> None:
    """A piece broken off an edge: the ground (or the groove) shows, with a dark fracture face."""
    depth = patch.r - patch.radius
    bite = (0.6 + 0.45 * size) * ragged(patch.along, size, random)
    gone = patch.inside(-depth - bite) * patch.inside(depth - 2.6) * (bite > 0)
    fracture = np.exp(-(((depth + bite) / (0.9 + 0.05 * size)) ** 2))
    behind = 24.0 if patch.raised else patch.ground
    fracture *= np.clip(-depth, 0, 1)
    patch.paint(gone, behind + 0.9 * fracture * (38 - behind))


def shrinkage(patch: Patch, size: float, random: np.random.Generator) -> None:
    """A ragged cavity with branches, as metal tears when it shrinks."""
    steps, arms = 9, int(random.integers(4, 8))
    heading = np.linspace(0, 2 * np.pi, arms, endpoint=False) + random.uniform(-0.6, 0.6, arms)
    heading = heading[:, None] + random.normal(0, 0.3, (arms, steps)).cumsum(1)
    step = size / 2 / steps * random.uniform(0.6, 1.15, (arms, 1))
    points = np.stack([np.cos(heading), np.sin(heading)]).cumsum(2) * step
    bead = np.linspace(0.11, 0.03, steps) * size * random.uniform(0.6, 1.3, (arms, steps))
    bead = np.maximum(bead, 0.6).ravel()
    x, y = points.reshape(2, 1, 1, -1) - np.stack([patch.x, patch.y])[..., None]
    distance = (np.hypot(x, y) - bead).min(-1)
    patch.paint(0.35 * np.exp(-(np.clip(distance, 0, None) ** 2) / 2.5), 95.0)
    patch.paint(patch.inside(distance), 30.0)


def scratch(patch: Patch, size: float, random: np.random.Generator) -> None:
    """A long thin groove: a dark line with a bright ridge beside it."""
    angle, bend, length = random.uniform(0, np.pi), random.uniform(-0.2, 0.2), 3 * size
    along = patch.x * np.cos(angle) + patch.y * np.sin(angle)
    across = patch.y * np.cos(angle) - patch.x * np.sin(angle)
    across = across - bend * along**2 / length
    width = max(0.9, patch.soft / 2.4) * min(2.4, 0.8 + 0.05 * size)
    depth = np.clip((length / 2 - np.abs(along)) * 6 / length, 0, 1)  # it fades at its ends
    depth *= 0.8 + 0.2 * np.sin(along * 0.35 + angle * 7)
    depth *= patch.inside(patch.r - patch.edges["outer"] + 3)
    depth *= patch.inside(patch.edges["groove"] + 3 - patch.r)
    patch.paint(0.75 * depth * np.exp(-(((across - 1.6 * width) / width) ** 2)), 240.0)
    patch.paint(0.95 * depth * np.exp(-((across / width) ** 2)), 50.0)


PAINTERS: dict[str, Callable[[Patch, float, np.random.Generator], None]] = {
    function.__name__: function
    for function in (blow_hole, burr, chipping, pinholes, scratch, shrinkage)
}


def draw_flaws(scene: Scene, casting: Casting) -> None:
    """Nicks within tolerance (below 3 px, faint), on good and defective castings alike."""
    random = casting.random(FLAWS)
    for _ in range(random.integers(2, 7)):
        edge = random.choice(["face", "outer", "rim"], p=[0.5, 0.25, 0.25])
        radius = random.uniform(84, 117) if edge == "face" else scene.radius[edge]
        patch = Patch(scene, radius, random.uniform(0, 2 * np.pi), 4, edge == "rim")
        distance = np.hypot(patch.x, patch.y * random.uniform(0.5, 1)) - random.uniform(0.6, 1.2)
        strength, value = random.uniform(0.2, 0.45), random.choice([70.0, 225.0])
        patch.grey += strength * patch.inside(distance) * (value - patch.grey)


def draw_defects(scene: Scene, casting: Casting) -> None:
    """Each defect type of the casting, once to three times, where such defects occur."""
    for number, name in enumerate(casting.types):
        random = casting.random(DEFECT, number)
        for _ in range(random.choice([1, 2, 3], p=[0.6, 0.3, 0.1])):
            size = random.uniform(*SIZE_RANGES_PX[random.choice(casting.sizes)])
            raised = name == "chipping" and size < 10 and random.random() < 0.4
            if name in ("burr", "chipping"):
                radius = scene.radius["rim" if raised else "outer"]
            else:
                room = min(size / 2, 16)
                radius = random.uniform(84 + room, 118 - room)
            patch = Patch(scene, radius, random.uniform(0, 2 * np.pi), size * 1.7 + 4, raised)
            PAINTERS[name](patch, size, random)


def render_casting(
    casting: Casting, photo: int, image_size_px: int = 300, *, with_defects: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Photograph a casting: grey uint8 (H, W) and mask bool (H, W), H = W = 1.16 image sizes.

    The same photo without its defects is the same image outside the mask.
    """
    scene = Scene(casting, photo, image_size_px)
    random = casting.random(PHOTO, photo, 1)
    draw_ground(scene, random)
    scene.ground = scene.grey.copy()
    gloss = draw_flange(scene, casting, random)
    draw_eye(scene, gloss, random)
    ring = (scene.r > 74) & (scene.r < scene.radius["outer"]) & (scene.grey > 90)
    where = [scene.r[ring] - 60, (scene.theta[ring] - scene.turn) * (512 / (2 * np.pi)) % 512]
    scene.grey[ring] += ndimage.map_coordinates(surface(casting), where, order=1, mode="grid-wrap")
    draw_flaws(scene, casting)
    if with_defects:
        draw_defects(scene, casting)
    return np.clip(scene.grey, 4, 252).astype(np.uint8), scene.mask
