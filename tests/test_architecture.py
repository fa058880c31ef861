"""The import arrows and the purity of the core, read off the code."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "circinus": ROOT / "shared" / "circinus",
    "edge_agent": ROOT / "edge_agent",
    "cloud_planner": ROOT / "cloud_planner",
}

#: Who may import whom, of the three packages.
ARROWS = {"circinus": set(), "edge_agent": {"circinus"}, "cloud_planner": {"circinus"}}

#: What the agent and what it shares must never load: the planner's and the command line's dependencies.
HEAVY = {"mip", "numpy", "scipy", "yaml", "typer", "rich", "jinja2", "starlette", "cv2", "onnxruntime", "cryptography"}

#: What decodes images and sound runs in a source's process, in its bundle's environment; the agent never loads it.
FEED_FILES = [PACKAGES["edge_agent"] / "feeds" / name for name in ("images.py", "sounds.py")]
IN_BUNDLES = {"numpy", "cv2"}

#: Keys and signatures are the work of a child that is gone after one question.
KEYS_CHILD = PACKAGES["edge_agent"] / "identity" / "keys_child.py"

PURE_FILES = [
    *sorted((PACKAGES["cloud_planner"] / "core").rglob("*.py")),
    *sorted((PACKAGES["circinus"] / "model").rglob("*.py")),
    PACKAGES["circinus"] / "exposition.py",
    PACKAGES["cloud_planner"] / "metrics" / "metric_list.py",
    *(PACKAGES["edge_agent"] / "metrics" / name for name in ("metric_list.py", "totals.py")),
    *(PACKAGES["edge_agent"] / "tracing" / name for name in ("context.py", "steps.py")),
    PACKAGES["circinus"] / "burn_rate.py",
    *(
        PACKAGES["cloud_planner"] / "dashboard" / f"{name}.py"
        for name in (
            "attainment",
            "dag",
            "dag_svg",
            "plan_history",
            "query_list",
            "query_text",
            "seen",
            "submission",
            "table",
        )
    ),
    PACKAGES["edge_agent"] / "law.py",
    PACKAGES["edge_agent"] / "reconcile.py",
    PACKAGES["edge_agent"] / "preview.py",
    PACKAGES["edge_agent"] / "stand_by.py",
    PACKAGES["edge_agent"] / "dataplane/stand_by_lane.py",
    *(
        PACKAGES["edge_agent"] / "dataplane" / name
        for name in ("admission.py", "service_times.py", "use_queue.py", "waiting.py")
    ),
    *(
        PACKAGES["edge_agent"] / "dataplane" / name
        for name in ("chunks.py", "credit.py", "frames.py", "lanes.py", "messages.py", "shaping.py")
    ),
    *(PACKAGES["edge_agent"] / "ingress" / name for name in ("known.py", "tensors.py")),
]
IMPURE_MODULES = {
    "aiosqlite",
    "asyncio",
    "glob",
    "grpc",
    "logging",
    "mip",
    "os",
    "pathlib",
    "psutil",
    "random",
    "secrets",
    "shutil",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uuid",
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__"}
IMPURE_ATTRIBUTES = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("date", "today"),
    ("np", "random"),
    ("numpy", "random"),
}

MAX_LINES = 450


def files_of(package):
    return [
        path
        for path in sorted(PACKAGES[package].rglob("*.py"))
        if "v1" not in path.relative_to(PACKAGES[package]).parts
    ]


def tree_of(path):
    return ast.parse(path.read_text(), str(path))


def imports_of(tree):
    """(top-level package, line) of every import, also those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0], node.lineno


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_follow_the_arrows(package):
    forbidden = set(PACKAGES) - ARROWS[package] - {package}
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files_of(package)
        for name, line in imports_of(tree_of(path))
        if name in forbidden
    ]
    assert wrong == []


def test_the_agent_names_nothing_heavy():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files_of("edge_agent")
        for name, line in imports_of(tree_of(path))
        if name in HEAVY - (IN_BUNDLES if path in FEED_FILES else set())
        if (name, path) != ("cryptography", KEYS_CHILD)
    ]
    assert wrong == []


@pytest.mark.parametrize("path", PURE_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_pure_module_stays_pure(path):
    tree = tree_of(path)
    wrong = [f"line {line} imports {name}" for name, line in imports_of(tree) if name in IMPURE_MODULES]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            wrong.append(f"line {node.lineno} calls {node.func.id}")
        attribute = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if attribute and (node.value.id, node.attr) in IMPURE_ATTRIBUTES:
            wrong.append(f"line {node.lineno} uses {node.value.id}.{node.attr}")
        if isinstance(node, (ast.AsyncFunctionDef, ast.Await)):
            wrong.append(f"line {node.lineno} is asynchronous")
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_stay_small(package):
    wrong = [
        f"{path.relative_to(ROOT)} has {lines} lines"
        for path in files_of(package)
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    ]
    assert wrong == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_is_named_for_nothing(package):
    vague = {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"}
    assert [str(path) for path in files_of(package) if path.stem in vague] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["edge_agent.daemon", "circinus.client", "edge_agent.worker", "edge_agent.feeds.process"]
)
def test_loading_it_brings_in_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) & (HEAVY | {"cloud_planner"}) == set()


@pytest.mark.slow
def test_the_planner_starts_without_what_people_look_at():
    code = (
        "import sys, cloud_planner.command_line, cloud_planner.daemon;"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) & {"rich", "typer", "textual", "starlette", "jinja2", "uvicorn", "opentelemetry"} == set()
