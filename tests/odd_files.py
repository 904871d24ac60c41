"""Odd files that Crux Connect might serve one day, and who refuses them. Every path that a file can take gets all."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from airflow_provider_crux.files.records import MAX_RECORD_BYTES

COLUMNS: Final = ("order_uuid", "line_item_uuid", "quantity", "price", "name", "city")
"""A text that is never missing, another one, a whole number, an amount, a personal text and a text."""

HEADER: Final = ",".join(COLUMNS)
BOM: Final = "\ufeff"
CHUNK_BYTES: Final = 29
"""Small, so that chunks end in the middle of everything."""

# who refuses a file
NOBODY: Final = "nobody"
TABLES: Final = "tables"
TYPED: Final = "Parquet and tables"
PARSERS: Final = "whoever parses it"
ALL: Final = "all"


@dataclass(frozen=True)
class OddFile:
    """
    A file.

    :param refused_by: who refuses it.
    :param problem: the reason, as the message has it.
    :param uncounted: what the copy with a manifest cannot count: nothing, the orders, or the rows too.
    :param chunk_bytes: the size of the chunks in which it arrives.
    """

    content: bytes
    refused_by: str = NOBODY
    problem: str = ""
    uncounted: str = ""
    chunk_bytes: int = CHUNK_BYTES


def row(number: int = 1, city: str = "Lehi", *, quantity: str = "2", price: str = "14.65", name: str = "Ada") -> str:
    """Return a line without its end; two lines belong to one order."""
    return f"o{(number + 1) // 2},{number},{quantity},{price},{name},{city}"


def text(*lines: str, end: str = "\r\n", encoding: str = "utf-8-sig") -> bytes:
    """Return a file with the usual header."""
    return "".join(line + end for line in (HEADER, *lines)).encode(encoding, errors="surrogateescape")


def _values() -> dict[str, OddFile]:
    """Return files in which a value is written in an odd way, but well."""
    raw = {
        "a quote within a field": '6" pipe',
        "a doubled quote within an unquoted field": 'a""b',
        "a quote at the end of an unquoted field": 'x"',
        "a quoted word within a field": 'a "b" c',
        "a space before a quote": ' "x"',
        "a tab before a quote": '\t"x"',
        "a quoted value": '"x"',
        "a quoted empty value": '""',
        "a quoted comma": '"a,b"',
        "only a comma, quoted": '","',
        "only a quote, quoted": '""""',
        "only two quotes, quoted": '""""""',
        "a doubled quote": '"6"" pipe"',
        "a doubled quote at the beginning": '"""x"',
        "a doubled quote at the end": '"x"""',
        "a quote, a comma, a quote": '"a"",""b"',
        "a quoted CRLF": '"a\r\nb"',
        "a quoted LF": '"a\nb"',
        "a quoted CR": '"a\rb"',
        "only line breaks, quoted": '"\r\n\r\n"',
        "a quoted line of commas": '"a\r\n,,,,,\r\nb"',
        "a quoted line of commas of its own": '"\r\n,,,,,\r\n"',
        "quoted rows": f'"x\r\n{row(8)}\r\n{row(9)}\r\n"',
        "the quoted header": f'"x\r\n{HEADER}\r\n"',
    }
    files = {f"value: {name}": OddFile(text(row(1, value), row(2), row(3, value))) for name, value in raw.items()}
    texts = [
        '"{""a"": [1, ""2""], ""b"": {}}"',
        *("'x'", "a\\'b", "\u201cx\u201d", "  x  ", "   ", "a\tb", "a\vb\fc", "a\x1cb\x1dc\x1ed\x85e\u2028f\u2029g"),
        *(
            "a\x01b\x1fc\x7fd",
            "a\ufeffb",
            "\ufeff",
            "e\u0301 \u202eabc\u202c",
            "\ufffd",
            "NULL",
            "\\N",
            "\\.",
            "NA",
            "nan",
        ),
        *("true", "=1+1", "'); DROP TABLE order_lines; --", "%s {0} ${x} :name ?", "a;b", "#x", '"a\n\\.\nb"'),
    ]
    files["value: texts that mean something elsewhere"] = OddFile(text(*(row(*pair) for pair in enumerate(texts, 1))))
    wide = "\u00e9\u4e2d\U0001f381" * 9
    files["value: characters of two, three and four bytes"] = OddFile(text(row(1, wide), row(2, f'"{wide}"')))
    long = text(row(1, "x" * 70_000), row(2, '"' + "x\r\n" * 30_000 + '"'), row(3, '"' + '""' * 70_000 + '"'))
    files["value: long ones"] = OddFile(long, chunk_bytes=9999)
    return files


