"""Speed of the service, under load from another process on this machine."""

import argparse
import csv
import io
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from json import loads
from pathlib import Path

import numpy as np

from benchmarks.timing import describe_machine, interleave
from common.errors import UserError
from common.files import ROOT
from data_split import load_split
from dataset.sources import data_name, find_data
from inspection.options import BATCH_SIZE
from inspection.predictor import Predictor, load_predictor
from model import find_checkpoint

RATE = 20  # requests a second, four at a time
PACED_S, CROWD_S = 60, 10  # how long each kind of load lasts
CROWD = 32  # clients at saturation
LONG_RUN = 10_000  # requests while memory is watched
# wrk's: each request another photograph
WRK_SCRIPT = """
local bodies = {}
for name in io.lines("NAMES") do
  local file = io.open(name, "rb")
  bodies[#bodies + 1] = file:read("*a")
  file:close()
end
local number = 0
request = function()
  number = number + 1
  local headers = {["Content-Type"] = "image/jpeg"}
  return wrk.format("POST", "/v1/predict", headers, bodies[number % #bodies + 1])
end
done = function(summary)
  local errors = summary.errors
  local bad = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  print(string.format("RESULT %d %d %d", summary.requests, summary.duration, bad))
end
"""


@dataclass(frozen=True)
class Load:
    """What a load generator did."""

    requests: int
    errors: int
    seconds: float
    generator_cpu_s: float
    service_cpu_s: float


def measure_service(args: argparse.Namespace) -> dict:
    """Latency at 20 requests/s, images/s at saturation beside predict.py's own, memory, parity."""
    for tool in ("hey", "wrk"):
        if not shutil.which(tool):
            raise UserError(f"{tool} makes the load and is missing; on Debian: apt install {tool}")
    path = find_checkpoint(args.checkpoint)
    predictor = load_predictor(path, args.device)
    root = find_data(args.data)
    rows, _ = load_split(root)
    held_out = [root / row.path for row in rows if row.split != "train"]
    parts = [held_out[i * len(held_out) // args.parts] for i in range(args.parts)]
    with tempfile.TemporaryDirectory() as folder, service(path, Path(folder)) as (url, process):
        script = wrk_script(parts, Path(folder))
        parity = compare(url, predictor, parts)
        say("decisions compared; one minute at 20 requests/s")
        rate, latencies_ms = paced(url, process, parts[0])
        speeds, loads = interleaved_speeds(url, process, script, predictor, parts, args.rounds)
        say(f"{LONG_RUN:,} requests, watching the memory")
        memory_mb = long_run(url, process, script)
    own, served = map(statistics.median, (speeds["predict.py"], speeds["service"]))
    ratios = [b / a for a, b in zip(speeds["predict.py"], speeds["service"], strict=True)]
    p50, p95, p99 = np.percentile(latencies_ms, [50, 95, 99])
    return {
        "benchmark": "serve",
        "machine": describe_machine(predictor.device),
        "data": data_name(root),
        "checkpoint": f"{path} ({predictor.model_id})",
        "image_size": predictor.checkpoint.image_size_px,
        **parity,
        "paced": {
            "asked_per_s": RATE,
            "requests_per_s": round(rate.requests / rate.seconds, 1),
            "requests": rate.requests,
            "errors": rate.errors,
            "p50_ms": round(float(p50), 1),
            "p95_ms": round(float(p95), 1),
            "p99_ms": round(float(p99), 1),
            **cpu_shares([rate]),
        },
        "saturated": {
            "rounds": args.rounds,
            "images_per_s": round(served, 1),
            "predict_images_per_s": round(own, 1),
            "ratio_vs_predict": round(statistics.median(ratios), 2),
            "ratios": [round(ratio, 2) for ratio in ratios],
            "errors": sum(load.errors for load in loads),
            **cpu_shares(loads),
        },
        "memory_mb": memory_mb,
    }


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def service(checkpoint: Path, folder: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """A service of its own process on a free port: its address and process."""
    options = ["--port", "0", "--checkpoint", str(checkpoint), "--log", str(folder / "log.db")]
    environment = {k: v for k, v in os.environ.items() if k != "CASTING_API_KEY"}
    with open(folder / "service.log", "w") as log:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "serve.py"), *options],
            stdout=subprocess.PIPE, stderr=log, text=True, env=environment,
        )  # fmt: skip
    try:
        while not (found := re.search(r"http://\S+", process.stdout.readline())):
            if process.poll() is not None:
                reason = (folder / "service.log").read_text().strip()
                raise UserError(f"the service did not start: {reason}")
        yield found[0], process
    finally:
        process.terminate()
        process.communicate()


