"""Files are never half-written, and a script ends with one line and the right exit code."""

import csv
import importlib
import json
import os
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from common.csv_dialects import DIALECTS
from common.errors import UserError
from common.files import (
    ROOT,
    cache_folder,
    check_suffix,
    output_file,
    output_folder,
    read_csv,
    sha256_of_file,
    usable_folder,
    write_atomic,
    write_csv,
    write_json,
)
from common.labels import is_defect
from common.text import count_of

DIE_AT = """
import os, signal, sys
from common.files import write_atomic
setattr(os, sys.argv[2], lambda *args: os.kill(os.getpid(), signal.SIGKILL))
write_atomic(sys.argv[1], "new")
"""

SMALL_DISK = """
import resource, sys
from common.errors import run_script
from common.files import write_atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
run_script(lambda: write_atomic(sys.argv[1], b"n" * 10_000))
"""

SCRIPT = """
import os, signal
from common.errors import UserError, run_script
# A shell's background job, and so its children, ignore SIGINT.
signal.signal(signal.SIGINT, signal.default_int_handler)
def main():
    try:
        {body}
    finally:
        print("cleaned up")
run_script(main)
"""


def child(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_write_replaces_the_file_and_creates_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    write_atomic(path, "old")
    write_atomic(path, "größer")
    assert path.read_bytes() == "größer".encode()
    write_atomic(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert os.listdir(path.parent) == ["file.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, monkeypatch, step):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(UserError, match=r"file\.txt: No space left on device") as caught:
        write_atomic(path, "new")
    assert caught.value.exit_code == 1
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_kill_while_writing_keeps_the_old_file(tmp_path, step):
    path = tmp_path / "file.txt"
    path.write_text("old")
    assert child(DIE_AT, path, step).returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    write_atomic(path, "new")
    assert path.read_text() == "new"


def test_full_disk_is_one_line_with_the_path_and_the_old_file_stays(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    result = child(SMALL_DISK, path)
    assert result.returncode == 1
    assert result.stderr == f"error: cannot write {path}: File too large\n"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_write_below_a_file_is_refused_with_its_path(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*file/split\.csv"):
        write_atomic(tmp_path / "file" / "split.csv", "new")


@pytest.mark.parametrize(
    ("body", "code", "stderr"),
    [
        ("return 0", 0, ""),
        ("return 3", 3, ""),
        ("raise UserError('no such folder: x')", 2, "error: no such folder: x\n"),
        ("raise UserError('disk full', 1)", 1, "error: disk full\n"),
        ("raise KeyboardInterrupt", 130, "interrupted\n"),
        ("os.kill(os.getpid(), signal.SIGINT)", 130, "interrupted\n"),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143, "terminated\n"),
    ],
)
def test_script_ends_with_one_line_and_its_exit_code(body, code, stderr):
    result = child(SCRIPT.format(body=body))
    assert (result.returncode, result.stderr) == (code, stderr)
    assert result.stdout == "cleaned up\n"


def test_a_bug_is_not_disguised_as_a_user_error():
    result = child(SCRIPT.format(body="raise ValueError('a bug')"))
    assert result.returncode == 1
    assert "Traceback" in result.stderr


def test_usable_folder_is_created_and_left_empty(tmp_path):
    folder = usable_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert os.listdir(folder) == []


@pytest.mark.parametrize("wrote", [True, False])
def test_a_folder_that_was_made_for_nothing_is_gone_again(tmp_path, wrote):
    def fail(folder):
        with output_folder(folder):
            if wrote:
                (folder / "half.csv").touch()
            raise UserError("nothing to do")

    (tmp_path / "own").mkdir()
    for name, stays in (("new", wrote), ("new too/below", wrote), ("own", True)):
        with pytest.raises(UserError, match="nothing to do"):
            fail(tmp_path / name)
        assert (tmp_path / Path(name).parts[0]).exists() == stays


def test_file_in_place_of_the_output_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("in the way")
    for folder in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(UserError, match=f"cannot use {folder} .*; choose another") as caught:
            usable_folder(folder)
        assert caught.value.exit_code == 2
    assert (tmp_path / "out").read_text() == "in the way"


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that takes no files")
def test_folder_that_takes_no_files_is_refused():
    with pytest.raises(UserError, match="cannot use /proc"):
        usable_folder("/proc")


def test_cache_lies_where_the_variable_says_else_in_the_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("CASTING_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("CASTING_CACHE", "")
    assert cache_folder() == ROOT / ".cache"
    monkeypatch.delenv("CASTING_CACHE")
    assert cache_folder() == ROOT / ".cache"


@pytest.mark.parametrize(
    ("label", "defect"),
    [
        ("ok_front", False),
        ("OK", False),
        ("okay", False),
        ("def_front", True),
        ("blow_hole", True),
        ("not_ok", True),
    ],
)
def test_only_labels_that_begin_with_ok_are_good(label, defect):
    assert is_defect(label) is defect


def test_csv_and_json_read_back(tmp_path):
    write_csv(tmp_path / "a.csv", ["path", "n"], [("a, b", 1), ('"c"', 2)])
    assert (tmp_path / "a.csv").read_bytes() == b'path,n\n"a, b",1\n"""c""",2\n'
    write_json(tmp_path / "a.json", {"n": [1, None]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"n": [1, None]}
    assert text.endswith("}\n")


def test_a_table_holds_no_formula_and_gives_back_what_was_written(tmp_path):
    path = tmp_path / "table.csv"
    texts = ["=1+1.png", "+1", "-1", "@SUM(A1)", "\tx", "＝1", "'=1", "''@", "'quoted'", "plain"]  # noqa: RUF001
    write_csv(path, ["name", "number"], [(text, -0.5) for text in texts])
    with open(path, newline="", encoding="utf-8") as file:
        shown = list(csv.DictReader(file))
    assert [row["name"][0] for row in shown] == ["'"] * 9 + ["p"]
    assert {row["number"] for row in shown} == {"-0.5"}
    assert [row["name"] for row in read_csv(path, ["name"])] == texts


def test_a_german_excel_reads_a_table_and_so_do_we(tmp_path):
    path, dialect = tmp_path / "table.csv", DIALECTS["excel-de"]
    row = ["größe; 1.5", "=1+1", -0.5, Decimal("0.250000"), 7, None]
    columns = ["name", "formula", "number", "digits", "count", "none"]
    write_csv(path, columns, [row], dialect)
    text = 'name;formula;number;digits;count;none\n"größe; 1.5";\'=1+1;-0,5;0,250000;7;\n'
    assert path.read_bytes() == b"\xef\xbb\xbf" + text.encode()
    (line,) = read_csv(path, ["name", "formula"])
    assert (line["name"], line["formula"], line["number"]) == ("größe; 1.5", "=1+1", "-0,5")


def test_a_person_reads_rounded_numbers_and_times_without_letters(tmp_path):
    row = ["2026-11-24T09:30:07.123Z", 0.123456789, 1.0, "S0042"]
    columns = ["time", "number", "whole", "serial"]
    write_csv(tmp_path / "a.csv", columns, [row], DIALECTS["excel-de"])
    head, line = (tmp_path / "a.csv").read_text(encoding="utf-8-sig").splitlines()
    assert head == "time (UTC);number;whole;serial"
    assert line == "2026-11-24 09:30:07;0,123457;1;S0042"


def test_by_default_numbers_have_points_and_keep_their_digits(tmp_path):
    write_csv(tmp_path / "a.csv", ["a", "b"], [[1e-07, Decimal("0.000000")]])
    assert (tmp_path / "a.csv").read_bytes() == b"a,b\n1e-07,0.000000\n"


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")  # FIPS 180-2, example B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of_file(tmp_path / "abc") == expected


def test_counts_read_as_english():
    assert [count_of(n, "image") for n in (0, 1, 7348)] == ["0 images", "1 image", "7,348 images"]


def run_without_reader(body):
    """Exit code and errors of a script whose standard output is a pipe that nobody reads."""
    with subprocess.Popen(
        [sys.executable, "-c", f"from common.errors import run_script\n{body}"],
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        errors = process.stderr.read()
    return process.returncode, errors


@pytest.mark.parametrize("code", [0, 4])
def test_a_reader_that_leaves_at_the_end_does_not_change_the_exit_code(code):
    body = f"def main():\n    print('x')\n    return {code}\nrun_script(main)"
    assert run_without_reader(body) == (code, b"")


def test_work_cut_short_by_a_closed_pipe_is_no_success():
    body = "def main():\n    for _ in range(100000): print('line')\n    return 0\nrun_script(main)"
    assert run_without_reader(body) == (141, b"")


@pytest.mark.parametrize("name", ["x.pdf", "x", "-", "x.csv.xlsx", "csv"])
def test_a_file_is_called_what_it_will_be(name):
    check_suffix("--out", Path("x.CSV"), ".csv")
    with pytest.raises(UserError, match=r"--out .* must end in \.csv"):
        check_suffix("--out", Path(name), ".csv")


def test_a_folder_with_the_name_of_a_file_is_a_mistake_unless_it_is_there(tmp_path):
    with pytest.raises(UserError, match="name a folder"):
        usable_folder(tmp_path / "report.pdf")
    assert not list(tmp_path.iterdir())
    (tmp_path / "report.pdf").mkdir()
    usable_folder(tmp_path / "report.pdf")
    usable_folder(tmp_path / "v1.2")


@pytest.mark.parametrize(
    "content", ["", "a,c\n1,2\n", "\0" * 99, "a,b\n" + "x" * 200_000, "a,b\n\xff", None]
)
def test_what_is_no_such_table_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_text("a,b,c\n1\n", encoding="utf-8-sig")
    assert read_csv(path, ["b", "a"]) == [{"a": "1", "b": "", "c": ""}]
    path.unlink()
    if content is not None:
        path.write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"table\.csv") as failure:
        read_csv(path, ["a", "b"])
    assert "\n" not in str(failure.value)


HOLDS = """
import sys, time
from pathlib import Path
from common.files import output_file, output_folder
with output_folder(Path(sys.argv[1])), output_file(Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_an_output_is_one_runs_alone_until_it_ends_however_that_is(tmp_path):
    folder, file = tmp_path / "out", tmp_path / "table.csv"
    arguments = [sys.executable, "-c", HOLDS, str(folder), str(file)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=r"another run is writing into .*out;") as refused:
            output_folder(folder).__enter__()
        assert refused.value.exit_code == 2
        with pytest.raises(UserError, match=r"another run is writing .*table\.csv;"):
            output_file(file).__enter__()
        with output_file(tmp_path / "other.csv"):
            pass
        other.kill()
    with output_folder(folder), output_file(file):
        write_csv(file, ["n"], [[1]])
    assert (os.listdir(folder), sorted(os.listdir(tmp_path))) == ([], ["out", "table.csv"])


def test_an_output_replaces_no_folder_device_or_input(tmp_path):
    table, log = tmp_path / "table.csv", tmp_path / "log.db"
    for place in (tmp_path, Path(os.devnull)):
        with pytest.raises(UserError, match="is a folder or a device"):
            output_file(place).__enter__()
    with pytest.raises(UserError, match="it is to be read"):
        output_file(table, None, tmp_path / "." / "table.csv").__enter__()
    log.write_text("records")
    table.symlink_to(log)
    with pytest.raises(UserError, match="it is to be read"):
        output_file(table, log).__enter__()
    assert log.read_text() == "records"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("test", []),
        ("probe", []),
        ("data_split", []),
        ("explain", ["part.jpeg"]),
        ("synthetic", []),
    ],
)
def test_every_command_that_writes_a_folder_refuses_one_that_is_in_use(
    tmp_path, command, arguments
):
    with output_folder(tmp_path), pytest.raises(UserError, match="another run is writing into"):
        importlib.import_module(command).main([*arguments, "--out", str(tmp_path)])


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("predict", ["{part}", "--out", "{table}"]),
        ("export", ["--out", "{model}"]),
        ("records", ["export", "--csv", "{table}"]),
    ],
)
def test_every_command_that_writes_a_file_refuses_one_that_is_in_use(tmp_path, command, arguments):
    part, table, model = (tmp_path / name for name in ("part.jpeg", "out.csv", "out.onnx"))
    part.touch()
    own = [text.format(part=part, table=table, model=model) for text in arguments]
    with output_file(table), output_file(model):
        with pytest.raises(UserError, match="another run is writing"):
            importlib.import_module(command).main(own)


@pytest.mark.parametrize(
    "text",
    [
        "path;casting\na,b;1\n",
        "Path ; CASTING;note\na,b;1;x\n",
        "path\tcasting\na,b\t1\n",
        'path,casting\n"a,b",1\n',
        '\ufeff PATH,Casting\n"a,b",1\n',
    ],
)
def test_a_table_is_read_as_spreadsheets_and_people_write_it(tmp_path, text):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    (line,) = read_csv(tmp_path / "t.csv", ("path", "casting"))
    assert (line["path"], line["casting"]) == ("a,b", "1")


def test_a_column_of_the_very_name_comes_before_one_that_is_like_it(tmp_path):
    (tmp_path / "t.csv").write_text("Path,path\n1,2\n")
    assert read_csv(tmp_path / "t.csv", ("path",)) == [{"Path": "1", "path": "2"}]
