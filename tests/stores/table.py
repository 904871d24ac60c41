"""
Write docs/evidence/stores.md from the cases of this suite.

Run ``python -m tests.stores.table``; a test fails if the committed page differs, and another one runs every case on
every store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[2] / "docs" / "evidence" / "stores.md"

STORES: Final = {"azure": "Azure", "gcs": "Google Cloud Storage", "s3": "S3", "disk": "Local disk"}
LEFT: Final = {
    "azure": "uncommitted blocks",
    "gcs": "an upload session, in no listing",
    "s3": "an open upload",
    "disk": "a `.part` file",
}

KB: Final = 1000
MIB: Final = 1024 * 1024
SIZES: Final = {"12 KB": 12 * KB, "20 MiB": 20 * MIB}

WHOLE: Final = "whole"
NO_FILE: Final = "fails, no file"
STAYS: Final = "fails, the file stays"
OTHERS_STAYS: Final = "fails, the other's file stays"

NOTHING: Final = "nothing"
ANOTHER_TASK: Final = "another task stores the path"
CUT: Final = "the connection is cut"
KILLED: Final = "the process is killed (SIGKILL)"


@dataclass(frozen=True)
class Case:
    """
    One ending of a task that stores a file.

    :param event: what happens during the download.
    :param after: after how many bytes it happens; ``None`` for half of the file.
    :param sizes: the files it happens to.
    :param older: whether a file is at the path before.
    :param result: what is there afterwards.
    :param differs: the result on a store where it is another one, by store and size.
    :param left: on which stores an unfinished upload remains.
    """

    event: str
    older: bool
    overwrite: bool
    result: str
    after: int | None = None
    sizes: tuple[str, ...] = tuple(SIZES)
    differs: Mapping[tuple[str, str], str] = field(default_factory=dict)
    left: tuple[str, ...] = ()

    def result_on(self, store: str, size: str) -> str:
        return self.differs.get((store, size), self.result)

    @property
    def when(self) -> str:
        if self.after is None:
            return self.event
        return f"{self.event} after {f'{self.after // MIB} MiB' if self.after >= MIB else f'{self.after // KB} KB'}"

    def __str__(self) -> str:
        return f"{'older file' if self.older else 'no file'}, overwrite={self.overwrite}, {self.when}"


CASES: Final = (
    Case(NOTHING, older=False, overwrite=False, result=WHOLE),
    Case(NOTHING, older=False, overwrite=True, result=WHOLE),
    Case(NOTHING, older=True, overwrite=True, result=WHOLE),
    Case(NOTHING, older=True, overwrite=False, result=STAYS),
    Case(ANOTHER_TASK, older=False, overwrite=False, result=OTHERS_STAYS),
    Case(
        ANOTHER_TASK,
        older=False,
        overwrite=True,
        result=WHOLE,
        differs={("azure", "20 MiB"): OTHERS_STAYS},
    ),
    *(
        Case(
            CUT,
            older=older,
            overwrite=older,
            result=STAYS if older else NO_FILE,
            after=after,
            sizes=("20 MiB",),
            left=("azure",) if after > 8 * MIB else (),
        )
        for after in (6 * KB, 100 * KB, 12 * MIB)
        for older in (False, True)
    ),
    *(
        Case(
            KILLED,
            older=older,
            overwrite=older,
            result=STAYS if older else NO_FILE,
            after=18 * MIB,
            sizes=("20 MiB",),
            left=("azure", "gcs", "s3", "disk"),
        )
        for older in (False, True)
    ),
)


def cell(case: Case, store: str) -> str:
    results = {size: case.result_on(store, size) for size in case.sizes}
    same = len(set(results.values())) == 1
    text = results[case.sizes[0]] if same else "; ".join(f"{size}: {result}" for size, result in results.items())
    return f"{text}; left: {LEFT[store]}" if store in case.left else text


def page() -> str:
    rows = [
        ["`overwrite`", "At the path before", "During the download", *STORES.values()],
        ["---"] * (3 + len(STORES)),
        *(
            [
                f"`{case.overwrite}`",
                "a file" if case.older else "nothing",
                "-" if case.event == NOTHING else case.when,
                *(cell(case, store) for store in STORES),
            ]
            for case in CASES
        ),
    ]
    return TEMPLATE.format(table="\n".join(f"| {' | '.join(row)} |" for row in rows))


TEMPLATE: Final = """\
# What is at a path after a task

`CruxExportToObjectStorageOperator` stores a file completely or not at all. This table says what is at `path` after each
ending of a task, and what remains beside it. `python -m tests.stores.table` writes it from the tests, and `make stores`
runs each row on every store, with files of 12 KB and of 20 MiB, with and without a manifest.

- **whole**: the new file, complete. The task succeeds.
- **fails, no file**: nothing is at the path.
- **fails, the file stays**: the file that was there before, unchanged.
- **fails, the other's file stays**: the complete file that another task stored meanwhile.

{table}

What is left is never visible as a file, except on a disk, and does not hinder the next task:
[Storing](../storing.md) says what removes it. While two tasks upload to one path, Azure drops the parts of the one that
ends later, if its file is larger than 8 MiB: that task fails, and its retry replaces the file. In all other cases, the
last one wins. So let no two tasks write to the same path.

The servers are Azurite, moto, a local disk, and fake-gcs-server behind a relay that evaluates the condition for a new
object when the upload is completed, as Google Cloud Storage does.
"""


if __name__ == "__main__":
    PAGE.write_text(page())
