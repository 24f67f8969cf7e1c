"""Draw the pictures of README.md and docs/*.md anew: make pictures.

    python -m docs.pictures

Every picture is what a command of this repository draws of rendered castings, or what a browser
(chromium) shows of its pages: the real photographs may not be passed on. Control charts are of a
log of made-up numbers. All pictures take their places together at the end; if one cannot be drawn,
none is replaced. learning_curves.png is drawn by evaluation.publish, from measured figures.
"""

import io
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from common.arguments import script_parser
from common.errors import EXIT_FAILURE, EXIT_OK, UserError, run_script, tell
from common.files import ROOT, sha256_of_file, write_atomic
from common.marks import own_mark
from common.text import count_of, format_duration
from docs.made_up_log import LOTS, lot_name, write_log
from docs.page_pictures import DESKTOP, PHONE, Visitor, open_browser, served, take_report
from docs.rendered import RELEASED, REVIEW, Castings, Workshop
from rendering.options import DEFECT_TYPES, OVERVIEW

FOLDER = ROOT / "docs" / "img"
LARGEST_BYTES, ALL_BYTES = 250_000, 1_500_000
COLOURS = (256, 128, 64, 32)  # of a palette: as many as LARGEST_BYTES allow
TODAY = lot_name(LOTS)  # the lot after those of the made-up log
# At most so many px wide, which is as large as a page of documentation shows them, or somewhat
# more where letters are small
PICTURES = {
    "castings.png": 800, "copies.png": 900, "heatmaps.png": 920, "report.png": 1000,
    "spc.png": 1100,
    "page_inspect.png": 1280, "page_phone.png": 390, "page_review.png": 1280,
    "page_batch.png": 1280, "page_process.png": 1280, "page_model.png": 1280,
}  # fmt: skip


# --- what is drawn -------------------------------------------------------------------------------


def draw_data(shop: Workshop, castings: Castings, out: Path) -> None:
    """The castings, their copies, and where a model finds defects."""
    (castings.root / OVERVIEW).rename(out / "castings.png")
    audit = shop.folder / "audit"
    shop.run("data_split.py", "--data", castings.root, "--audit", "--out", audit)
    (audit / "copies.png").rename(out / "copies.png")
    parts = [path for kind in DEFECT_TYPES for path in castings.take(1, "defect", kind)]
    names = [*DEFECT_TYPES, "sound_1", "sound_2"]
    folder = shop.copies("parts", [*parts, *castings.take(2, "ok", "")], "{:02d}.jpeg")
    shown = [path.rename(folder / f"{name}.jpeg")
             for path, name in zip(sorted(folder.iterdir()), names, strict=True)]  # fmt: skip
    heatmaps = shop.folder / "heatmaps"
    shop.run("explain.py", *shown, "--checkpoint", RELEASED, "--no-gate", "--out", heatmaps)
    (heatmaps / "contact_sheet.png").rename(out / "heatmaps.png")


def draw_report(browser, shop: Workshop, castings: Castings, out: Path) -> None:
    """The report of a short training that begins with the released model."""
    run, results = shop.folder / "run", shop.folder / "results"
    data = ("--data", castings.root)
    shop.run("train.py", *data, "--recipe", "robust", "--weights", RELEASED, "--epochs", "1",
             "--epoch-size", "320", "--out", run)  # fmt: skip
    shop.run("test.py", *data, "--checkpoint", run / "best.pth", "--out", results)
    take_report(browser, results / "report.html", (1000, 900), out / "report.png")


def draw_charts(shop: Workshop, castings: Castings, out: Path) -> Path:
    """The control charts of a made-up log; returns the log, with a lot of today behind it."""
    log, charts = shop.folder / "inspections.db", shop.folder / "spc.png"
    model = sha256_of_file(castings.model)
    write_log(log, model, castings.brightness(), datetime.now(UTC))
    limits = ("--baseline", lot_name(0), lot_name(19))
    shop.run("records.py", "spc", "--log", log, "--by", "lot", *limits, "--out", charts)
    charts.rename(out / "spc.png")
    parts = [*castings.take(22, "ok", ""), *castings.take(1, "defect"), *castings.take(3, "review")]
    folder = shop.copies("line3", parts, f"{TODAY}_S{1000 * (LOTS + 1)}{{:02d}}.jpeg")
    shop.run(
        "predict.py", folder, "--checkpoint", castings.model, "--review", *REVIEW, "--log", log,
        "--station", "line3", "--name-pattern", "{lot}_{serial}", "--out", shop.folder / "lot.csv",
    )  # fmt: skip
    return log