def compare(url: str, predictor: Predictor, parts: Sequence[Path]) -> dict:
    """How the service's answers to a crowd differ from predict.py's on the same files."""

    def ask(path: Path) -> dict:
        request = urllib.request.Request(f"{url}/v1/predict", path.read_bytes())
        request.add_header("Content-Type", "image/jpeg")
        with urllib.request.urlopen(request) as answer:
            return loads(answer.read())

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, parts))
    direct = predictor.predict(parts)
    pairs = list(zip(answers, direct, strict=True))
    both_decided = [(a, d) for a, d in pairs if a["decision"] and d.decision]
    return {
        "parts": len(parts),
        "other_decisions": sum(a["decision"] != d.decision for a, d in pairs),
        "not_judged": sum(not d.decision for d in direct),
        "largest_difference": max(
            (abs(a["prob_defect"] - d.prob_defect) for a, d in both_decided), default=0.0
        ),
    }


def paced(url: str, process: subprocess.Popen, part: Path) -> tuple[Load, list[float]]:
    """20 requests a second from four clients, each of which waits for its answer; latencies."""
    pace = ["-z", f"{PACED_S}s", "-c", "4", "-q", str(RATE // 4)]
    body = ["-m", "POST", "-T", "image/jpeg", "-D", str(part)]
    command = ["hey", *pace, *body, "-o", "csv", f"{url}/v1/predict"]
    output, load = under_load(command, process)
    rows = list(csv.DictReader(io.StringIO(output)))
    good = [1000 * float(row["response-time"]) for row in rows if row["status-code"] == "200"]
    counts = Load(
        len(rows), len(rows) - len(good), load.seconds, load.generator_cpu_s, load.service_cpu_s
    )
    return counts, good


def interleaved_speeds(
    url: str,
    process: subprocess.Popen,
    script: Path,
    predictor: Predictor,
    parts: Sequence[Path],
    rounds: int,
) -> tuple[dict[str, list[float]], list[Load]]:
    """Images/s of predict.py in this process and of the service under a crowd, by rounds."""
    speeds, loads = {"predict.py": [], "service": []}, []
    for number, name in interleave(list(speeds), rounds):
        if name == "service":
            load = crowd(url, process, script)
            speed = load.requests / load.seconds
            loads += [load] if number else []
        else:
            speed = own_speed(predictor, parts)
        if number:
            speeds[name].append(speed)
    return speeds, loads


def own_speed(predictor: Predictor, parts: Sequence[Path]) -> float:
    """predict.py's images/s from files, in its own batches."""
    count, started = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - started) < CROWD_S:
        for start in range(0, len(parts), BATCH_SIZE):
            count += len(predictor.predict(parts[start : start + BATCH_SIZE]))
    return count / elapsed


def wrk_script(parts: Sequence[Path], folder: Path) -> Path:
    """The script that has wrk send these photographs in turn."""
    names, script = folder / "names.txt", folder / "photographs.lua"
    names.write_text("".join(f"{path.resolve()}\n" for path in parts))
    script.write_text(WRK_SCRIPT.replace("NAMES", str(names)))
    return script


def crowd(url: str, process: subprocess.Popen, script: Path) -> Load:
    """32 clients that ask again as soon as they are answered."""
    command = ["wrk", "-t", "1", "-c", str(CROWD), "-d", f"{CROWD_S}s", "--timeout", "20s"]
    output, load = under_load([*command, "-s", str(script), url], process)
    found = re.search(r"RESULT (\d+) (\d+) (\d+)", output).groups()
    requests, microseconds, errors = map(int, found)
    return Load(requests, errors, microseconds / 1e6, load.generator_cpu_s, load.service_cpu_s)


def under_load(command: list[str], process: subprocess.Popen) -> tuple[str, Load]:
    """Run a load generator; its output, how long it took and what processor time both used."""
    before, started = cpu_seconds(process.pid), time.perf_counter()
    generator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        output = generator.stdout.read()
    except BaseException:  # this process is to leave
        generator.kill()
        raise
    _, _, usage = os.wait4(generator.pid, 0)
    seconds = time.perf_counter() - started
    generator.returncode = 0
    generator.stdout.close()
    spent = cpu_seconds(process.pid) - before
    return output, Load(0, 0, seconds, usage.ru_utime + usage.ru_stime, spent)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def cpu_shares(loads: Sequence[Load]) -> dict:
    """Of all cores' time, what the generator and the service used."""
    available = sum(load.seconds for load in loads) * os.cpu_count()
    return {
        "generator_cpu_share": round(sum(load.generator_cpu_s for load in loads) / available, 3),
        "service_cpu_share": round(sum(load.service_cpu_s for load in loads) / available, 3),
    }


def long_run(url: str, process: subprocess.Popen, script: Path) -> dict:
    """Memory of the service after each tenth of 10,000 requests under a crowd, in MB."""
    counts, readings = [0], [memory_mb(process.pid)]
    while (requests := counts[-1]) < LONG_RUN:
        while requests < counts[-1] + LONG_RUN // 10:
            requests += crowd(url, process, script).requests
        counts.append(requests)
        readings.append(memory_mb(process.pid))
    return {"requests": counts, "resident_mb": readings}


def memory_mb(pid: int) -> int:
    """Resident memory of a process (Linux)."""
    text = Path(f"/proc/{pid}/status").read_text()
    return round(int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1000)
