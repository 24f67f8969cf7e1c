"""Inspect millions of photographs on many cores or machines, with Ray Data.

    pip install -r requirements.txt 'ray[data]'
    python examples/ray_batch.py --out decisions/ --workers 8 /archive/2026 s3://bucket/line3

Sources: folders (with all below) or URLs; the Parquet files have the columns of inspections.csv.
"""

import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import ray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common.arguments import checkpoint_file, script_parser
from common.errors import run_script, tell
from common.files import output_folder
from imaging.photographs import IMAGE_SUFFIXES, is_photograph_below

COLUMNS = ("sha256", "status", "prob_defect", "decision", "threshold", "latency_ms", "error")


class Inspector:
    """One worker: a model, and the batches that come to it."""

    def __init__(self, checkpoint: Path | None):
        from inspection.predictor import load_predictor

        self.predictor = load_predictor(checkpoint)
        if warning := self.predictor.without_gate:
            tell(f"warning: {warning}")

    def __call__(self, batch: dict) -> dict:
        found = self.predictor.predict(batch["bytes"].tolist())
        table = {name: [getattr(one, name) for one in found] for name in COLUMNS}
        table["prob_defect"] = np.array(table["prob_defect"], float)  # NaN where there is none
        return {"path": batch["path"], **table, "model": [self.predictor.model_id] * len(found)}


def main(argv: list[str] | None = None) -> int:
    parser = script_parser(__doc__)
    parser.add_argument("sources", nargs="+", metavar="FOLDER_OR_URL")
    parser.add_argument("--out", required=True, metavar="FOLDER_OR_URL", help="new or empty")
    parser.add_argument(
        "--checkpoint", type=checkpoint_file, metavar="FILE", help="default: the latest"
    )
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="default 2")
    args = parser.parse_args(argv)
    local = "://" not in args.out
    with output_folder(Path(args.out), new=True) if local else nullcontext():
        ray.init(runtime_env={"env_vars": {"PYTHONPATH": sys.path[0]}})
        kinds = {"file_extensions": [suffix[1:] for suffix in IMAGE_SUFFIXES]}
        files = ray.data.read_binary_files(args.sources, include_paths=True, **kinds)
        sources = args.sources
        files = files.filter(lambda row: is_photograph_below(sources, row["path"], row["bytes"]))
        workers = {"concurrency": args.workers, "num_cpus": 0.5}  # reading needs cores too
        workers["fn_constructor_args"] = (args.checkpoint and args.checkpoint.resolve(),)
        files.map_batches(Inspector, batch_size=64, **workers).write_parquet(args.out)
    return 0


if __name__ == "__main__":
    run_script(main)
