"""The documents are true: commands parse, options, settings and exit codes are all told."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from eventlink import errors
from eventlink.cli import COMMANDS as LISTED
from eventlink.cli import program
from eventlink.config import PROJECT_ROOT, Settings

DOCS = [
    PROJECT_ROOT / "README.md",
    PROJECT_ROOT / "CONTRIBUTING.md",
    *PROJECT_ROOT.glob("docs/*.md"),
]
COMMANDS = typer.main.get_command(program()).commands  # type: ignore[attr-defined]
SCRIPTS = {
    "backend/scripts/recompute_recommendations_ml.py": "recompute",
    "backend/scripts/enqueue_scheduled_jobs.py": "enqueue",
}
TARGETS = re.findall(r"^([a-z]+):.*## ", (PROJECT_ROOT / "Makefile").read_text(), re.MULTILINE)


def shell_lines() -> list[tuple[str, str]]:
    lines = []
    for path in DOCS:
        for block in re.findall(r"```sh\n(.*?)```", path.read_text(), re.DOTALL):
            joined = block.replace("\\\n", " ")
            lines += [(path.name, line) for line in joined.splitlines() if line.strip()]
    return lines


def option_names(command: str) -> set[str]:
    return {
        name
        for parameter in COMMANDS[command].params
        for name in (*parameter.opts, *parameter.secondary_opts)
        if name.startswith("--") and name != "--help"
    }


@pytest.mark.parametrize(("document", "line"), shell_lines(), ids=lambda value: value[:60])
def test_every_command_in_the_documents_exists(document: str, line: str) -> None:
    del document
    words = shlex.split(line, comments=True)
    while words and re.match(r"^[A-Z_]+=", words[0]):
        words = words[1:]
    if words[0] in {"export", "psql", "cd", "pip", "git"}:
        return
    if words[0] == "make":
        assert set(words[1:]) <= set(TARGETS)
        return
    if words[0] in {"python", ".venv/bin/python"}:
        script, words = words[1], words[1:]
        assert (PROJECT_ROOT / script).is_file()
        if script not in SCRIPTS:
            return
        command = SCRIPTS[script]
    else:
        assert words[0] == "eventlink"
        words, command = words[1:], words[1]
    used = {word.partition("=")[0] for word in words if word.startswith("--")} - {"--help"}
    assert command in COMMANDS or command == "--help"
    assert used <= (option_names(command) if command in COMMANDS else set())


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_and_option_is_documented(command: str) -> None:
    text = (PROJECT_ROOT / "docs" / "cli.md").read_text()
    section = re.search(
        rf"^## eventlink {command}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert section is not None
    told = set(re.findall(r"`(--[a-z0-9-]+)", section.group(1)))
    assert option_names(command) <= told
    assert {name for name in told if f"| `{name}" in section.group(1)} <= option_names(command)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_list_of_commands_says_what_each_says_of_itself(command: str) -> None:
    own = (COMMANDS[command].help or "").split("\n\n", maxsplit=1)[0]
    assert " ".join(own.split()) == LISTED[command][1]


def test_every_exit_code_is_documented_and_distinct() -> None:
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.EventLinkError)
        and errors.RefusedError not in kind.__bases__  # told apart by their HTTP status
    ]
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)
    text = (PROJECT_ROOT / "docs" / "cli.md").read_text()
    table = {
        int(code): meaning
        for code, meaning in re.findall(r"^\| (\d+) \| (.+) \|$", text, re.MULTILINE)
    }
    expected = {kind.exit_code: (kind.__doc__ or "").strip() for kind in kinds[1:]}
    assert {code: table[code] for code in expected} == expected
    assert set(table) == {0, *expected, 130}


def test_every_setting_is_documented() -> None:
    text = (PROJECT_ROOT / "docs" / "cli.md").read_text()
    told = dict(re.findall(r"^\| `([A-Z_]+)` \| .+? \| (.+) \|$", text, re.MULTILINE))
    assert told == {
        name.upper(): field.description for name, field in Settings.model_fields.items()
    }


@pytest.mark.parametrize("document", DOCS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target
