"""Show where a verdict comes from: the photograph with a heatmap of what speaks for a defect.

    python explain.py part.jpeg --out heatmaps/             heatmaps/part.png
    python explain.py line3/ --out heatmaps/                one a part, and contact_sheet.png
    python explain.py line3/ --out heatmaps/ --arrays       also the maps themselves, part.npy

A map is drawn whatever the verdict; for a defect its hottest region is outlined. Each .npy is
square, float32, 0 to 1, and covers the whole picture corner to corner, whatever its shape.
Methods (heatmap.py has the formulas): cells, the default of a local network, is what it judges by;
fused, ResNet-18's default, multiplies the maps of all four stages, over the eight positions of the
picture: it points better and takes ten times as long as layercam, of the third stage alone, or as
gradcam, the classical one, of the last. Exit code 4: some files could not be read.
"""

import argparse
import io
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from common.files import (
    EXIT_OK,
    EXIT_UNREADABLE,
    UserError,
    count_of,
    run_script,
    script_parser,
    usable_folder,
    write_atomic,
)
from inspection.heatmap import CELLS, METHODS, Explainer, hottest_region
from imaging.finding import PATHS_HELP, find_images
from imaging.reading import UnreadableImageError, decode_grey, read_grey_image, resized
from imaging.overlays import captioned, contact_sheets, overlay
from inspection.predictor import BATCH_SIZE, Prediction, Predictor, load_predictor, probability
from traceability.log import printable

TILE_PX = 220
SHEET = "contact_sheet"


@dataclass(frozen=True)
class Explained:
    """A part, its verdict and its map."""

    picture: Image.Image  # grey, as large as the photograph
    prediction: Prediction
    heat: np.ndarray  # float32 (S, S), 0..1

    def overlay(self, side_px: int | None = None, strength: float = 0.5) -> Image.Image:
        """The photograph under its heatmap; the hottest region outlined for a defect verdict.

        Args:
            side_px: makes it a square of this side.
            strength: of the heatmap, 0 to 1; at 0 the photograph alone is left.
        """
        picture = self.picture
        if side_px:
            picture = picture.resize((side_px, side_px), Image.Resampling.BILINEAR)
        if strength == 0:
            return picture
        region = hottest_region(self.heat) if self.prediction.decision == "defect" else None
        return overlay(picture, self.heat, region, strength)


def explain(
    predictor: Predictor,
    explainer: Explainer,
    pictures: Sequence[Image.Image],
    method: str | None = None,
) -> list[Explained]:
    """Verdicts and maps of grey pictures of any size."""
    if not pictures:
        return []
    grey = stacked(pictures, predictor.checkpoint.image_size_px)
    verdicts, maps = predictor.judge(grey), explainer.maps(grey, method)
    return [Explained(*one) for one in zip(pictures, verdicts, maps, strict=True)]


def explainer_of(predictor: Predictor) -> Explainer | None:
    """What makes a predictor's heatmaps; None for an ONNX file, which comes without its weights."""
    checkpoint = predictor.checkpoint
    return Explainer(checkpoint, predictor.device) if checkpoint.weights else None


def explain_judged(
    explainer: Explainer, judged: Sequence[tuple[bytes, Prediction]], largest_px: int
) -> list[Explained]:
    """Maps of photographs that have been judged, given as the bytes of their files.

    Args:
        largest_px: pictures are shrunk until no side is longer.

    Raises:
        UnreadableImageError: one is no picture.
    """
    if not judged:
        return []
    pictures = [decode_grey(data) for data, _ in judged]
    maps = explainer.maps(stacked(pictures, explainer.checkpoint.image_size_px))
    for picture in pictures:
        picture.thumbnail((largest_px, largest_px), Image.Resampling.BILINEAR)
    return [
        Explained(picture, prediction, heat)
        for picture, (_, prediction), heat in zip(pictures, judged, maps, strict=True)
    ]


def stacked(pictures: Sequence[Image.Image], size_px: int) -> torch.Tensor:
    """Pictures of any size as the network's input, uint8 (B, S, S)."""
    return torch.from_numpy(np.stack([resized(picture, size_px) for picture in pictures]))


def verdict_text(prediction: Prediction) -> str:
    """'defect: p(defect) 0.974, threshold 0.500'."""
    p = prediction
    return f"{p.decision}: p(defect) {p.prob_defect:.3f}, threshold {p.threshold:.3f}"


def output_names(paths: Sequence[Path]) -> list[str]:
    """File names without suffix: the stems, where they are equal with folder and number."""
    stems = Counter(path.stem for path in paths)
    names: dict[str, None] = {}
    for path in paths:
        plain = path.stem if stems[path.stem] == 1 else f"{path.resolve().parent.name}_{path.stem}"
        name, number = plain, 1
        while name in names or name.startswith(SHEET):
            number += 1
            name = f"part_{plain}_{number}" if plain.startswith(SHEET) else f"{plain}_{number}"
        names[name] = None
    return list(names)