def _quotes() -> dict[str, OddFile]:
    """Return files whose quotation marks are wrong."""
    after, unclosed = "row {} has text after a closing quotation mark", "row {} has a quotation mark that is not closed"
    raw = {
        "text": ('"Deluxe" mug', after),
        "a space": ('"x" ', after),
        "a tab": ('"x"\t', after),
        "a quote": ('"x""y"z"', after),
        "a value": ('"x"y"', after),
        "another quoted value": ('"x" "y"', after),
        "NUL": ('"x"\0', after),
        "nothing": ('""x', after),
        "a doubled quote": ('"x"""y', after),
        "a value in an earlier column": ("x", after),
    }
    files = {}
    for name, (value, problem) in raw.items():
        bad = row(2, value) if value != "x" else row(2, name='"a","b"').replace('"b"', '"b" c')
        content = text(row(1, '"a"'), bad, row(3, '"b"'))
        files[f"quotes: after {name}"] = OddFile(content, PARSERS, problem.format(2), "rows")
    files |= {
        f"quotes: {name}": OddFile(content, PARSERS, problem.format(number), "rows")
        for name, content, problem, number in [
            ("one opens the last value", text(row(1), row(2, '"')).rstrip(b"\r\n"), unclosed, 2),
            ("one opens a value of the first row", text(row(1, '"x'), row(2), row(3)), unclosed, 1),
            ("three open a value", text(row(1), row(2, '"""x')), unclosed, 2),
            ("the last one is doubled", text(row(1), row(2, '"x""')), unclosed, 2),
            ("an inch at the beginning", text(row(1), row(2, '" pipe'), row(3)), unclosed, 2),
            ("two stray ones in two rows", text(row(1, '"Best mug'), row(2, '"Best mug'), row(3)), after, 1),
            ("two stray ones, a row between", text(row(1, '"Best'), row(2), row(3, '"mug'), row(4)), after, 1),
            ("text after the last row", text(row(1), row(2, '"x"y')).rstrip(b"\r\n"), after, 2),
            ("in the last of many rows", text(*map(row, range(1, 3000)), row(3000, '"x"y')), after, 3000),
            ("in a row after blank lines", text(row(1), "", ",,,,,", row(2, '"x"y')), after, 2),
        ]
    }
    header = "its header is not valid CSV: a quotation mark is not closed, or text follows the closing one"
    files["quotes: text after one in the header"] = OddFile(
        b'order_uuid,"city"x,quantity\r\no1,a,2\r\n', PARSERS, header, "rows"
    )
    return files


def _lines() -> dict[str, OddFile]:
    """Return files whose lines end in odd ways."""
    rows = [row(number) for number in (1, 2, 3)]
    plain = {
        "LF": text(*rows, end="\n"),
        "CR": text(*rows, end="\r"),
        "all three": text(rows[0] + "\n" + rows[1] + "\r" + rows[2]),
        "LF and CR": text(*rows, end="\n\r"),
        "CR twice and LF": text(*rows, end="\r\r\n"),
        "no end": text(*rows).rstrip(b"\r\n"),
        "only CR at the end": text(*rows).rstrip(b"\n"),
        "blank lines": text("", rows[0], "", "", rows[1], rows[2], "", ""),
        "blank lines of LF": text(rows[0] + "\n\n\n" + rows[1], rows[2] + "\n\n"),
        "blank lines before the header": b"\r\n\r\n" + text(*rows, encoding="utf-8"),
        "a mark, and blank lines before the header": b"\xef\xbb\xbf\r\n" + text(*rows, encoding="utf-8"),
        "no mark": text(*rows, encoding="utf-8"),
        "a mark, and a quoted name": text(*rows).replace(b"order_uuid", b'"order_uuid"'),
        "quoted names": text(*rows).replace(HEADER.encode(), ('"' + HEADER.replace(",", '","') + '"').encode()),
        "the header only": text(),
        "the header only, without an end": text().rstrip(b"\r\n"),
        "many rows": text(*map(row, range(1, 4000))),
        "many rows without an end": text(*map(row, range(1, 4000)), end="\n").rstrip(b"\n"),
        "twice the same row": text(rows[0], rows[0], rows[0]),
    }
    return {f"lines: {name}": OddFile(content) for name, content in plain.items()}


