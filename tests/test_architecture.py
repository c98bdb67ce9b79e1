"""Who may import whom, how large things may grow, and where clocks, tasks and broad excepts may live.

The folders are the architecture (docs/architecture.md); this keeps them so. An exception to a rule
is a line in one of the tables below, with its reason.
"""

import ast
import configparser
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("voicegw", "media", "dialog", "sip", "recordings")

ALLOWED = {
    "dialog": {"dialog", "media.workers"},  # processes for models: plumbing without samples
    "media": {
        "media",
        "dialog.types",
        "dialog.turn",
        "dialog.turn_engine",
        "dialog.jsgf",
        "dialog.nlu.completeness",
        "dialog.sentences",
        "dialog.lexicon",
        "dialog.markup",
        "dialog.markuptree",
        "dialog.breaker",
        "dialog.refusal",  # what any hosted service says by HTTP when it will not
        "dialog.secrets",
    },
    "sip": {"sip", "media", "dialog.types"},
    "recordings": {"recordings", "media.observe"},
    "voicegw": set(PACKAGES),
}

# Clocks and tasks belong to drivers; cores get the time as an argument.
CLOCKS_AND_TASKS = {
    "time.time",
    "time.monotonic",
    "time.perf_counter",
    "time.sleep",
    "asyncio.create_task",
    "asyncio.ensure_future",
    "datetime.now",
    "datetime.utcnow",
}
DRIVERS: dict[str, str] = {
    "media/stt/sherpa.py": "one task decodes for all calls; close() ends it",
    "media/tts/cache.py": "one synthesis serves several calls: it outlives the one that is cancelled",
    "media/stt/batch.py": "a batch belongs to several calls: it outlives the one that is cancelled",
    "dialog/pump.py": "owns the one task that drives a generator, and ends it in close()",
    "dialog/llm/fallback.py": "engines that race run in a task each; the race that starts them ends them",
    "voicegw/clock.py": "the application's wall clock, which it hands to whoever needs one",
    "voicegw/cli/speech.py": "tells the user how long an engine took",
    "voicegw/cli/simulate.py": "tells the user how long all calls took",
    "voicegw/stall.py": "a thread holds the event loop's clock against another one",
    "recordings/writer.py": "the thread that writes to the disk wakes once in a while, on the wall clock",
}

# `except Exception` stands in three kinds of places: the reply, the call, the process.
BROAD_EXCEPTS: dict[str, str] = {
    "media/tasks.py": "what a block raises is raised again outside of its task group, unwrapped",
    "dialog/agent/toolbox.py": "a tool may do anything: the model is told, and the conversation goes on",
    "dialog/llm/fallback.py": "what an engine raises in its task is raised in whoever waits for the answer",
    "sip/pjsua/calls.py": "an exception in a C++ callback keeps pjsip's objects alive: abort at exit",
    "sip/pjsua/endpoint.py": "a call's handler has failed: that call is refused",
    "sip/pjsua/thread.py": "the thread's failure to start is raised in whoever started it",
    "voicegw/keeper.py": "a bug in what is kept of a call must not harm the call",
    "voicegw/storage/store.py": "a change that the database refuses must not end the server; it is counted",
    "sip/webrtc/media.py": "a bug in one browser call's task must not end the others",
    "sip/carrierdesk.py": "a bug in a request for one call must not end the server; that call has failed",
    "sip/mediasocket.py": "a bug behind one message of a carrier ends that call; the others go on",
    "sip/freeswitch/edge.py": "a bug in one call of FreeSWITCH must not end the others",
    "sip/ua/stack.py": "a bug in one call's signalling task must not end the user agent",
    "sip/ua/reception.py": "a call's handler may fail in any way: the caller gets 500, other calls go on",
    "voicegw/outbound.py": "the boundary of an order to call somebody: a bug in one must not touch another",
    "voicegw/calls.py": "the boundary of a call: a bug in one must not touch another",
    "recordings/calllog.py": "the repr of a value in an event may do anything, and an observer never raises",
    "recordings/writer.py": "one thread writes for all calls: a bug in one recording must not end it",
    "media/metronome.py": "a bug in one call must not stop the clock of all; that call is ended",
    "media/reply.py": "a failed reply must not end the call",
    "media/workers/child.py": "an engine may raise anything: that request fails, or the worker is unfit",
    "media/tts/espeaklib.py": "an exception must not unwind through C; it is raised afterwards",
}

MAX_FILE, MAX_TEST_FILE, MAX_FUNCTION, MAX_CLASS, MAX_PARAMETERS = 400, 600, 40, 250, 6
SIZE_EXCEPTIONS: dict[str, str] = {
    "media/session.py:CallSession": "three planes side by side; reports, replies, playout, turns moved out",
}


def sources(*folders: str) -> Iterator[tuple[str, ast.Module, int]]:
    for folder in folders:
        yield from folder_sources(folder)