def png(image: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    data = io.BytesIO()
    image.save(data, "png")
    return data.getvalue()


def write_sheets(path: Path, tiles: Iterable[tuple[Image.Image, str, bool]], title: str) -> int:
    """Contact sheets of `(picture, caption, right?)`: name.png, name_2.png, ...; how many.

    Those of an earlier run that has had more are removed.
    """

    def page(number: int) -> Path:
        return path if number == 1 else path.with_name(f"{path.stem}_{number}{path.suffix}")

    number = 0
    for number, sheet in enumerate(contact_sheets(tiles, TILE_PX, title), 1):
        write_atomic(page(number), png(sheet))
    old = number + 1
    while page(old).exists():
        page(old).unlink()
        old += 1
    return number


def explain_files(
    args: argparse.Namespace,
    predictor: Predictor,
    explainer: Explainer,
    paths: Sequence[Path],
    unreadable: list[Path],
) -> Iterator[tuple[Image.Image, str, bool]]:
    """Write what was asked for of each file; yields tiles, notes `unreadable` ones."""
    names = dict(zip(paths, output_names(paths), strict=True))
    with tqdm(total=len(paths), desc="explaining", unit="part", disable=None) as bar:
        for start in range(0, len(paths), BATCH_SIZE):
            batch = paths[start : start + BATCH_SIZE]
            pictures = dict(readable(batch, unreadable))
            found = explain(predictor, explainer, list(pictures.values()), args.method)
            for path, one in zip(pictures, found, strict=True):
                write_explained(args.out / names[path], one, args.arrays)
                decision, number = one.prediction.decision, one.prediction.prob_defect
                caption = f"{names[path]}\n{decision} {number:.3f}"
                yield one.overlay(TILE_PX), caption, decision != "defect"
            bar.update(len(batch))


def readable(paths: Sequence[Path], unreadable: list[Path]) -> Iterator[tuple[Path, Image.Image]]:
    """Files with their pictures; adds the others to `unreadable` and says why."""
    for path in paths:
        try:
            yield path, read_grey_image(path)
        except UnreadableImageError as error:
            unreadable.append(path)
            tqdm.write(f"unreadable: {printable(path)}: {error}", sys.stderr)


def write_explained(target: Path, one: Explained, arrays: bool) -> None:
    """The overlay with its verdict as target.png and, if wanted, the map as target.npy."""
    lines = [target.name, verdict_text(one.prediction)]
    picture = captioned(one.overlay(), lines, one.prediction.decision != "defect")
    write_atomic(target.with_name(f"{target.name}.png"), png(picture))
    if arrays:
        data = io.BytesIO()
        np.save(data, one.heat)
        write_atomic(target.with_name(f"{target.name}.npy"), data.getvalue())


def main(argv: list[str] | None = None) -> int:
    parser = script_parser(__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH", help=PATHS_HELP)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--arrays", action="store_true", help="also write the maps as .npy")
    parser.add_argument("--method", choices=(CELLS, *METHODS), help="default: cells, else fused")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="default: the latest")
    parser.add_argument("--threshold", type=probability, metavar="T", help="default: the model's")
    parser.add_argument("--device", help="cuda, cpu; default: CUDA when there is one")
    args = parser.parse_args(argv)
    if args.checkpoint and args.checkpoint.suffix == ".onnx":
        raise UserError("heatmaps need gradients: name the checkpoint, not its ONNX file")
    usable_folder(args.out)
    paths = find_images(args.paths)
    inside = [path for path in paths if path.resolve().parent == args.out.resolve()]
    if inside:
        raise UserError(f"--out {args.out} holds {inside[0].name}, which is to be explained")
    predictor = load_predictor(args.checkpoint, args.device, threshold=args.threshold)
    explainer = Explainer(predictor.checkpoint, predictor.device)
    unreadable: list[Path] = []
    tiles = explain_files(args, predictor, explainer, paths, unreadable)
    if len(paths) > 1:
        method = args.method or explainer.methods[0]
        title = f"method {method}, model {predictor.model_id}"
        write_sheets(args.out / f"{SHEET}.png", tiles, title)
    else:
        list(tiles)
    done = count_of(len(paths) - len(unreadable), "heatmap")
    print(f"{done} in {args.out}, model {predictor.model_id}, {len(unreadable)} unreadable")
    return EXIT_UNREADABLE if unreadable else EXIT_OK


if __name__ == "__main__":
    run_script(main)
