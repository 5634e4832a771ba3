"""Documents that are text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.message import EmailMessage

LAW = (
    "第一章 总则\n\n第一条 为了保护个人信息权益，规范个人信息处理活动，根据宪法，制定本法。\n\n"
    "第二章 规则\n\n第五条 处理个人信息应当遵循合法原则。\n"
)


def notes_txt() -> bytes:
    return (
        "Chapter 1\n\nA lease is the right to run a task now.\nIt is extended every ten seconds.\n\n"
        "1.1 Renewal\n\nWhoever loses the lease loses the task.\n\nNaïve café, 20 €.\n"
    ).encode()


def law_gbk() -> bytes:
    return LAW.encode("gb18030")


def code_py() -> bytes:
    return (
        b'"""A module."""\n\nimport os\n\n\ndef first() -> int:\n    return 1\n\n\n'
        b"class Second:\n    x = 2\n\n    def third(self) -> None: ...\n"
    )


def guide_md() -> bytes:
    return b"""---
title: The guide
tags: [queue, lease]
---
Leases
======

A *lease* is the [right](https://example.org/lease) to run a task, `now`.

1. Reserve
   - in batches
2. Extend

| name | meaning |
| ---- | ------- |
| lease | the right |
| token | a \\| b |

```python
def extend(lease: str) -> None:
    # a comment, no heading
    ...
```

> Nothing accepted is lost.

<table><tr><td>raw</td><td>html</td></tr>

<tr><td>1</td><td>2</td></tr></table>
## After the table
The end.
"""


def page_html() -> bytes:
    return """<!doctype html><html><head><title>Page</title><style>p { color: red }</style></head><body>
<h1>Leases<br>and tokens</h1><p>A lease is the <b>right</b> to run a task &amp; more.<script>alert("never")</script></p>
<ul><li>outer<ul><li>inner</li></ul></li><li><p>second</p></li></ul>
<dl><dt>token</dt><dd>a number that grows</dd></dl>
<table><caption>Figures</caption><tr><th rowspan=2>Region</th><th colspan=2>Sales</th></tr><tr><th>Q1</th><th>Q2</th></tr>
<tr><td>North</td><td>1,200.50</td><td>2026-01-05</td></tr></table>
<table><tr><td>plain</td><td>table</td></tr><tr><td>without</td><td>header</td></tr></table>
<pre>  kept   as
    it is</pre><blockquote>quoted</blockquote><p>Größe: 中文</p></body></html>""".encode()


def orders_csv() -> bytes:
    rows = ["order,customer,amount,date", *(f'SO-{n},"Meyer, {n} & Sons",{n}.50,2026-01-{n:02}' for n in range(1, 9))]
    return "\r\n".join(rows).encode("utf-8-sig")


def semicolon_csv() -> bytes:
    return 'Name;Größe;Preis\nÄpfel;klein;1,50\nBirnen;"groß; reif\nund süß";2,75\nPflaumen;;0,99\n'.encode("utf-16")


def tabs_tsv() -> bytes:
    return b"key\tvalue\na, b\t1\nc, d\t2\n"


def record_json() -> bytes:
    value = {
        "id": 9007199254740993,
        "version": 1.10,
        "name": "Ünïcode 中文",
        "nested": {"list": [1, 2, {"deep": None}]},
    }
    return json.dumps(value, ensure_ascii=False).replace("1.1,", "1.10,").encode()


def lines_jsonl() -> bytes:
    return b"".join(json.dumps({"n": n, "text": f"record {n}"}).encode() + b"\n" for n in range(5))


def study_ipynb() -> bytes:
    cells = [
        {"cell_type": "markdown", "source": ["# A study\n", "of leases"]},
        {"cell_type": "code", "source": "print(1)", "outputs": [{"output_type": "stream", "text": "1\n"}]},
    ]
    return json.dumps({"cells": cells, "metadata": {"language_info": {"name": "python"}}}).encode()


def thread_eml() -> bytes:
    message = EmailMessage()
    message["Subject"] = "季度报告: leases"
    message["From"] = "Änne Meyer <anne@example.org>"
    message["To"] = "bob@example.org"
    message["Date"] = "Mon, 05 Jan 2026 10:00:00 +0100"
    message.set_content("Hello Bob,\n\nthe figures are attached.\n\nÄnne")
    message.add_alternative("<p>Hello Bob,</p><p>the figures are <b>attached</b>.</p>", subtype="html")
    message.add_attachment(orders_csv(), maintype="text", subtype="csv", filename="orders.csv")
    inner = EmailMessage()
    inner["Subject"] = "An older message"
    inner.set_content("Words of the older message.")
    message.add_attachment(inner)
    return bytes(message)


def mail_with(attached: Mapping[str, bytes]) -> bytes:
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = "Files", "a@example.org", "b@example.org"
    message.set_content("See the files.")
    for name, data in attached.items():
        message.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return bytes(message)
