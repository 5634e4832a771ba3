"""The program ``gristmill``: global options, commands by name, errors to messages and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import click

from gristmill.base.errors import (
    EmbedderChanged,
    GristmillError,
    NotFound,
    PluginError,
    SettingsError,
    UnknownTask,
)
from gristmill.base.logs import Level, setup_logs
from gristmill.base.settings import Settings, load_settings
from gristmill.cli.output import print_json, printable

FAILED, USAGE, INTERRUPTED = 1, 2, 130
_USAGE = (SettingsError, PluginError, EmbedderChanged, NotFound, UnknownTask)

COMMANDS = {
    "ingest": ("ingest", "Turn files and folders into search."),
    "search": ("search", "Answer a question from the documents."),
    "up": ("up", "Run everything that is needed on one host."),
    "server": ("server", "Answer requests over HTTP until told to stop."),
    "worker": ("worker", "Run tasks until told to stop."),
    "status": ("status", "What is there, what waits, who works."),
    "tasks": ("tasks", "Look at tasks; cancel, repeat or forget them."),
    "documents": ("documents", "Look at documents; delete, repeat or export them."),
    "datasets": ("datasets", "Look at datasets; make or delete them."),
    "doctor": ("doctor", "Check this installation and its stores."),
    "config": ("config", "Show the settings and where they come from."),
    "debug": ("debug", "Look into running processes."),
}


@dataclass
class Face:
    """What every command is given."""

    home: Path | None
    config: Path | None
    verbose: int

    @cached_property
    def settings(self) -> Settings:
        settings = load_settings(self.config, home=self.home)
        self.log(settings, settings.log.level)
        return settings

    def words(self) -> list[str]:
        """The global options, as they are written."""
        given = [("--home", self.home), ("--config", self.config)]
        return [word for name, path in given if path for word in (name, str(path))] + ["-v"] * self.verbose

    def log(self, settings: Settings, level: Level) -> None:
        """Show this level and what is above, unless settings or options say otherwise."""
        if settings.origin("log.level") != "default":
            level = settings.log.level
        asked: dict[int, Level] = {0: level, 1: "info"}
        setup_logs(asked.get(self.verbose, "debug"), format=settings.log.format)


class _Commands(click.Group):
    """Looks a command up when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command: click.Command = import_module(f"gristmill.cli.{module}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would end the process with 1; who reads only the first lines did nothing wrong
            _forget_stdout()
            return 0

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--home", type=click.Path(path_type=Path), help="Where the embedded stores live (GRISTMILL_HOME).")
@click.option("--config", type=click.Path(path_type=Path), help="Configuration file, or its folder.")
@click.option("-v", "--verbose", count=True, help="Log more; twice for everything.")
@click.version_option(package_name="gristmill")
@click.pass_context
def cli(ctx: click.Context, home: Path | None, config: Path | None, verbose: int) -> None:
    """Gristmill turns documents into search and never loses work."""
    ctx.obj = Face(home, config, verbose)


def main() -> NoReturn:
    """Run the command line and end the process."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _forget_stdout()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command. Returns its exit code: 0 well, 1 something failed, 2 usage or settings, 130 interrupted."""
    try:
        result = cli.main(args=list(arguments), prog_name="gristmill", standalone_mode=False)
    except click.ClickException as exc:
        exc.show()
        return USAGE
    except BaseExceptionGroup as group:
        return _ended(first(group), as_json="--json" in arguments)
    except (click.Abort, KeyboardInterrupt, GristmillError, OSError) as exc:
        return _ended(exc, as_json="--json" in arguments)
    return result if isinstance(result, int) else 0


def _ended(exc: BaseException, *, as_json: bool) -> int:
    """The exit code of a command that ended so, and a word about it. What nobody foresaw is raised on."""
    if isinstance(exc, (click.Abort, KeyboardInterrupt)):
        return INTERRUPTED
    if not isinstance(exc, (GristmillError, OSError)):
        raise exc
    message = printable(str(exc), lines=True)
    if as_json:
        print_json({"error": {"type": type(exc).__name__, "message": message}})
    click.echo(f"error: {message}", err=True)
    return USAGE if isinstance(exc, _USAGE) else FAILED


def first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that a person should read: ours before others."""
    found, rest = group.split(GristmillError)
    left: BaseException = found or rest or group
    while isinstance(left, BaseExceptionGroup):
        left = left.exceptions[0]
    return left


def _forget_stdout() -> None:
    """The reader has gone: let nothing more be written there, not even at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
