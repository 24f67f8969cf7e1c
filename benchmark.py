"""Measure speed, side by side in one run: plain PyTorch as it is commonly written, and ours.

    python benchmark.py train                     images/s and seconds an epoch; under 10 minutes
    python benchmark.py train --data synthetic    the same without the real images
    python benchmark.py infer                     latency of a single part, images/s of many
    python benchmark.py accuracy                  seconds to a validation accuracy; needs a GPU
    python benchmark.py heatmaps                  do heatmaps point at rendered defects?
    python benchmark.py serve                     the service under load; needs wrk and hey
    python benchmark.py gpu                       all that wants a CUDA GPU (make gpu)

Variants take turns, since a machine's speed changes from minute to minute; figures are medians.
Progress goes to stderr; a table for people, and as the last line one JSON. Leave the machine alone
meanwhile.
"""

import argparse
import json
from pathlib import Path

import torch

from benchmarks.gpu import NAMES, RESULT, USUAL, line_of, measure_on_gpu
from benchmarks.heatmaps import measure_heatmaps
from benchmarks.inference import BATCH_SIZES, measure_inference
from benchmarks.service import measure_service
from benchmarks.training import measure_accuracy, measure_training, time_to
from common.files import EXIT_FAILURE, EXIT_OK, UserError, run_script, script_parser
from rendering.casting import DEFECT_SIZES
from training.options import image_size, positive, seed, share


def print_training(result: dict) -> None:
    names = ("", "px", "batch", "images/s", "epoch", "x plain", "x workers", "of peak")
    print("{:24s} {:>4s} {:>5s} {:>9s} {:>8s} {:>8s} {:>9s} {:>8s}".format(*names))
    for line in result["variants"]:
        print(
            f"{line['name']:24s} {line['image_size']:4d} {line['batch_size']:5d} "
            f"{line['images_per_s']:9.1f} {line['epoch_s']:6.1f} s {line['ratio_vs_plain']:8.2f} "
            f"{line['ratio_vs_plain_with_workers']:9.2f} {line['share_of_peak']:8.1%}"
        )
    images = result["variants"][0]["images_a_round"]
    print(
        f"medians of {result['rounds']} rounds of {images} images of {result['data']}; an epoch "
        f"has {result['images_an_epoch']:,}"
    )
    print(f"peak {result['peak_tflops']} TFLOP/s ({result['peak_source']}); work by definition")
    print(
        f"ours decodes all images once, {result['decoding_s']} s, and needs {result['memory_mb']:,}"
        " MB at most above the interpreter with torch"
    )


def print_inference(result: dict) -> None:
    columns = "".join(f"{f'batch {size}':>10s}" for size in BATCH_SIZES)
    print(f"{'':16s}{'p50':>9s}{'p95':>9s}{'p99':>9s}{'x eager':>9s}{columns}")
    for line in result["engines"]:
        speeds = "".join(f"{line[f'images_per_s_{size}']:8.1f}/s" for size in BATCH_SIZES)
        print(
            f"{line['name']:16s}{line['p50_ms']:6.1f} ms{line['p95_ms']:6.1f} ms"
            f"{line['p99_ms']:6.1f} ms{line['ratio_vs_eager']:9.2f}{speeds}"
        )
    print(
        f"{result['parts']} parts x {result['rounds']} rounds at {result['image_size']} px, "
        f"decoding included, {result['machine']['threads']} threads; checkpoint "
        f"{result['checkpoint']}; ours needs {result['memory_mb']:,} MB above the interpreter"
    )


def print_accuracy(result: dict) -> None:
    print(f"seconds until {result['target']:.2%} of the validation images are right, by seed")
    for name in ("plain", "ours"):
        found = ", ".join(map(time_to, result[f"{name}_s"]))
        print(f"{name:6s} {found}")


def print_heatmaps(result: dict) -> None:
    print(f"{'':10s}{'pointing':>16s}{'energy inside':>15s}{'a part':>10s}")
    for line in result["methods"]:
        share = f"{line['hits']}/{result['parts']} = {line['pointing']:.1%}"
        print(f"{line['name']:10s}{share:>16s}{line['energy']:15.1%}{line['ms_a_part']:7.0f} ms")
    print(
        f"defects {' and '.join(result['sizes'])} on rendered castings never seen, "
        f"{result['mask_share']:.1%} of the picture; {result['checkpoint']}, "
        f"{result['image_size']} px; a hit is within 10 px at 300 px"
    )


