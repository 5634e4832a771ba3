"""Writes the pages of the reference that the code itself knows: settings, commands, metrics, errors, names.

python docs/generate.py            write them
python docs/generate.py --check    exit 1 and name those that are out of date
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import click
import msgspec
from pydantic import BaseModel, SecretStr

import gristmill
from gristmill.base import errors
from gristmill.base.meters import BUCKETS, METRICS
from gristmill.base.registry import Registry
from gristmill.base.settings import Settings
from gristmill.base.settings.load import OLD_NAMES
from gristmill.base.settings.mask import is_secret
from gristmill.base.settings.source import FOREIGN, SourceSections
from gristmill.brokers import BROKERS
from gristmill.catalogs import CACHES, CATALOGS
from gristmill.chunkers import CHUNKERS
from gristmill.cli.main import COMMANDS, cli
from gristmill.docstores import DOCSTORES
from gristmill.engine.tally import HEADS
from gristmill.parsers import PARSERS
from gristmill.providers import CHATS, DESCRIBERS, EMBEDDERS, TRANSCRIBERS
from gristmill.storages import STORAGES
from gristmill.testing import signals

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py. Do not edit by hand. -->\n"
USED = {"mysql", "postgres", "redis", "user_default_llm"}  # of the source's sections, those that this release reads


def settings_page() -> str:
    """Every key with its type, default, environment name and meaning."""
    lines = [
        NOTE,
        "# Settings",
        "",
        "Every setting has a default, so no file is needed. Where values come from, the later over the earlier:",
        "",
        "1. the defaults below",
        "2. `conf/service_conf.yaml`, or the file or folder of `--config` (or of `GRISTMILL_CONFIG`)",
        "3. `local.service_conf.yaml` beside it. It is merged deeply: a section there replaces only the keys it gives.",
        "4. environment variables",
        "",
        "`gristmill config show` prints what is set and where each value came from; `--all` adds the defaults. Secrets are"
        " masked there. A wrong key or value stops every command with exit code 2, and is named with its file and line.",
        "",
        "In a file, `${NAME}` and `${NAME:-default}` stand for environment variables. A key without a value means its"
        " default, where the setting cannot be empty.",
        "",
        "`GRISTMILL_HOME` (or `--home`, or the key `home`) is the folder of the embedded stores; without it,"
        " `~/.local/share/gristmill`.",
        "",
        "## Our own sections",
        "",
    ]
    for name, model in _sections(Settings, skip=SourceSections):
        lines += [f"### {name}", "", _text(model).splitlines()[0], ""]
        lines += ["| key | type | default | environment | meaning |", "| --- | --- | --- | --- | --- |"]
        lines += [*_rows(model, name), ""]
    lines += ["## Older names of environment variables", "", "| variable | setting |", "| --- | --- |"]
    lines += [f"| `{name}` | `{key}` |" for name, key in OLD_NAMES.items()]
    secret = ", ".join(f"`{name}_FILE`" for name, key in OLD_NAMES.items() if is_secret(key))
    lines += [
        "",
        f"{secret} name a file that has the password (a secret of a container, say); the variable without `_FILE` counts more.",
        "",
        "## Sections of RAGFlow's configuration",
        "",
        "An existing `service_conf.yaml` can be read as it is. These sections are checked (a wrong key is an error), so that"
        " a file stays right for the releases that use them. This release reads `mysql` and `postgres`"
        " (where `stores.catalog`, or `DB_TYPE`, asks for them; `max_connections` bounds the connections of a process,"
        " `stale_timeout` the seconds that one is kept unused), `redis` (the broker, unless `engine.broker` names another),"
        " and `user_default_llm`: its `default_models.embedding_model`, where `models.embedding` is not set. With"
        " `encrypt_password: true` the passwords of `mysql`, `postgres`, `redis` and `minio` are decrypted by the function"
        " that `encrypt_module` names (`module#function`, called with `private_key` and the text).",
        "",
        "| section | keys |",
        "| --- | --- |",
    ]
    lines += [_source_row(name) for name in SourceSections.model_fields]
    lines += [
        "",
        f"Sections of other programs are left alone: {', '.join(f'`{name}`' for name in sorted(FOREIGN))}.",
        "",
    ]
    return "\n".join(lines)


def _sections(model: type[BaseModel], skip: type[BaseModel], above: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in model.model_fields.items():
        if name in skip.model_fields or not _is_section(field.annotation):
            continue
        section = cast("type[BaseModel]", field.annotation)
        if any(not _is_section(inner.annotation) for inner in section.model_fields.values()):
            yield f"{above}{name}", section
        yield from _sections(section, skip=BaseModel, above=f"{above}{name}.")


def _is_section(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, BaseModel)


def _rows(model: type[BaseModel], section: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if not _is_section(field.annotation):
            variable = f"GRISTMILL_{section.replace('.', '__')}__{name}".upper()
            kind = _type(field.annotation).replace("|", "or")
            yield f"| `{name}` | {kind} | {_default(field.default)} | `{variable}` | {_cell(field.description or '')} |"


def _type(annotation: Any) -> str:
    text = annotation.__name__ if inspect.isclass(annotation) else str(annotation)
    text = text.replace("typing.", "").replace("SecretStr", "secret").replace(" | None", "").replace("str", "text")
    return re.sub(r"Literal\[(.*)\]", lambda found: found[1].replace("'", "").replace(", ", " or "), text)


def _default(value: Any) -> str:
    if isinstance(value, SecretStr) or value in ("", None):
        return "empty"
    return f"`{value!r}`" if isinstance(value, str) else f"`{value}`"


def _cell(text: str) -> str:
    """Text that a table shows as it is."""
    return re.sub(r"(?<!`)`\.\.\.`(?!`)", "text between backticks", text).replace("|", "\\|").replace("\n", "\\n")


def _source_row(name: str) -> str:
    field = SourceSections.model_fields[name]
    used = " (read)" if name in USED else ""
    if not _is_section(field.annotation):
        return f"| `{name}`{used} | {'any' if field.annotation not in (bool, str, SecretStr) else 'a value'} |"
    return f"| `{name}`{used} | {', '.join(f'`{key}`' for key in field.annotation.model_fields)} |"  # type: ignore[union-attr]


def cli_page() -> str:
    """The help of every command."""
    lines = [
        NOTE,
        "# Commands",
        "",
        "Exit codes: 0 all well, 1 something failed (a document, a check), 2 usage or configuration, 130 interrupted with"
        " the work kept. Every command but `documents export`, which always does, prints JSON with `--json`; its shapes are"
        " on [JSON outputs](json.md). A `worker` prints logs only.",
        "",
        "Global options stand before the command: `gristmill --home DIR ingest PATH`.",
        "",
        *_help(cli, "gristmill"),
    ]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        lines += _help(command, f"gristmill {name}")
        if isinstance(command, click.Group):
            for inner in command.list_commands(click.Context(command)):
                lines += _help(command.commands[inner], f"gristmill {name} {inner}")
    return "\n".join(lines)


def _help(command: click.Command, name: str) -> list[str]:
    context = click.Context(command, info_name=name, terminal_width=96, max_content_width=96)
    context.help_option_names = ["-h", "--help"]
    return [f"## {name}", "", "```text", command.get_help(context), "```", ""]


def metrics_page() -> str:
    """The table of metrics."""
    lines = [
        NOTE,
        "# Metrics",
        "",
        "A master shows them under `/metrics`, in Prometheus's text format: see [Observe](../operations/observe.md).",
        "",
        "## What workers and their bodies count",
        "",
        "Summed over all workers that the master has had.",
        "",
        *_metrics({name: (one.kind, one.help, one.labels) for name, one in METRICS.items()}),
        "Buckets of histograms, in seconds: " + ", ".join(f"{bound:g}" for bound in BUCKETS) + ".",
        "",
        "## What the master knows itself",
        "",
        *_metrics(HEADS),
    ]
    return "\n".join(lines)


def _metrics(table: Mapping[str, tuple[str, str, tuple[str, ...]]]) -> list[str]:
    lines = ["| name | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    for name, (kind, text, labels) in table.items():
        shown = f"gristmill_{name}" + ("_total" if kind.lower() == "counter" else "")
        lines.append(f"| `{shown}` | {kind.lower()} | {', '.join(f'`{label}`' for label in labels)} | {text} |")
    return [*lines, ""]


def errors_page() -> str:
    """The tree of errors."""
    tree = (errors.__doc__ or "").strip().split("\n\n")[1]
    repeated = [
        f"`{name}`"
        for name, one in inspect.getmembers(errors, inspect.isclass)
        if issubclass(one, errors.GristmillError) and one.retryable
    ]
    return "\n".join(
        [
            NOTE,
            "# Errors",
            "",
            "Every error that is raised on purpose stands in this tree. All of them can be imported from `gristmill`.",
            "",
            "```text",
            tree.replace("``", ""),
            "```",
            "",
            f"Worth repeating (`retryable` is true): {', '.join(repeated)}. A task that fails with another error of this tree"
            " is not repeated. Errors that are not in the tree are repeated up to the task's `max_retries`.",
            "",
            "A failure is kept with its stage, the name of its class, its message and its attempt: see"
            " `gristmill documents show` and `gristmill tasks show`.",
            "",
            "On the command line, errors of usage and configuration, and names that do not exist, end with exit code 2, other"
            ' errors with 1. With `--json` the error is printed as `{"error": {"type": ..., "message": ...}}`.',
            "",
        ]
    )


def python_page() -> str:
    """The public names with what their docstrings promise."""
    lines = [
        NOTE,
        "# Python",
        "",
        "All of these can be imported from `gristmill`. The [errors](errors.md) can, too.",
        "",
    ]
    for name in gristmill.__all__:
        found = getattr(gristmill, name)
        if not (inspect.isclass(found) and issubclass(found, errors.GristmillError)):
            lines += _described(name, found)
    lines += ["## Registries", "", "Other packages add to these by entry points of the group's name.", ""]
    lines += ["| group | built in |", "| --- | --- |"]
    registries: list[Registry[Any]] = [
        BROKERS, CACHES, CATALOGS, CHATS, CHUNKERS, DESCRIBERS, DOCSTORES, EMBEDDERS, PARSERS, STORAGES, TRANSCRIBERS
    ]  # fmt: skip
    lines += [f"| `{one.group}` | {', '.join(f'`{name}`' for name in sorted(one.builtin))} |" for one in registries]
    return "\n".join([*lines, ""])


def _described(name: str, found: Any) -> list[str]:
    head = [f"## {name}", ""]
    if not inspect.isclass(found):
        return [*head, _code(f"{name}{_signature(found)}"), _text(found), ""]
    if issubclass(found, enum.Enum):
        return [*head, _text(found), "", f"Values: {', '.join(f'`{one.value}`' for one in found)}.", ""]
    if issubclass(found, BaseModel):
        head += ["Its fields are on [settings](settings.md).", ""]
    elif issubclass(found, msgspec.Struct) or dataclasses.is_dataclass(found):
        head += [_code("\n".join(_fields(found)))]
    elif not inspect.isabstract(found):
        head += [_code(f"{name}{_signature(found)}")]
    return [*head, _text(found), "", *_methods(name, found)]


def _methods(name: str, found: type) -> Iterator[str]:
    for method, body in vars(found).items():
        target = body.fget if isinstance(body, property) else getattr(body, "__func__", body)
        if method.startswith(("_", "model_")) or not inspect.isfunction(target) or not target.__doc__:
            continue
        shown = method if isinstance(body, property) else f"{method}{_signature(target)}"
        yield from (f"**`{name}.{shown}`**", "", _text(target), "")


def _fields(found: type) -> Iterator[str]:
    """The fields of a plain type, as they are written."""
    for name, parameter in inspect.signature(found).parameters.items():
        default = "" if parameter.default is parameter.empty else f" = {_shown(parameter.default)}"
        yield f"{name}: {found.__annotations__[name]}{default}"


def _signature(found: Any) -> str:
    """Parameters and result, with annotations as they are written."""
    parts: list[str] = []
    star = False
    signature = inspect.signature(found)
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            star = True
            parts.append("*")
        star = star or parameter.kind is parameter.VAR_POSITIONAL
        prefix = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        prefix = "**" if parameter.kind is parameter.VAR_KEYWORD else prefix
        default = "" if parameter.default is parameter.empty else f" = {_shown(parameter.default)}"
        parts.append(f"{prefix}{parameter.name}: {parameter.annotation}{default}")
    result = signature.return_annotation
    arrow = "" if result in (signature.empty, "None", None) or inspect.isclass(found) else f" -> {result}"
    return f"({', '.join(parts)}){arrow}"


def _shown(default: Any) -> str:
    text = repr(default)
    return "..." if text.startswith("<") else text


def _code(text: str) -> str:
    return f"```text\n{text}\n```\n"


def _text(found: Any) -> str:
    return (inspect.getdoc(found) or "").replace("``", "`")


HOSTILE = Path(__file__).parents[1] / "bench" / "results" / "hostile.json"
HOSTILE_HEAD = """\
# Hostile documents

