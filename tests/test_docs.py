"""The documentation, held to the product: examples load, commands exist, links and names are real.

Fences say what they hold: ```yaml flow, ```yaml agent, ```yaml config, ```yaml script. Commands are found in
every fence.
"""

import ast
import configparser
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from prometheus_client.parser import text_string_to_metric_families

from dialog.agent.load import parse_agent
from dialog.agent.spec import AgentSpec
from dialog.flow.load import parse_flow
from dialog.load import load_dialog
from voicegw.cli import app
from voicegw.config import Config, load_config
from voicegw.config.reference import plain
from voicegw.metrics import Metrics
from voicegw.phone.load import load

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(?P<kind>[^\n`]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
COMMAND = re.compile(r"(?:^|[\s/])voicegw (?!ready|tests)(?P<rest>[a-z-][^|;&>`\n]*)")
ASSIGNED = re.compile(r"\b(VOICEGW_[A-Z0-9_]+)\b")
METRIC = re.compile(r"\bvoicegw_[a-z_]+\b")


@dataclass(frozen=True, slots=True)
class Fence:
    page: Path
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def fences(kind: str | None = None) -> list[Fence]:
    found = []
    for page in PAGES:
        text = page.read_text()
        for match in FENCE.finditer(text):
            fence = Fence(page, text[: match.start()].count("\n") + 1, match["kind"].strip(), match["text"])
            if kind in (None, fence.kind):
                found.append(fence)
    return found


@pytest.mark.parametrize("fence", fences("yaml flow"), ids=str)
def test_flows_load(fence: Fence) -> None:
    assert parse_flow(fence.text, str(fence)).nodes


@pytest.mark.parametrize("fence", fences("yaml agent"), ids=str)
def test_agents_load(fence: Fence) -> None:
    assert parse_agent(fence.text, str(fence)).tools


def test_the_example_of_an_agent_loads() -> None:
    assert isinstance(load_dialog(ROOT / "config" / "agents" / "reception.yaml"), AgentSpec)


@pytest.mark.parametrize("fence", fences("yaml config"), ids=str)
def test_configurations_load(fence: Fence, tmp_path: Path) -> None:
    file = tmp_path / "voicegw.yaml"
    file.write_text(fence.text)
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)\}", fence.text), "secret")
    assert load_config(file, environ) != Config()


@pytest.mark.parametrize("fence", fences("yaml script"), ids=str)
def test_scripts_load(fence: Fence, tmp_path: Path) -> None:
    for name in re.findall(r"wav: (\S+)", fence.text):
        (tmp_path / name).touch()
    file = tmp_path / "script.yaml"
    file.write_text(fence.text)
    assert load(file).steps


ENCODED = re.compile(r"\$\{URIENCODE\(\$\{\w+(?:\(\w+\))?\}\)\}")
UNENCODED = re.compile(r"[?&(,]\w+=\$\{(?:CALLERID|EXTEN|UNIQUEID)\b")  # in an address, or in v()


def test_dialplans_encode_what_they_put_into_addresses() -> None:
    plans = [fence for fence in fences("") if "exten =>" in fence.text]
    assert plans and all(ENCODED.search(fence.text) for fence in plans)
    for fence in plans:
        assert not (found := UNENCODED.search(ENCODED.sub("", fence.text))), f"{fence}: {found}"


def test_there_are_examples_of_each_kind() -> None:
    assert all(fences(kind) for kind in ("yaml flow", "yaml agent", "yaml config", "yaml script"))


def commands() -> Iterator[tuple[Fence, list[str]]]:
    for fence in fences():
        if not fence.kind.startswith("yaml"):
            text = fence.text.replace("\\\n", " ")
            for match in COMMAND.finditer(text):
                try:
                    yield fence, shlex.split(match["rest"], comments=True)
                except ValueError:
                    continue  # prose with an apostrophe


def complaint(words: list[str]) -> str:
    """What is wrong with a command line, by its names alone."""
    command: Any = typer.main.get_command(app)
    words = list(words)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return f"there is no command {words[0]!r}"
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"-h", "--help"}
    wrong = [w for w in words if re.match(r"--?[a-z]", w) and w.partition("=")[0] not in known]
    return f"{command.name} has no {', '.join(wrong)}" if wrong else ""


def test_commands_and_their_options_exist() -> None:
    found = list(commands())
    assert len(found) > 20
    wrong = [f"{fence}: {text}" for fence, words in found if (text := complaint(words))]
    assert not wrong, "\n".join(wrong)


def test_a_command_that_does_not_exist_is_noticed() -> None:
    assert complaint(["cals", "list"]) and complaint(["calls", "lst"]) and complaint(["run", "--prot", "1"])
    assert not complaint(["calls", "list", "--json", "-n", "3"])


def test_targets_of_make_and_modules_that_are_run_exist() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = set(re.findall(r"(?:`|^|=\d )make ([a-z-]+)", text, re.MULTILINE))
    assert {"run", "setup", "test", "bench"} <= made <= targets
    modules = set(re.findall(r"\b((?:bench|tests)\.[a-z_.]*[a-z_])\b", text)) | {"bench.__main__"}
    files = [ROOT / f"{module.replace('.', '/')}.py" for module in modules]
    assert len(modules) > 10 and [str(file) for file in files if not file.exists()] == []


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, part = target.partition("#")
        file = page if not name else Path(os.path.normpath(page.parent / name))
        there = file.exists() and file.is_relative_to(ROOT)
        anchors = (
            {anchor(h) for h in HEADING.findall(FENCE.sub("", file.read_text()))} if there and part else {""}
        )
        if not there or part not in anchors:
            wrong.append(target)
    assert not wrong


