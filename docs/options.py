"""Write options.md, the page of all options, from the settings that the commands are made of: python docs/options.py"""

from __future__ import annotations

from pathlib import Path

from jobs._options import Item, default_of
from jobs.main import COMMANDS

PAGE = Path(__file__).with_name("options.md")
HEAD = """# Options

Every option of every command. Each may also stand in a file (`--config job.toml`, by its name with `_` for `-`) or in a
variable (`KSEG_` and its name: `--max-iter` is `KSEG_MAX_ITER`); see [pipelines](pipelines.md). `kseg-batch COMMAND
--help` lists those of a command. This page is made from the code by `python docs/options.py`.
"""


def page() -> str:
    """The page's text."""
    rows: dict[str, dict[tuple[str, ...], list[str]]] = {}
    for command in COMMANDS:
        for item in command.items:
            group = rows.setdefault(item.spelled.group or "Arguments", {})
            group.setdefault(cells_of(item), []).append(command.name)
    parts = [HEAD]
    for group, found in rows.items():
        parts.append(f"\n## {group}\n\n| | takes | default | | of |\n|---|---|---|---|---|\n")
        for cells, names in found.items():
            commands = "all" if len(names) == len(COMMANDS) else ", ".join(names)
            parts.append(f"| {' | '.join([*cells, commands])} |\n")
    return "".join(parts)


def cells_of(item: Item) -> tuple[str, ...]:
    """Name, value, default and help of an option, as cells of a table."""
    spelled, default = item.spelled, default_of(item)
    names = [spelled.metavar or ""] if spelled.group is None else item.flags
    value = "" if spelled.group is None or not spelled.metavar else f"`{spelled.metavar}`"
    shown = ", ".join(default) if isinstance(default, list) else default
    given = "" if shown is None or shown is False else f"`{shown}`"
    cells = (" ".join(f"`{name}`" for name in names), value, given, spelled.help.replace("<", "\\<"))
    return tuple(cell.replace("|", "\\|") for cell in cells)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
