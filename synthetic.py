"""Render seeded look-alikes of the casting photographs: demo data, and ground truth for tests.

    python synthetic.py --out data/synthetic

Kaggle's layout and names (`train/def_front/cast_def_0_7.jpeg`) in grey JPEG. Every casting, good or
not, has its own texture, nicks and stains; it is photographed once or more, and each photograph is
copied under rotation, mirroring, shift, zoom, shear and new light. By default copies of one casting
fall on both sides of train/test, which is the leak of the real data set; `unseen/` holds castings
that do not. `truth.csv` tells path, casting, photo and defect types of every image.
rendering/casting.py draws the parts.
"""

import argparse
from dataclasses import fields
from pathlib import Path

from common.arguments import number, script_parser, seed
from common.arguments import whole_number_or_0 as whole
from common.errors import run_script
from common.text import count_of
from rendering.options import (
    DEFECT_SIZES,
    OVERVIEW,
    SIZE_RANGES_PX,
    RenderOptions,
    check_options,
)


def describe(out: Path, options: RenderOptions) -> str:
    """One line for people: what was rendered, and where to look."""
    count = options.castings * options.copies + options.unseen_castings * options.unseen_copies
    low = min(SIZE_RANGES_PX[size][0] for size in options.sizes)
    high = max(SIZE_RANGES_PX[size][1] for size in options.sizes)
    return (
        f"rendered {count_of(count, 'image')} of {options.castings} castings and "
        f"{options.unseen_castings} unseen ones at {options.image_size_px} px, "
        f"{' and '.join(options.sizes)} defects ({low:g} to {high:g} px of 300), "
        f"into {out}; see {out / OVERVIEW}"
    )


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Options of the command line; each one's name and default are RenderOptions'."""
    default = RenderOptions()
    parser = script_parser(__doc__.splitlines()[0], argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--out", type=Path, default=Path("data/synthetic"), help="folder to render into: empty, "
        "new, or holding an earlier rendering, which is replaced")  # fmt: skip
    for name, kind, text in (
        ("castings", whole, "castings photographed for train and test, half of them defective"),
        ("copies", whole, "images per casting, train and test together"),
        ("photos", whole, "photographs per casting, each in its own light, to make copies of"),
        ("unseen_castings", whole, "castings, in unseen/ only; 0, or 2 and more, by type 12"),
        ("unseen_copies", whole, "images per casting in unseen/"),
        ("test_fraction", number, "share of test/ in the images (of the castings with --no-leak)"),
        ("brightness_gap", number, "grey levels added to defective images: a planted shortcut"),
        ("image_size_px", whole, "width and height of the images; the scene scales with it"),
        ("seed", seed, "another seed gives other castings"),
    ):
        add(f"--{name.replace('_', '-')}", type=kind, default=getattr(default, name), help=text)
    add(
        "--leak",
        action=argparse.BooleanOptionalAction,
        default=default.leak,
        help="copies of one casting fall on both sides of train/test, as in the real set",
    )
    add(
        "--sizes",
        nargs="+",
        choices=DEFECT_SIZES,
        default=default.sizes,
        help="sizes of defects, "
        "px at 300 px: " + ", ".join(f"{k} {a:g}-{b:g}" for k, (a, b) in SIZE_RANGES_PX.items()),
    )
    add(
        "--classes",
        choices=("two", "type"),
        default=default.classes,
        help="two: def_front and ok_front; type: ok_front and one folder per defect type",
    )
    add("--masks", action="store_true", help="also write masks/<path>.png: 255 where a defect is")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Render a data set as the command line asks."""
    args = parse_arguments(argv)
    values = {field.name: getattr(args, field.name) for field in fields(RenderOptions)}
    options = RenderOptions(**{**values, "sizes": tuple(args.sizes)})
    check_options(options)
    from rendering.data_set import render_dataset  # SciPy takes half a second to import

    render_dataset(args.out, options)
    print(describe(args.out, options))
    return 0


if __name__ == "__main__":
    run_script(main)