def test_environment_variables_name_settings() -> None:
    settings = plain(Config())
    wrong = []
    for page in PAGES:
        # The last one is a mistake on purpose: what it is answered is shown beside it.
        for name in set(ASSIGNED.findall(page.read_text())) - {
            "VOICEGW_CONFIG",
            "VOICEGW_",
            "VOICEGW_SIP__PROT",
        }:
            node = settings
            if name.removeprefix("VOICEGW_").lower() in settings:
                continue  # also one that is empty by default
            for part in name.removeprefix("VOICEGW_").lower().split("__"):
                node = node.get(part, node.get("options", {}).get(part)) if isinstance(node, dict) else None
            if node is None:
                wrong.append(f"{page.name}: {name}")
    assert not wrong, "\n".join(wrong)


def metric_names() -> set[str]:
    """Those of the registry, and those that are pulled from the parts of the server."""
    text = Metrics().exposition().decode()
    names = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    names |= {family.name for family in text_string_to_metric_families(text)}
    for line in re.findall(r"^# TYPE (\S+) histogram", text, re.MULTILINE):
        names |= {f"{line}_bucket", f"{line}_count", f"{line}_sum"}
    names |= set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    source = (ROOT / "voicegw/watch.py").read_text() + (ROOT / "voicegw/serve.py").read_text()
    for kind, name in re.findall(r'pull_(counts|gauge)(?:_of)?\(\s*"(\w+)"', source):
        names.add(f"voicegw_{name}" + ("_total" if kind == "counts" else ""))
    names |= {f"voicegw_stt_{name}" for name in ("workers", "streams", "open_utterances")}
    return names


def test_metrics_exist() -> None:
    known, wrong = metric_names(), []
    for page in PAGES:
        wrong += [f"{page.name}: {name}" for name in METRIC.findall(page.read_text()) if name not in known]
    assert not wrong, "\n".join(wrong)


def named(dotted: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(dotted)}(?![\w-])", text) is not None


def routes() -> Iterator[str]:
    """Paths that the web server answers; of those that are put together, their last part."""
    for file in (*(ROOT / "voicegw").rglob("*.py"), *(ROOT / "sip").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and re.fullmatch(
                r"web\.(get|post|put|delete|route)", ast.unparse(node.func)
            ):
                path = node.args[1 if ast.unparse(node.func) == "web.route" else 0]
                parts = path.values if isinstance(path, ast.JoinedStr) else [path]
                texts = [p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str)]
                yield "".join(texts[-1:])


def test_every_path_of_the_web_server_is_in_the_contract() -> None:
    found, text = {*routes()} - {"/", ""}, (ROOT / "docs/interface.md").read_text()
    assert len(found) > 20
    # A carrier's: /NAME/media/{token}, as the page has it.
    assert not [path for path in found if path not in text and path != "/media/{token}"]


def test_every_command_is_in_the_contract() -> None:
    text = (ROOT / "docs/interface.md").read_text()
    command: Any = typer.main.get_command(app)
    assert not [name for name in command.commands if not named(f"voicegw {name}", text)]


def test_every_requirement_has_its_reason() -> None:
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg")
    text, notice = (ROOT / "docs/dependencies.md").read_text(), (ROOT / "NOTICE").read_text()
    extras = parser["options.extras_require"]
    groups = {"": parser["options"]["install_requires"], **extras}
    wrong = [f"extra {name}" for name in extras if not named(f"`{name}`", text)]
    for name, requirements in groups.items():
        for package in re.findall(r"^\s*([A-Za-z0-9._-]+)", requirements, re.MULTILINE):
            wrong += [f"{package} in dependencies.md"] if package.lower() not in text.lower() else []
            if name not in {"dev", "fuzz"} and package.lower() not in notice.lower():
                wrong.append(f"{package} in NOTICE")
    assert not wrong, "\n".join(wrong)


def test_every_page_is_led_to() -> None:
    text = (ROOT / "README.md").read_text()
    assert not [page.name for page in (ROOT / "docs").glob("*.md") if f"(docs/{page.name})" not in text]


def test_the_architecture_names_what_is_there() -> None:
    text = FENCE.sub("", (ROOT / "docs/architecture.md").read_text())
    folders = ("voicegw", "media", "dialog", "sip", "recordings", "tests", "bench")
    code = {str(f.relative_to(ROOT)): f.read_text() for name in folders for f in (ROOT / name).rglob("*.py")}
    known = {name for source in code.values() for name in re.findall(r"^\s*class (\w+)", source, re.M)}
    wrong = [name for name in re.findall(r"`([A-Z][a-z]+[A-Z]\w+)\b", text) if name not in known]
    pattern = rf"\b((?:{'|'.join(folders)})/[\w/]+\.py)\b"
    assert not [*wrong, *(path for path in re.findall(pattern, text) if path not in code)]


def test_the_changelog_is_sorted_and_says_nothing_twice() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    head, *themes = text[text.index("## Unreleased") : text.index("## 0.1.0")].split("\n### ")
    assert "* " not in head and themes, "each line stands under a theme"
    begins = re.findall(r"^\* (.{30})", "\n".join(themes), re.M)
    assert len(set(begins)) == len(begins), [b for b in begins if begins.count(b) > 1]


def test_every_section_of_the_configuration_is_on_its_page() -> None:
    text = (ROOT / "docs/configuration.md").read_text()
    assert not [name for name in plain(Config()) if f"`{name}`" not in text]
