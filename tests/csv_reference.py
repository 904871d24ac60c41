"""What Python's :mod:`csv` makes of a file in strict mode: the reference for every path that a file can take."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field


@dataclass
class Reading:
    """
    The records of a file with the header, without blank lines and without lines of nothing but commas.

    :ivar fault: the row at which the parser gives up; the header is 0.
    """

    records: list[list[str]] = field(default_factory=list)
    fault: int | None = None

    @property
    def rows(self) -> int | None:
        """The records without the header; ``None`` if they cannot be read."""
        return max(len(self.records) - 1, 0) if self.fault is None else None


def read_strictly(content: bytes) -> Reading:
    """Read a complete file."""
    text = content.decode("utf-8-sig", errors="surrogateescape")
    lines = list(io.StringIO(text, newline=""))
    reading = Reading()
    previous = csv.field_size_limit(1 << 30)
    try:
        reader = csv.reader(lines, strict=True)
        begin = 0
        for record in reader:
            # the parser does not tell a quoted empty value from a missing one, so the line decides
            if "".join(lines[begin : reader.line_num]).strip("\r\n").strip(","):
                reading.records.append(record)
            begin = reader.line_num
    except csv.Error:
        reading.fault = len(reading.records)
    finally:
        csv.field_size_limit(previous)
    return reading