What became of {count} files that are made to break a reader, each ingested by the command line with a real worker.
Every one has to give right chunks, or one error that names it and the reason, within {seconds:g} s and {memory} MiB,
without anything written outside of the home and the temporary folder, or reached beyond the process. It is measured
by `python bench/hostile.py FOLDER`.

{isolation} {misses}

The processor seconds are of all processes below the command, their start included; where the machine had more to do
than it has cores ({cores}, with a load of {load} at the end), the bound is on these. Memory is the largest resident size
of any process.

| file | what it is | outcome | s | processor s | MiB |
| --- | --- | --- | --: | --: | --: |
"""
ISOLATED = "The run had no network, and a file system that is read-only but for one folder."
HOOKED = "Attempts to connect, and to write elsewhere, were noted by an audit hook."
NONE = "Nothing missed these bounds, and nothing tried to connect or to write elsewhere."


def hostile_page() -> str:
    """The table, and what missed the bounds."""
    result = json.loads(HOSTILE.read_text(encoding="utf-8"))
    machine, bounds = result["machine"], result["bounds"]
    missed = result["missed"]
    head = HOSTILE_HEAD.format(
        count=len(result["files"]), seconds=bounds["seconds"], memory=bounds["peak_rss"] >> 20,
        isolation=ISOLATED if result["isolated"] else HOOKED, cores=machine["cores"], load=machine["load"],
        misses="Missed: " + "; ".join(map(_cell, missed)) + "." if missed else NONE,
    )  # fmt: skip
    return f"{NOTE}\n{head}" + "".join(_hostile_rows(result["files"]))


def _hostile_rows(files: list[dict[str, Any]]) -> Iterator[str]:
    for one in files:
        outcome = f"{one['error']}: {one['message']}" if one["error"] else f"read: {one['chunks']} chunks"
        peak = max(one["peak_rss"], one["face_rss"]) >> 20
        yield (
            f"| `{one['file']}` | {_as_is(one['what'])} | {_as_is(outcome)} | {one['seconds']:.1f} |"
            f" {one['cpu_seconds']:.1f} | {peak} |\n"
        )


def _as_is(text: str) -> str:
    """Text that a table shows as it is."""
    for letter in "\\`*_[]<>|":
        text = text.replace(letter, f"\\{letter}")
    return " ".join(text.split())


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "cli.md": cli_page,
    "metrics.md": metrics_page,
    "errors.md": errors_page,
    "python.md": python_page,
    "hostile.md": hostile_page,
}


PARTS: dict[str, Callable[[], str]] = {"operations/master.md": signals.table}
BEGIN, END = (
    "<!-- From here to the next note written by docs/generate.py. -->\n\n",
    "\n\n<!-- Written by hand again. -->",
)


def due(folder: Path = REFERENCE) -> dict[Path, str]:
    """What each page has to say; of those that are written by hand only a part is due."""
    found = {folder / name: page() for name, page in PAGES.items()}
    for name, part in PARTS.items():
        path = Path(__file__).parent / name
        before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
        found[path] = "".join([before, BEGIN, part(), END, rest.partition(END)[2]])
    return found


def stale(folder: Path = REFERENCE) -> list[str]:
    """The pages that do not say what the code says."""
    return [
        str(path)
        for path, text in due(folder).items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def main() -> int:
    """Write the pages, or look at them."""
    old, pages = stale(), due()
    if "--check" in sys.argv:
        for name in old:
            sys.stderr.write(f"{name} is out of date: run python docs/generate.py\n")
        return 1 if old else 0
    for name in old:
        Path(name).write_text(pages[Path(name)], encoding="utf-8")
        sys.stderr.write(f"wrote {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