def _commas() -> dict[str, OddFile]:
    """Return files with lines of nothing but commas, and with rows of too few or too many values."""
    plain = {
        "at the end": text(row(1), row(2), ",,,,,", ",,,,,"),
        "at the end, without an end": text(row(1), row(2), ",,,,,").rstrip(b"\r\n"),
        "after the header": text(",,,,,", row(1)),
        "between rows": text(row(1), ",,,,,", row(2), ",,,,,", "", row(3)),
        "of another width": text(row(1), ",", row(2), ",,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,"),
        "of LF": text(row(1), ",,,,,", row(2), end="\n"),
        "of CR": text(row(1), ",,,,,", row(2), end="\r"),
        "only": text(",,,,,", ",,,,,"),
        "and a quoted one": text(row(1, '"\r\n,,,,,\r\n,,,,,\r\n"'), ",,,,,", row(2, '"x"')),
    }
    files = {f"commas: {name}": OddFile(content) for name, content in plain.items()}
    total, width = "row 2 has no order_uuid: it may be a line of totals", "row {} has {} values instead of 6"
    for name, line in {
        "a total": ",,4,29.30,,",
        "a total with a label": "  ,Total,4,29.30,,",
        "a tab as the order": "\t,2,2,14.65,Ada,Lehi",
        "a quoted nothing as the order": '"",2,2,14.65,Ada,Lehi',
        "quoted nothings": '"","","","","",""',
        "one quoted nothing": ',,,,,""',
        "spaces": " , , , , , ",
    }.items():
        files[f"totals: {name}"] = OddFile(text(row(1), line, row(3)), PARSERS, total, "rows")
    files["totals: a label as the order"] = OddFile(text(row(1), "Total,,4,29.30,,"))
    files["totals: an order of a non-breaking space"] = OddFile(text(row(1), "\u00a0,,4,29.30,,"))
    for name, line, values in [
        ("one value", "x", 1),
        ("a space", " ", 1),
        ("too few", row(2).rpartition(",")[0], 5),
        ("too many", row(2) + ",x", 7),
        ("a comma more", row(2) + ",", 7),
        ("an unquoted comma", row(2, "Lehi, Utah"), 7),
        ("a quoted nothing", '""', 1),
        ("an end-of-file character", "\x1a", 1),
        ("semicolons", row(2).replace(",", ";"), 1),
        ("tabs", row(2).replace(",", "\t"), 1),
    ]:
        files[f"width: {name}"] = OddFile(text(row(1), line, row(3)), PARSERS, width.format(2, values), "orders")
    files["width: an end-of-file character at the end"] = OddFile(
        text(row(1)) + b"\x1a", PARSERS, width.format(2, 1), "orders"
    )
    files["width: the last of many rows"] = OddFile(
        text(*map(row, range(1, 3000)), "o,1"), PARSERS, width.format(3000, 2), "orders"
    )
    return files