def draw_pages(browser, shop: Workshop, castings: Castings, log: Path, out: Path) -> None:
    """The views of app.py."""
    options = ("--review", *REVIEW, "--log", log, "--station", "line3", "--lot", TODAY)
    said = shop.folder / "app.txt"
    with served(("--checkpoint", castings.model, *options), shop.env, said) as address:
        visitor = Visitor(browser, address, DESKTOP)
        visitor.turn_to("Process", "Last rejects")
        visitor.take_picture(out / "page_process.png")
        visitor.turn_to("Review", "to decide")
        visitor.take_picture(out / "page_review.png")
        draw_batch(visitor, shop, castings, out)
        draw_inspect(browser, address, shop, castings, out)
    with served(("--checkpoint", RELEASED, *options), shop.env, said) as address:
        visitor = Visitor(browser, address, DESKTOP)
        visitor.turn_to("Model", "What another limit would do")
        visitor.take_picture(out / "page_model.png")
        visitor.leave()


def draw_batch(visitor: Visitor, shop: Workshop, castings: Castings, out: Path) -> None:
    """A folder of parts, sorted."""
    parts = [*castings.take(9, "ok", ""), *castings.take(6, "defect"), *castings.take(1, "review")]
    folder = shop.copies("incoming", parts, f"{TODAY}_S{1000 * (LOTS + 2)}{{:02d}}.jpeg")
    visitor.turn_to("Batch", "A folder or a zip file")
    visitor.upload(folder)
    visitor.press("Inspect 16 photographs")
    visitor.wait_for("Download CSV")
    visitor.take_picture(out / "page_batch.png")
    visitor.leave()


def draw_inspect(browser, address: str, shop: Workshop, castings: Castings, out: Path) -> None:
    """Several parts on a desk, and one on a phone."""
    parts = [*castings.take(2, "defect"), *castings.take(4, "ok", "")]
    folder = shop.copies("desk", parts, f"{TODAY}_S{1000 * (LOTS + 3)}{{:02d}}.jpeg")
    names = sorted(folder.iterdir())
    for name, size, files in (
        ("page_inspect.png", DESKTOP, names),
        ("page_phone.png", PHONE, names[:1]),
    ):
        visitor = Visitor(browser, address, size)
        visitor.upload(files)
        visitor.wait_for("SHA-256")
        visitor.take_picture(out / name)
        visitor.leave()


# --- how it is kept ------------------------------------------------------------------------------


def small_png(path: Path, width: int) -> bytes:
    """A picture no wider than this, in as many colours as the limit of its size allows.

    Raises:
        UserError: none is small enough.
    """
    with Image.open(path) as image:
        image = image.convert("RGB")
    if image.width > width:
        size = (width, round(image.height * width / image.width))
        image = image.resize(size, Image.Resampling.LANCZOS)
    for colours in COLOURS:
        data = io.BytesIO()
        few = image.quantize(colours, dither=Image.Dither.NONE)
        few.save(data, "png", optimize=True, pnginfo=own_mark())
        if data.tell() <= LARGEST_BYTES:
            return data.getvalue()
    raise UserError(f"{path.name} has {data.tell():,} bytes in {colours} colours", EXIT_FAILURE)


def keep(drawn: Path) -> int:
    """Put all pictures in their places, or none; returns how many bytes they have.

    Raises:
        UserError: one is missing or too large, or all together are.
    """
    small = {name: small_png(drawn / name, width) for name, width in PICTURES.items()}
    total = sum(map(len, small.values()))
    if total > ALL_BYTES:
        raise UserError(f"the pictures have {total:,} bytes, over {ALL_BYTES:,}", EXIT_FAILURE)
    for name, data in small.items():
        write_atomic(FOLDER / name, data)
    return total


def main(argv: list[str] | None = None) -> int:
    script_parser(__doc__).parse_args(argv)
    started = time.perf_counter()
    with open_browser() as browser, tempfile.TemporaryDirectory() as folder:
        shop, drawn = Workshop(Path(folder)), Path(folder) / "drawn"
        drawn.mkdir()
        castings = Castings(shop)
        draw_data(shop, castings, drawn)
        draw_report(browser, shop, castings, drawn)
        log = draw_charts(shop, castings, drawn)
        tell("showing the pages in chromium")
        draw_pages(browser, shop, castings, log, drawn)
        total = keep(drawn)
    took = format_duration(time.perf_counter() - started)
    print(f"{count_of(len(PICTURES), 'picture')}, {total / 1e6:.1f} MB, in docs/img, after {took}")
    return EXIT_OK


if __name__ == "__main__":
    run_script(main)
