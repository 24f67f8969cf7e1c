"""In which session each photograph was taken: from a table, else told by the light on the part.

Photographs of one session share camera, lamp and ground. The archive's second release holds two
sessions: `light`, as all of the first release, and `dark`, of darker parts on a lighter ground.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from common.errors import UserError
from common.files import read_csv
from common.text import count_of, table_path
from dataset.listing import ImageRow
from dataset.releases import SECOND, DataFolder, is_of_second

TABLE = "sessions.csv"
LIGHT, DARK = "light", "dark"
DARKER = -52.0  # grey levels of the part above its ground, from which downwards it is `dark`


def with_sessions(
    data: Path | DataFolder, rows: Sequence[ImageRow], contrasts: Sequence[float] | None
) -> list[ImageRow]:
    """The rows with their sessions; '' where neither a table nor the second release is there.

    Args:
        contrasts: (N,), grey of the part's face minus that of the ground; None where castings were
            not recognised: then only tables tell.

    Raises:
        UserError: an unusable table.
    """
    named = named_sessions(data)
    rows = [replace(row, session=named.get(row.path, "")) for row in rows]
    if contrasts is None or not any(is_of_second(row.path) for row in rows):
        return rows
    of_casting = defaultdict(list)
    for row, contrast in zip(rows, contrasts, strict=True):
        of_casting[row.casting].append(contrast)
    told = {name: DARK if median(found) < DARKER else LIGHT for name, found in of_casting.items()}
    return [row if row.session else replace(row, session=told[row.casting]) for row in rows]


def named_sessions(data: Path | DataFolder) -> dict[str, str]:
    """Session by path as in split.csv, from the tables `sessions.csv` in the data's folders.

    Raises:
        UserError: a table that cannot be read, names no plain text, or contradicts itself.
    """
    folders = {"": data}
    if isinstance(data, DataFolder):
        folders = {"": data.root, f"{SECOND}/": data.second}
    named = {}
    for prefix, folder in folders.items():
        if folder is None or not (folder / TABLE).is_file():
            continue
        for line in read_csv(folder / TABLE, ("path", "session")):
            name = line["session"].strip()
            if not name.isprintable():
                raise UserError(f"{folder / TABLE} gives {line['path']} a session that is no text")
            if named.setdefault(prefix + table_path(line["path"]), name) != name:
                raise UserError(f"{folder / TABLE} gives {line['path']} two sessions")
    return named


def sessions_line(rows: Iterable[ImageRow]) -> str:
    """'sessions: dark 179 images of 18 castings, light ...', for people; '' where none is known."""
    images, castings = Counter(), defaultdict(set)
    for row in rows:
        images[row.session] += 1
        castings[row.session].add(row.casting)
    texts = [
        f"{name} {count_of(images[name], 'image')} of {count_of(len(castings[name]), 'casting')}"
        for name in sorted(images)
        if name
    ]
    return f"sessions: {', '.join(texts)}" if texts else ""


def casting_sessions(rows: Iterable[ImageRow]) -> dict[str, str]:
    """The session of each casting, that of most of its images."""
    found = defaultdict(list)
    for row in rows:
        found[row.casting].append(row.session)
    return {name: max(sorted(set(each)), key=each.count) for name, each in found.items()}