def print_service(result: dict) -> None:
    paced, full, memory = result["paced"], result["saturated"], result["memory_mb"]
    print(
        f"{result['parts']} parts asked for by a crowd: {result['other_decisions']} decided "
        f"otherwise than by predict.py, probabilities within {result['largest_difference']:.1e}"
    )
    print(
        f"{paced['requests_per_s']} of {paced['asked_per_s']} requests/s for a minute: "
        f"p50 {paced['p50_ms']} ms, p95 {paced['p95_ms']} ms, p99 {paced['p99_ms']} ms, "
        f"{paced['errors']} errors; the load itself took {paced['generator_cpu_share']:.1%} of all "
        "cores"
    )
    print(
        f"saturated: {full['images_per_s']} images/s, {full['ratio_vs_predict']:.2f} times "
        f"predict.py's {full['predict_images_per_s']} in turns, {full['errors']} errors; of all "
        f"cores the load took {full['generator_cpu_share']:.1%}, the service "
        f"{full['service_cpu_share']:.1%}"
    )
    readings = ", ".join(map(str, memory["resident_mb"]))
    print(f"MB after up to {memory['requests'][-1]:,} requests: {readings}")


def print_gpu(result: dict) -> None:
    for name, found in result["outcomes"].items():
        print(f"{name:14s}{line_of(found)}")


def benchmark_parser() -> argparse.ArgumentParser:
    """The benchmarks and their options."""
    parser = script_parser(__doc__)
    names = "{train,infer,accuracy,heatmaps,serve,gpu}"
    commands = parser.add_subparsers(required=True, metavar=names)

    def command(name: str, measure, show, text: str, data: bool = True) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        one.set_defaults(measure=measure, show=show)
        if data:
            one.add_argument("--data", metavar="PATH", help="as for train.py; 'synthetic' renders")
        one.add_argument("--device", help="cuda, cpu; default: CUDA when there is one")
        return one

    train = command("train", measure_training, print_training, "training speed, variants in turns")
    infer = command("infer", measure_inference, print_inference, "latency and throughput")
    accuracy = command(
        "accuracy", measure_accuracy, print_accuracy,
        "seconds to a validation accuracy: the reference recipe in the plain loop, recipe fast "
        "in ours (with --device cpu on a CPU too: hours)",
    )  # fmt: skip
    text = "pointing game of the heatmap methods, on castings that it renders"
    heatmaps = command("heatmaps", measure_heatmaps, print_heatmaps, text, data=False)
    text = "latency, throughput, memory and answers of serve.py under load from this machine"
    serve = command("serve", measure_service, print_service, text)
    text = (
        "tests, speeds and whole trainings on a CUDA GPU, part by part, some 8 minutes on an H200; "
        f"figures go into {RESULT} in --out as soon as a part has ended"
    )
    gpu = command("gpu", measure_on_gpu, print_gpu, text)
    gpu.add_argument(
        "--parts", nargs="+", choices=NAMES, default=USUAL, help="default: all but accuracy"
    )
    gpu.add_argument(
        "--castings",
        type=Path,
        metavar="FILE",
        help="table path,casting, such as a split.csv; default: castings are recognised first",
    )
    gpu.add_argument("--out", type=Path, default=Path("results/gpu"), help="default: results/gpu")
    gpu.add_argument(
        "--tiny", action="store_true", help="as little as shows that all commands work"
    )
    for one in (train, accuracy):
        one.add_argument("--image-size", type=image_size, default=224, metavar="PX")
        one.add_argument("--batch-size", type=positive, default=16, metavar="N")
    train.add_argument(
        "--batches", type=positive, metavar="N", help="a round; default 13, on a GPU an epoch"
    )
    for one in (train, infer, serve):
        one.add_argument("--rounds", type=positive, default=5, metavar="N", help="default 5")
    for one in (infer, heatmaps, serve):
        one.add_argument("--checkpoint", type=Path, metavar="FILE", help="default: the latest")
    heatmaps.add_argument("--parts", type=positive, default=120, metavar="N", help="default 120")
    heatmaps.add_argument(
        "--sizes", nargs="+", choices=DEFECT_SIZES, default=["medium", "large"], help="of defects"
    )
    for one in (infer, serve):
        one.add_argument("--parts", type=positive, default=64, metavar="N", help="default 64")
    infer.add_argument("--threads", type=positive, metavar="N", help="default: PyTorch's own")
    accuracy.add_argument("--target", type=share, default=0.99, metavar="X", help="default 0.99")
    accuracy.add_argument("--epochs", type=positive, default=30, metavar="N", help="of plain")
    accuracy.add_argument("--seeds", type=seed, nargs="+", default=[0, 1, 2], metavar="N")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = benchmark_parser().parse_args(argv)
    name = {measure_accuracy: "accuracy", measure_on_gpu: "gpu"}.get(args.measure)
    if name and not args.device and not torch.cuda.is_available():
        raise UserError(f"benchmark.py {name} needs a CUDA GPU; on a CPU it would take hours")
    if getattr(args, "threads", None):
        torch.set_num_threads(args.threads)
    result = args.measure(args)
    args.show(result)
    print(json.dumps(result))
    failed = any("error" in outcome for outcome in result.get("outcomes", {}).values())
    return EXIT_FAILURE if failed else EXIT_OK


if __name__ == "__main__":
    run_script(main)
