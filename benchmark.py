"""Measure speed, side by side in one run: plain PyTorch as it is commonly written, and ours.

    python benchmark.py train                     images/s and seconds an epoch; under 10 minutes
    python benchmark.py train --data synthetic    the same without the real images
    python benchmark.py infer                     latency of a single part, images/s of many
    python benchmark.py accuracy                  seconds to a validation accuracy; needs a GPU
    python benchmark.py heatmaps                  do heatmaps point at rendered defects?
    python benchmark.py serve                     the service under load; needs wrk and hey
    python benchmark.py adapt --checkpoint F      what adapt.py reaches on a session new to a model
    python benchmark.py curve --data mine         how many parts are enough: curve.png
    python benchmark.py gpu                       all that wants a CUDA GPU (make gpu)

Variants are interleaved, since a machine's speed changes from minute to minute; figures are
medians. Progress goes to stderr; a table for people, and as the last line one JSON. Leave the
machine alone meanwhile.
"""

import importlib
import json
from statistics import mean

from benchmarks.options import build_parser
from common.errors import EXIT_FAILURE, EXIT_OK, UserError, run_script
from common.progress import load_pytorch


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
    sizes = [
        key.rpartition("_")[2] for key in result["engines"][0] if key.startswith("images_per_s")
    ]
    columns = "".join(f"{f'batch {size}':>10s}" for size in sizes)
    print(f"{'':16s}{'p50':>9s}{'p95':>9s}{'p99':>9s}{'x eager':>9s}{columns}")
    for line in result["engines"]:
        speeds = "".join(f"{line[f'images_per_s_{size}']:8.1f}/s" for size in sizes)
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
    from benchmarks.training import time_to

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
        f"defects {' and '.join(result['sizes'])} on rendered, unseen castings, "
        f"{result['mask_share']:.1%} of the image; {result['checkpoint']}, "
        f"{result['image_size']} px; a hit is within 10 px at 300 px"
    )


def print_adaptation(result: dict) -> None:
    print(
        f"{'':18s}{'AUC':>16s}{'balanced':>18s}{'missed':>9s}{'rejected':>9s}{'known worse':>13s}"
    )
    draws, known = result["draws"], result["known"]["photographs"]
    for way in ("before", "threshold", "network"):
        auc, balanced = ([draw[way][name] for draw in draws] for name in ("auc", "balanced"))
        missed, rejected, worse = (
            sum(draw[way].get(name, 0) for draw in draws)
            for name in ("missed", "rejected", "known_worse")
        )
        print(
            f"{way:18s}{mean(auc):9.3f} ({min(auc):.2f}){mean(balanced):11.3f} "
            f"({min(balanced):.2f}){missed:9d}{rejected:9d}{worse / len(draws) / known:13.1%}"
        )
    print(
        f"means (and worst) of {len(draws)} draws of {result['photographs']} good photographs of "
        f"{result['castings']} castings of the {result['session']} session, tested on its others "
        f"({sum(draw['defective'] for draw in draws):,} defective and "
        f"{sum(draw['good'] for draw in draws):,} good photographs in all); "
        f"known: {known} photographs of other sessions; {result['checkpoint']}"
    )


def print_curve(result: dict) -> None:
    print(
        f"{'good':>6s}{'defective':>11s}{'photographs':>13s}{'ROC-AUC':>10s}{'missed':>9s}"
        f"{'rejected':>10s}"
    )
    for point in result["points"]:
        print(
            f"{point['good_parts']:6d}{point['defective_parts']:11d}{point['photographs']:13,d}"
            f"{point['roc_auc']:10.3f}"
            f"{point['missed']:9.1%}{point['false_alarms']:10.1%}"
        )
    tested = result["tested"]
    print(
        f"parts to learn from, good and defective; tested on {tested['defective']:,} defective and "
        f"{tested['good']:,} good photographs of unseen parts of {result['data']}"
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
        f"predict.py's own {full['predict_images_per_s']}, interleaved with it, {full['errors']} "
        f"errors; of all cores the load took {full['generator_cpu_share']:.1%}, the service "
        f"{full['service_cpu_share']:.1%}"
    )
    readings = ", ".join(map(str, memory["resident_mb"]))
    print(f"MB after up to {memory['requests'][-1]:,} requests: {readings}")


def print_gpu(result: dict) -> None:
    from benchmarks.gpu import line_of

    for name, found in result["outcomes"].items():
        print(f"{name:14s}{line_of(found)}")


# Of each benchmark: where it is, and how it is shown
BENCHMARKS = {
    "train": ("benchmarks.training", "measure_training", print_training),
    "accuracy": ("benchmarks.training", "measure_accuracy", print_accuracy),
    "infer": ("benchmarks.inference", "measure_inference", print_inference),
    "heatmaps": ("benchmarks.heatmaps", "measure_heatmaps", print_heatmaps),
    "adapt": ("benchmarks.adaptation", "measure_adaptation", print_adaptation),
    "curve": ("benchmarks.curve", "measure_curve", print_curve),
    "serve": ("benchmarks.service", "measure_service", print_service),
    "gpu": ("benchmarks.gpu", "measure_on_gpu", print_gpu),
}
NEED_A_GPU = ("accuracy", "gpu")


def main(argv: list[str] | None = None) -> int:
    args = build_parser(__doc__).parse_args(argv)
    load_pytorch(getattr(args, "threads", None))
    import torch

    name = args.benchmark
    if name in NEED_A_GPU and not args.device and not torch.cuda.is_available():
        raise UserError(f"benchmark.py {name} needs a CUDA GPU; on a CPU it would take hours")
    module, function, show = BENCHMARKS[name]
    result = getattr(importlib.import_module(module), function)(args)
    show(result)
    print(json.dumps(result))
    failed = any("error" in outcome for outcome in result.get("outcomes", {}).values())
    return EXIT_FAILURE if failed else EXIT_OK


if __name__ == "__main__":
    run_script(main)
