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

from gristmill.base.errors import EmbedderChanged, GristmillError, NotFound, PluginError, SettingsError
from gristmill.base.logs import setup_logs
from gristmill.base.settings import Settings, load_settings
from gristmill.cli.output import print_json, printable

FAILED, USAGE, INTERRUPTED = 1, 2, 130

COMMANDS = {
    "ingest": ("ingest", "Turn files and folders into search."),
    "search": ("search", "Answer a question from the documents."),
    "worker": ("worker", "Run tasks until told to stop."),
    "status": ("status", "What is there, what waits, who works."),
    "tasks": ("tasks", "Look at tasks; cancel, repeat or forget them."),
    "documents": ("documents", "Look at documents; delete, repeat or export them."),
    "datasets": ("datasets", "Look at datasets; make or delete them."),
    "doctor": ("doctor", "Check this installation and its stores."),
    "config": ("config", "Show the settings and where they come from."),
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
        level = {0: settings.log.level, 1: "info"}.get(self.verbose, "debug")
        setup_logs(level, format=settings.log.format)
        return settings


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
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except GristmillError as exc:
        _say(exc, as_json="--json" in arguments)
        return USAGE if isinstance(exc, (SettingsError, PluginError, EmbedderChanged, NotFound)) else FAILED
    except BrokenPipeError:
        _forget_stdout()
        return 0
    return result if isinstance(result, int) else 0


def _say(exc: GristmillError, *, as_json: bool) -> None:
    if as_json:
        print_json({"error": {"type": type(exc).__name__, "message": str(exc)}})
    click.echo(f"error: {printable(str(exc), lines=True)}", err=True)


def _forget_stdout() -> None:
    """The reader has gone: let nothing more be written there, not even at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
