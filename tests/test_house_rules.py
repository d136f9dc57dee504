"""The rules of the house that no linter knows: sizes, machine paths, what serving needs, docs that hold."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from app.settings import Settings
from app.telemetry.metrics import Metrics

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("app", "models", "training", "bench")
MAX_FILE_LINES = 400
MAX_TEST_FILE_LINES = 600
MAX_FUNCTION_LINES = 60

# These lists may only shrink. One reason a line.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}

_SKIPPED = {"build", "runs", "reports", "checkpoints", "bundles", "node_modules", "__pycache__"}
_TEXT = {".py", ".md", ".toml", ".yaml", ".yml", ".sh", ".txt", ".js", ".css", ".html", ".json"}
_TEXT_NAMES = {"Makefile", "Dockerfile", "LICENSE", "run", ".gitignore", ".dockerignore"}
# A machine's own places, and where packages were fetched from, mean nothing elsewhere. Put together here so
# that this file does not name what it forbids.
_MACHINE = re.compile(
    "|".join(
        (
            "/" + "work/",
            "/" + "root/",
            "/home/" + r"[a-z]",
            "/" + "opt/(?!venv)",
            "C:" + r"\\",
            "find" + "-links =",
        )
    )
)
_REGISTRY = re.compile(
    "|".join(
        ("files.python" + "hosted", "pypi" + r"\.org", "index" + r"-url\S* \S*://", "registry.npm" + "js")
    )
)


def python_files(*folders: str) -> Iterator[Path]:
    """Every Python file under these folders of the repository."""
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def text_files() -> Iterator[Path]:
    """Every file of the repository that people write."""
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        generated = any(
            part in _SKIPPED or part.endswith(".egg-info") or (part.startswith(".") and part != ".ci")
            for part in parts[:-1]
        )
        if not generated and path.is_file() and (path.suffix in _TEXT or path.name in _TEXT_NAMES):
            yield path


def name(path: Path) -> str:
    """A file as the allow-lists write it."""
    return path.relative_to(ROOT).as_posix()


def lines_of(path: Path) -> int:
    """How many lines a file has."""
    return len(path.read_text(encoding="utf-8").splitlines())


def functions_of(path: Path) -> Iterator[tuple[str, int]]:
    """Every function of a file with its length in lines, the docstring and decorators left out."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            yield (
                f"{name(path)}::{node.name}",
                (node.end_lineno or 0) - node.lineno + 1 - len(docstring.splitlines() if docstring else ()),
            )


def test_files_are_short() -> None:
    """No file is longer than the house allows, but for those that say why."""
    long = {name(path) for path in python_files(*SOURCES) if lines_of(path) > MAX_FILE_LINES}
    long |= {name(path) for path in python_files("tests") if lines_of(path) > MAX_TEST_FILE_LINES}
    assert long == set(LONG_FILES)


def test_functions_are_short() -> None:
    """No function is longer than the house allows, but for those that say why."""
    functions = (found for path in python_files(*SOURCES) for found in functions_of(path))
    assert {function for function, lines in functions if lines > MAX_FUNCTION_LINES} == set(LONG_FUNCTIONS)


def test_no_file_names_a_machine() -> None:
    """No path of somebody's machine and no address of a package registry is written down."""
    found = []
    for path in text_files():
        text = path.read_text(encoding="utf-8")
        if _MACHINE.search(text) or _REGISTRY.search(text):
            found.append(name(path))
    assert found == []


def test_every_test_says_what_it_proves() -> None:
    """Every test has a docstring."""
    silent = [
        f"{name(path)}::{node.name}"
        for path in python_files("tests")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []


def test_every_test_folder_is_a_package() -> None:
    """Generic package names need `__init__.py` in every folder of tests (docs/decisions/0001)."""
    folders = {path.parent for path in python_files("tests")}
    assert [name(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_tests_mirror_the_source() -> None:
    """A test module lies where its source lies; what one module needs many tests for has a folder of its name."""
    allowed = {"support", "e2e", "contracts", "assets", "deploy"}
    sources = {path.relative_to(ROOT / "app").parent.as_posix() for path in python_files("app")}
    sources |= {
        path.relative_to(ROOT / "app").with_suffix("").as_posix() for path in python_files("app/wire")
    }
    for package in ("models", "training", "bench"):
        sources |= {path.relative_to(ROOT).parent.as_posix() for path in python_files(package)}
    folders = {path.relative_to(ROOT / "tests").parent.as_posix() for path in python_files("tests")}
    assert {folder for folder in folders if folder.split("/")[0] not in allowed} <= sources


def test_serving_needs_no_torch() -> None:
    """Torch is in the `train` extra only, and in neither of the images' locks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    holders = {extra for extra, needs in extras.items() if any(need.startswith("torch") for need in needs)}
    assert holders == {"train"}
    assert not any(need.startswith("torch") for need in project["dependencies"])
    for lock in sorted((ROOT / "deploy").glob("requirements-*.txt")):
        assert "\ntorch==" not in lock.read_text(encoding="utf-8")


@pytest.mark.parametrize("runtime", ["cpu", "gpu"])
def test_the_locks_are_whole_and_hashed(runtime: str) -> None:
    """Every direct dependency is pinned in the image's lock, and every pin has hashes."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "deploy" / f"requirements-{runtime}.txt").read_text(encoding="utf-8")
    pins = dict(
        re.findall(r"^([a-z0-9-]+)==\S+.*\\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M)
    )
    assert len(pins) == len(re.findall(r"^[a-z]", text, re.M))
    needs = project["dependencies"] + project["optional-dependencies"][runtime]
    direct = {re.split(r"[^A-Za-z0-9._-]", need)[0].lower().replace("_", "-") for need in needs}
    assert direct <= set(pins)


def test_links_between_pages_lead_somewhere() -> None:
    """Every relative link of the documentation names a file that exists."""
    broken = []
    for page in (path for path in text_files() if path.suffix == ".md"):
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if (
                "://" not in target
                and not target.startswith("mailto:")
                and not (page.parent / target).exists()
            ):
                broken.append(f"{name(page)} -> {target}")
    assert broken == []


def test_the_changelog_knows_the_version() -> None:
    """The version in pyproject.toml has its section in the changelog."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_the_operations_page_knows_every_setting_and_metric() -> None:
    """Whoever runs the service finds each variable and each metric on one page."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    settings = set(setting_names())
    assert set(re.findall(r"`(KOWAIRO_[A-Z_]+)`", page)) == settings
    families = [family.name for family in Metrics().registry.collect()]
    families = [name for name in families if name.startswith("kowairo_")]
    assert [name for name in families if f"`{name}" not in page] == []


def setting_names() -> Iterator[str]:
    """Every variable that the service reads."""
    for field, info in Settings.model_fields.items():
        group = info.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            yield from (f"KOWAIRO_{field}__{inner}".upper() for inner in group.model_fields)
        else:
            yield f"KOWAIRO_{field}".upper()