@cache
def folder_sources(folder: str) -> list[tuple[str, ast.Module, int]]:
    found = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text()
        found.append((str(path.relative_to(ROOT)), ast.parse(text), len(text.splitlines())))
    return found


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        if node.level or not node.module:
            return ["." * node.level + (node.module or "")]
        # `from dialog import types` names the module dialog.types
        if node.module in PACKAGES:
            return [f"{node.module}.{a.name}" for a in node.names]
        return [node.module]
    return [a.name for a in node.names] if isinstance(node, ast.Import) else []


def test_imports_follow_the_arrows() -> None:
    wrong = []
    for package, allowed in ALLOWED.items():
        for name, tree, _ in sources(package):
            for node in ast.walk(tree):
                for module in imported(node):
                    if module.startswith("."):
                        wrong.append(f"{name}:{node.lineno} relative import")  # type: ignore[attr-defined]
                    elif module.split(".")[0] in PACKAGES and not any(
                        module == a or module.startswith(a + ".") for a in allowed
                    ):
                        wrong.append(f"{name}:{node.lineno} imports {module}")  # type: ignore[attr-defined]
    assert not wrong, "\n".join(wrong)


def test_nobody_imports_tests_or_bench() -> None:
    wrong = [
        f"{name} imports {module}"
        for name, tree, _ in sources(*PACKAGES)
        for node in ast.walk(tree)
        for module in imported(node)
        if module.split(".")[0] in {"tests", "bench"}
    ]
    assert not wrong, "\n".join(wrong)


def clocks_and_tasks() -> Iterator[tuple[str, str]]:
    """File, and where in it."""
    for name, tree, _ in sources(*PACKAGES):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (called := ast.unparse(node.func)) in CLOCKS_AND_TASKS:
                yield name, f"{name}:{node.lineno} {called}"


def broad_excepts() -> Iterator[tuple[str, str]]:
    """File, and where in it."""
    for name, tree, _ in sources(*PACKAGES):
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler) and (
                node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}
            ):
                yield name, f"{name}:{node.lineno}"


def test_cores_read_no_clock_and_start_no_bare_task() -> None:
    wrong = [where for name, where in clocks_and_tasks() if name not in DRIVERS]
    assert not wrong, "\n".join(wrong)


def test_broad_excepts_stand_only_where_they_are_explained() -> None:
    wrong = [where for name, where in broad_excepts() if name not in BROAD_EXCEPTS]
    assert not wrong, "\n".join(wrong)


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or node.lineno) - body[0].lineno + 1 if body else 0


def too_large(name: str, tree: ast.Module, lines: int, limit: int) -> Iterator[tuple[str, str]]:
    if lines > limit:
        yield name, f"{lines} lines"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if code_lines(node) > MAX_FUNCTION:
                yield f"{name}:{node.name}", f"{code_lines(node)} code lines"
            count = len([a for a in node.args.args + node.args.kwonlyargs if a.arg not in {"self", "cls"}])
            if count > MAX_PARAMETERS and not name.startswith(("tests/", "voicegw/cli/")):
                yield f"{name}:{node.name}", f"{count} parameters"
        if isinstance(node, ast.ClassDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > MAX_CLASS:
                yield f"{name}:{node.name}", f"class of {size} lines"


def test_files_functions_and_classes_stay_small() -> None:
    found = [e for s in sources(*PACKAGES, "bench") for e in too_large(*s, MAX_FILE)]
    found += [e for name, tree, n in sources("tests") for e in too_large(name, tree, n, MAX_TEST_FILE)]
    wrong = [f"{what}: {size}" for what, size in found if what not in SIZE_EXCEPTIONS]
    assert not wrong, "\n".join(wrong)


def test_exceptions_are_still_needed() -> None:
    """A table of exceptions that nobody needs any more is a hole in the fence."""
    assert not set(DRIVERS) - {name for name, _ in clocks_and_tasks()}
    assert not set(BROAD_EXCEPTS) - {name for name, _ in broad_excepts()}
    large = {what for s in sources(*PACKAGES, "bench") for what, _ in too_large(*s, MAX_FILE)}
    large |= {what for s in sources("tests") for what, _ in too_large(*s, MAX_TEST_FILE)}
    assert not set(SIZE_EXCEPTIONS) - large
    assert all(len(reason) > 10 for reason in (DRIVERS | BROAD_EXCEPTS | SIZE_EXCEPTIONS).values())
    for package, arrows in ALLOWED.items():
        used = {m for _, tree, _ in sources(package) for node in ast.walk(tree) for m in imported(node)}
        unused = {a for a in arrows if not any(m == a or m.startswith(a + ".") for m in used)}
        assert unused <= {package}


def test_files_that_are_no_code_are_installed() -> None:
    """A pattern of setup.cfg names each: else they are here, and missing after `pip install`."""
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg")
    patterns = [p.strip() for p in parser["options.package_data"]["*"].split(",")]
    wrong = []
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*"):
            if not file.is_file() or file.suffix in {".py", ".pyc", ".so"} or file.name.startswith("."):
                continue
            home = next(folder for folder in file.parents if (folder / "__init__.py").exists())
            inside = file.relative_to(home)
            if not any(fnmatch(str(inside), p) and p.count("/") == len(inside.parts) - 1 for p in patterns):
                wrong.append(str(file.relative_to(ROOT)))
    assert not wrong, "\n".join(wrong)