def _glued() -> dict[str, OddFile]:
    """Return two files in one."""
    repeated = "row {} repeats the header: the file may be two files in one"
    quoted = '"' + HEADER.replace(",", '","') + '"'
    refused = {
        "two files": (text(row(1)) + text(row(3), encoding="utf-8"), repeated.format(2), "rows"),
        "two files with marks": (text(row(1), row(2)) + text(row(3)), repeated.format(3), "rows"),
        "two files with marks and quoted names": (
            (text(row(1)) + text(row(3))).replace(HEADER.encode(), quoted.encode()),
            repeated.format(2),
            "rows",
        ),
        "the header twice": (text(HEADER, row(1)), repeated.format(1), "rows"),
        "the header at the end": (text(row(1), HEADER).rstrip(b"\r\n"), repeated.format(2), "rows"),
        "after many rows": (text(*map(row, range(1, 3000))) + text(row(1)), repeated.format(3000), "rows"),
        "two files without a line end between": (
            text(row(1)).rstrip(b"\r\n") + text(row(3), encoding="utf-8"),
            "row 1 has 11 values instead of 6",
            "orders",
        ),
        "two files of different columns": (
            text(row(1)) + b"order_uuid,city\r\no2,Lehi\r\n",
            "row 2 has 2 values instead of 6",
            "orders",
        ),
    }
    files = {f"glued: {name}": OddFile(content, PARSERS, *problem) for name, (content, *problem) in refused.items()}
    other = f"{HEADER[: -len('city')]}country"
    for name, header in {"another list": other, "another order": HEADER.replace("name,city", "city,name")}.items():
        # what follows has persons in the column city
        content = text(row(1), header, row(3, name="Lehi", city="Ada"))
        files[f"glued: two files, the second with {name} of columns"] = OddFile(
            content, PARSERS, repeated.format(2), "rows"
        )
    files["glued: another first column, and a mark"] = OddFile(
        text(row(1), f"{BOM}{HEADER.replace('order_uuid', 'retailer_id', 1)}"), PARSERS, repeated.format(2), "rows"
    )
    return files


def _cuts() -> dict[str, OddFile]:
    """Return a file that was cut, wherever it makes a difference."""
    whole = text(row(1, '"Lehi, ""Utah"""'), row(2, '"a\r\nb"'), row(3))
    unclosed, width = "row {} has a quotation mark that is not closed", "row {} has {} values instead of 6"
    # the last characters of what is left, and the problem
    return {
        f"cut after {end!r}": OddFile(whole[: whole.index(end.encode()) + len(end.encode())], *problem)
        for end, *problem in [
            ("line_", PARSERS, "", ""),
            ("o1,1", PARSERS, width.format(1, 2), "orders"),
            ("o1,1,2,14.", PARSERS, width.format(1, 4), "orders"),
            ("o1,1,2,14.65,Ada,", NOBODY),
            ('Ada,"', PARSERS, unclosed.format(1), "rows"),
            ("Lehi, ", PARSERS, unclosed.format(1), "rows"),
            ('Lehi, "', PARSERS, "", ""),
            ('Utah"""', NOBODY),
            ('Utah"""\r', NOBODY),
            ('Utah"""\r\no', PARSERS, width.format(2, 1), "orders"),
            ('"a\r', PARSERS, unclosed.format(2), "rows"),
            ('"a\r\nb', PARSERS, unclosed.format(2), "rows"),
            ('"a\r\nb"', NOBODY),
            ("o2,3,2,1", PARSERS, width.format(3, 4), "orders"),
            ("o2,3,2,14.65,Ada,L", NOBODY),
        ]
        if problem != [PARSERS, "", ""]
    }


