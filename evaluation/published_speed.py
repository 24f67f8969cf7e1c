"""Published speeds as text: what benchmark.py and make gpu measured, from docs/results.json."""


def speed_table(results: dict) -> str:
    """What benchmark.py measured, as ratios to plain PyTorch in the same run."""
    lines = ["| what | machine | times plain PyTorch |", "|---|---|---|"]
    for key in ("train cpu", "infer cpu", "train gpu", "infer gpu", "accuracy gpu"):
        command, _, device = key.partition(" ")
        if key in results["speed"]:
            lines += SPEED_LINES[command](results["speed"][key])
        else:
            kind = "NVIDIA GPU" if device == "gpu" else "CPU"
            lines.append(f"| `python benchmark.py {command}` | {kind} | not measured |")
    table = "\n".join(lines) + "\n"
    return table + (f"\n{gpu_text(results['gpu'])}" if "gpu" in results else "")


def gpu_text(gpu: dict) -> str:
    """What make gpu measured of whole trainings: an epoch with validation."""
    found = {name: one["figures"] for name, one in gpu["outcomes"].items() if "figures" in one}
    epochs = ", ".join(
        f"{title} {found[name]['epoch_s']:.1f} s (the first {found[name]['first_epoch_s']:.0f} s)"
        for name, title in GPU_EPOCHS.items()
        if name in found
    )
    tests = f"{found['tests']['text'].split(' in ')[0]}; " if "tests" in found else ""
    return (
        f"On an {gpu['machine']['device']} (`make gpu`), tests that need a GPU: {tests}an epoch "
        f"with validation, from random weights:\n{epochs}. The first one starts CUDA.\n"
    )


def training_speed_lines(speed: dict) -> list[str]:
    """A line for each variant but the plain loop itself."""
    plain = speed["variants"][0]
    return [
        f"| training: {line['name']}, {line['image_size']} px, batch {line['batch_size']}, "
        f"{seconds(line['epoch_s'])} an epoch; the plain loop at {plain['image_size']} px, batch "
        f"{plain['batch_size']} {seconds(plain['epoch_s'])} | {where(speed)} | "
        f"{line['ratio_vs_plain']:.2f} |"
        for line in speed["variants"][1:]
    ]


def inference_speed_lines(speed: dict) -> list[str]:
    """A line for each engine but eager PyTorch, for single parts."""
    plain = speed["engines"][0]
    return [
        f"| one part, network {speed['network']}, {speed['image_size']} px, decoding included: "
        f"{line['name']}, median {line['p50_ms']:.0f} ms, p95 {line['p95_ms']:.0f} ms; plain "
        f"ResNet-18 at {speed['plain_image_size']} px {plain['p50_ms']:.0f} ms | {where(speed)} | "
        f"{line['ratio_vs_eager']:.2f} |"
        for line in speed["engines"][1:]
    ]


def accuracy_speed_lines(speed: dict) -> list[str]:
    """One line: the medians over the seeds that reached the target."""
    plain, ours = (
        sorted(s for s in speed[name] if s is not None) for name in ("plain_s", "ours_s")
    )
    if len(plain) < len(speed["seeds"]) or len(ours) < len(speed["seeds"]):
        text = f"reached with {len(ours)} of {len(speed['seeds'])} seeds, plain with {len(plain)}"
    else:
        text = f"{plain[len(plain) // 2] / ours[len(ours) // 2]:.1f}"
    return [f"| seconds to {speed['target']:.1%} on validation | {where(speed)} | {text} |"]


GPU_EPOCHS = {
    "eager": "reference recipe",
    "graph": "with `--amp --cuda-graph`",
    "fast": "recipe fast with them",
}
SPEED_LINES = {
    "train": training_speed_lines,
    "infer": inference_speed_lines,
    "accuracy": accuracy_speed_lines,
}


def where(speed: dict) -> str:
    """The machine, and the data unless they are the real images."""
    machine = speed["machine"]
    text = machine["device"] + ("" if machine["gpu"] else f", {machine['threads']} threads")
    return text if speed["data"] == "castings" else f"{text}, {speed['data']}"


def seconds(value: float) -> str:
    return f"{value / 60:.1f} min" if value >= 90 else f"{value:.1f} s"


def service_text(results: dict) -> str:
    """What benchmark.py serve measured, in a paragraph."""
    speed = results["speed"].get("serve cpu")
    if speed is None:
        return "`python benchmark.py serve`: not measured\n"
    paced, full, memory = speed["paced"], speed["saturated"], speed["memory_mb"]
    megabytes = memory["resident_mb"]
    return (
        f"Under load from the same machine ({where(speed)}, {speed['image_size']} px): "
        f"four clients that ask for {paced['asked_per_s']} requests/s get "
        f"{paced['requests_per_s']:.0f}, p50 {paced['p50_ms']:.0f} ms, p95 "
        f"{paced['p95_ms']:.0f} ms;\n"
        f"saturated {full['images_per_s']:.0f} images/s, "
        f"{full['ratio_vs_predict']:.2f} times predict.py's own {full['predict_images_per_s']:.0f} "
        f"(interleaved), while the load took {full['generator_cpu_share']:.1%} of the cores; "
        f"memory {megabytes[0]:,} MB at first,\n{max(megabytes):,} MB at most over "
        f"{memory['requests'][-1]:,} requests; {speed['other_decisions']} of {speed['parts']} "
        f"parts decided otherwise than by predict.py, probabilities within "
        f"{max(speed['largest_difference'], 1e-7):.0e}.\n"
    )
