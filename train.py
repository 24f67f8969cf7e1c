"""Train a casting inspector: ResNet-18 on the training images, the best epoch by validation loss.

    python train.py                               the reference recipe (ImageNet weights, 224 px)
    python train.py --weights none --image-size 112 --augment flip --epochs 12
    python train.py --recipe fast                 the same split in minutes, without a GPU
    python train.py --resume                      go on where an interrupted run stopped
    python train.py --recipe robust --protocol casting --fold all     unseen castings
    python train.py --data mine --fold all        any product: a folder a class, recipe product
    python train.py --data mine --good-only       from good parts alone
    torchrun --nproc-per-node=4 train.py          on several GPUs

Writes into --out: best.pth and best.json (the epoch with the lowest validation loss, with
--patience 0 the last one), last.pth (everything to go on bit-exactly), history.csv, curves.png and
split.csv. Ctrl-C writes last.pth and leaves. With --fold all each fold has a folder fold<K> in
--out; finished folds are skipped, an interrupted one goes on. With the reference recipe at 224 px
two CPU cores need about 12 minutes an epoch; with --recipe robust or product five folds take an
hour.
"""

import shlex
import sys

from common.errors import run_script
from common.progress import load_pytorch
from dataset.arguments import settle_by_layout
from dataset.corrections import read_corrections
from dataset.named import check_named_data
from training.options import build_parser, check_arguments, choose_recipe


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    args = build_parser(__doc__).parse_args(argv)
    args.command = shlex.join(["python", "train.py", *argv])  # the report tells it
    check_named_data(args)
    if not args.resume and settle_by_layout(args):  # else they are those of the run
        choose_recipe(args)
    check_arguments(args)
    args.corrected_labels = read_corrections(args.corrections_file)  # once for all folds
    load_pytorch(args.threads)
    from training.runs import train_in_processes

    return train_in_processes(args)


if __name__ == "__main__":
    run_script(main)