def _lengths() -> dict[str, OddFile]:
    """Return files with a record that is as long as allowed, and longer by one byte."""
    files = {}
    before = [row(number) for number in range(1, 12_001)]
    shapes = {
        "unquoted": lambda size: "x" * size,
        "of line breaks": lambda size: '"' + "\r\n" * ((size - 2) // 2) + "x" * (size % 2) + '"',
        "of quotes": lambda size: '"' + '""' * ((size - 2) // 2) + "x" * (size % 2) + '"',
    }
    places = {"first": [], "after 12,000 rows": before}
    for shape, make in shapes.items():
        for place, rows in places.items():
            for more in (0, 1):
                number = len(rows) + 1
                line = row(number, "")
                line += make(MAX_RECORD_BYTES + more - len(line))
                assert len(line) == MAX_RECORD_BYTES + more
                problem = (PARSERS, f"row {number} is longer than {MAX_RECORD_BYTES} bytes", "orders") if more else ()
                name = f"length: {'the limit' if not more else 'a byte more'}, {shape}, {place}"
                chunk = {"unquoted": 256 * 1024, "of line breaks": 100_003, "of quotes": 9 * 1024 * 1024}[shape]
                files[name] = OddFile(text(*rows, line, row(number + 1)), *problem, chunk_bytes=chunk)
                if not rows:
                    content = text(line, encoding="utf-8").rstrip(b"\r\n")
                    files[name.replace("first", "last")] = OddFile(content, *problem, chunk_bytes=chunk)
    return files


def _numbers() -> dict[str, OddFile]:
    """Return files with numbers in every form, and with values that are none."""
    quantities = ["2", "+2", "-2", "2.0", "2.00", "-0", "007", " 2 ", "", "  ", '"1,000"', '"+1,234,567.000"', "9" * 18]
    prices = ["14.65", "US$0.00", "$12", '"1,234.50"', "-14.65", ".5", "007.10", " 3 ", "", "9" * 16 + ".99", "3.100"]
    files = {
        "numbers: quantities": OddFile(text(*(row(n, quantity=value) for n, value in enumerate(quantities, 1)))),
        "numbers: prices": OddFile(text(*(row(n, price=value) for n, value in enumerate(prices, 1)))),
    }
    wrong = {
        "quantity": ["2.5", "2.", "1,00", "1,0000", "+-2", "$2", "1e3", "0x1", "two", "\u0663", "2 3", "9" * 19, "2\0"],
        "price": ["1.234", "1,23", "12,34.00", "\u20ac1.00", "EUR 1", "(1.00)", "1e3", "--1", "1 000", "9" * 17, "1\0"],
    }
    kinds = {"quantity": "a whole number", "price": "an amount of money in US dollars"}
    for column, values in wrong.items():
        for value in values:
            content = text(row(1), row(2, **{column: f'"{value}"'}), row(3))
            problem = f"the value of column '{column}' in row 2 is not {kinds[column]}"
            files[f"numbers: {column} {value!a}"] = OddFile(content, TYPED, problem)
    return files


def _encodings() -> dict[str, OddFile]:
    """Return files that are not UTF-8, or contain the character NUL."""
    utf8 = "the value of column '{}' in row 2 is not valid UTF-8"
    nul = "the value of column '{}' in row 2 contains the character NUL"
    files = {
        f"encoding: {name}": OddFile(text(row(1), row(2, value), row(3)), TYPED, utf8.format("city"))
        for name, value in {
            "Latin-1": "Z\udcfcrich",
            "a cut character": "Z\udcc3",
            "an overlong slash": "\udcc0\udcaf",
            "a surrogate": "\udced\udca0\udc80",
            "quoted Latin-1": '"Z\udcfc,rich"',
        }.items()
    }
    for name, value in {"NUL": "a\0b", "only NUL": "\0", "quoted NUL": '"a\0,\0b"'}.items():
        files[f"encoding: {name}"] = OddFile(text(row(1), row(2, value), row(3)), TABLES, nul.format("city"))
    files["encoding: NUL in the order"] = OddFile(
        text(row(1), row(2).replace("o1", "o\0")), TABLES, nul.format("order_uuid")
    )
    for name, encoding in {"UTF-16": "utf-16", "UTF-16, big-endian": "utf-16-be", "UTF-32": "utf-32"}.items():
        files[f"encoding: {name}"] = OddFile(text(row(1), row(2), encoding=encoding), ALL)
    files["encoding: two marks"] = OddFile(b"\xef\xbb\xbf" + text(row(1), row(2)), TABLES, "order_uuid")
    return files


def _headers() -> dict[str, OddFile]:
    """Return files with other columns, and what is no CSV file."""

    def table(*rows: list[str]) -> bytes:
        content = io.StringIO(newline="")
        csv.writer(content).writerows(rows)
        return content.getvalue().encode()

    no_order = "order_uuid"
    return {
        "header: one column": OddFile(b"order_uuid\r\no1\r\no2\r\n"),
        "header: one column, and a blank line": OddFile(b"order_uuid\r\no1\r\n\r\no2"),
        "header: one column, and a line of commas": OddFile(b"order_uuid\r\no1\r\n,,\r\no2\r\n,"),
        "header: one column, and a quoted nothing": OddFile(
            b'order_uuid\r\no1\r\n""\r\no2\r\n', PARSERS, "row 2 has no order_uuid", "rows"
        ),
        "header: no order": OddFile(table(["sku", "quantity"], ["A", "2"], ["B", "3"]), TABLES, no_order, "orders"),
        "header: no order, a row without values": OddFile(b"sku,quantity\r\nA,2\r\n,3\r\n", TABLES, no_order, "orders"),
        "header: two columns in another order": OddFile(table(["quantity", "order_uuid"], ["2", "o1"], ["3", "o2"])),
        "header: an unknown column": OddFile(table([*COLUMNS, "color"], [*row(1).split(","), "red"])),
        "header: a comma at the end": OddFile((HEADER + ",\r\n" + row(1) + ",\r\n").encode()),
        "header: 300 columns": OddFile(
            table([*COLUMNS, *(f"x{n}" for n in range(300))], [*row(1).split(","), *map(str, range(300))])
        ),
        "header: a line break in a name": OddFile(table([*COLUMNS, "a\r\nb"], [*row(1).split(","), "x"])),
        "header: other columns": OddFile(
            b"invoice,amount\r\n17,2.50\r\n", PARSERS, "a CSV file with other columns", "orders"
        ),
        "header: quoted nothings before it": OddFile(
            ('"","","","","",""\r\n' + HEADER + "\r\n" + row(1) + "\r\n").encode(),
            PARSERS,
            "6 columns, none of which",
            "orders",
        ),
        "header: semicolons": OddFile(text(row(1), row(2)).replace(b",", b";"), ALL),
        "header: nothing": OddFile(b"", ALL),
        "header: a mark": OddFile(b"\xef\xbb\xbf", ALL),
        "header: blank lines": OddFile(b"\r\n\r\n\r\n", ALL),
        "header: a web page": OddFile(b"<!DOCTYPE html><html><body>Log in, please</body></html>", ALL),
        "header: XML": OddFile(b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", ALL),
        "header: JSON": OddFile(b'{"detail": "Not found", "code": 404}', ALL),
        "header: a ZIP file": OddFile(b"PK\x03\x04\x14,order_uuid,\r\n", ALL),
        "header: a gzip file": OddFile(b"\x1f\x8b\x08,order_uuid\r\n", ALL),
    }


def _cases() -> dict[str, OddFile]:
    """Return small files of the vendor's columns."""
    folder = Path(__file__).parent / "files" / "cases"
    problems = {
        "stray-quotes": ("row 1 has text after a closing quotation mark", "rows"),
        "text-after-a-closing-quote": ("row 1 has text after a closing quotation mark", "rows"),
        "cut-within-quotes": ("row 2 has a quotation mark that is not closed", "rows"),
        "total-line": ("row 2 has no order_uuid", "rows"),
        "two-files-glued": ("row 2 repeats the header", "rows"),
    }
    return {
        f"case: {path.stem}": OddFile(
            path.read_bytes(), *((PARSERS, *problems[path.stem]) if path.stem in problems else ())
        )
        for path in sorted(folder.glob("*.csv"))
    }


ODD_FILES: Final = (
    _values()
    | _quotes()
    | _lines()
    | _commas()
    | _glued()
    | _cuts()
    | _lengths()
    | _numbers()
    | _encodings()
    | _headers()
    | _cases()
)


def _one_of_each() -> dict[str, OddFile]:
    """Return a small file of each kind for each way in which one of its kind ends."""
    files: dict[tuple[str, str, str], tuple[str, OddFile]] = {}
    for name, file in ODD_FILES.items():
        if len(file.content) < 10_000:
            files.setdefault((name.split()[0], file.refused_by, file.uncounted), (name, file))
    return dict(files.values())


ONE_OF_EACH: Final = _one_of_each()
OTHERS: Final = {name: file for name, file in ODD_FILES.items() if name not in ONE_OF_EACH}


def outcomes_as_markdown() -> str:
    """Return what becomes of every file on the twelve paths, which the tests hold to be true."""
    refusers = {"copy, gzip": (ALL,), "manifest": (ALL,), "added, drop, hash": (ALL, PARSERS)}
    refusers |= {"Parquet, hashed": (ALL, PARSERS, TYPED), "SQLite (2), PostgreSQL (2)": (ALL, PARSERS, TYPED, TABLES)}
    lines = [["file", *refusers, "reason"], ["---"] * (len(refusers) + 2)]
    for name, file in ODD_FILES.items():
        cells = ["refused" if file.refused_by in refused else "stored" for refused in refusers.values()]
        if file.uncounted and file.refused_by != ALL:
            cells[1] = f"stored, {'rows and orders' if file.uncounted == 'rows' else 'orders'} None"
        lines.append([name, *cells, file.problem])
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    print(outcomes_as_markdown())  # noqa: T201
