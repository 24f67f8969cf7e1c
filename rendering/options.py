"""What can be rendered; light to import."""

from dataclasses import dataclass

from common.arguments import IMAGE_SIZES_PX, MOST
from common.errors import UserError

DEFECT_TYPES = ("blow_hole", "burr", "chipping", "pinholes", "scratch", "shrinkage")
# Size s in px at 300 px: the diameter of a blow hole or shrinkage cavity, the width of a chip (half
# as deep). A burr runs 2 s along its edge, pinholes cluster over 2 s, a scratch is 3 s long.
SIZE_RANGES_PX = {"small": (3.0, 12.0), "medium": (16.0, 26.0), "large": (28.0, 44.0)}
DEFECT_SIZES = tuple(SIZE_RANGES_PX)
OVERVIEW = "castings.png"
MOST_CASTINGS, MOST_COPIES = 100_000, 1000  # of either kind; of each casting
MOST_IMAGES = 1_000_000  # hours of rendering


@dataclass(frozen=True)
class RenderOptions:
    """What to render; the command line mirrors these names and `--help` explains them."""

    castings: int = 120
    copies: int = 8
    photos: int = 2
    unseen_castings: int = 40
    unseen_copies: int = 2
    test_fraction: float = 0.2
    leak: bool = True
    sizes: tuple[str, ...] = DEFECT_SIZES
    classes: str = "two"
    brightness_gap: float = 0.0
    image_size_px: int = 300
    masks: bool = False
    seed: int = 0


def check_options(options: RenderOptions) -> None:
    """Raise UserError for what cannot be rendered."""
    classes_defective = len(DEFECT_TYPES) if options.classes == "type" else 1
    least = 2 * classes_defective
    each = (options.copies, options.photos, options.unseen_copies)
    images = options.castings * options.copies + options.unseen_castings * options.unseen_copies
    problems = {
        f"castings must be from {least} to {MOST_CASTINGS:,}": not (
            least <= options.castings <= MOST_CASTINGS
        ),
        f"unseen-castings must be 0, or from {least} to {MOST_CASTINGS:,}": options.unseen_castings
        and not least <= options.unseen_castings <= MOST_CASTINGS,
        f"copies, photos and unseen-copies must be from 1 to {MOST_COPIES:,}": not (
            1 <= min(each) <= max(each) <= MOST_COPIES
        ),
        f"{images:,} images are too many; at most {MOST_IMAGES:,}": images > MOST_IMAGES,
        "test-fraction must lie between 0 and 1": not 0 < options.test_fraction < 1,
        f"sizes must be some of {', '.join(DEFECT_SIZES)}": not options.sizes
        or not set(options.sizes) <= set(DEFECT_SIZES),
        "classes must be two or type": options.classes not in ("two", "type"),
        f"image-size-px must be from {IMAGE_SIZES_PX[0]} to {IMAGE_SIZES_PX[1]}": not (
            IMAGE_SIZES_PX[0] <= options.image_size_px <= IMAGE_SIZES_PX[1]
        ),
        "brightness-gap must lie between -255 and 255": not abs(options.brightness_gap) <= 255,
        f"seed must be from 0 to {MOST:,}": not 0 <= options.seed <= MOST,
        "copies must be at least 2 for a leak": options.leak and options.copies < 2,
    }
    for problem, present in problems.items():
        if present:
            raise UserError(f"{problem}; see --help")
