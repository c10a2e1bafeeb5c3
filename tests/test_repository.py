"""The rules of the repository that a program can see. Each is a sentence of docs/ARCHITECTURE.md."""

import ast
import functools
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

REPOSITORY: Final = Path(__file__).resolve().parents[1]
MODULE_LINES_MAX: Final = 400

LAYERS: Final = {
    "decode": {"api", "clients", "commit", "journal", "publish", "parquet", "disk", "object_store"}
    | {"catalog", "kafka", "workers", "run", "settings"},
    "journal": {"api", "clients", "commit", "decode", "publish", "parquet", "object_store"}
    | {"catalog", "kafka", "workers", "run", "settings"},
    "disk": {"api", "clients", "commit", "decode", "journal", "publish", "parquet", "object_store"}
    | {"catalog", "kafka", "workers", "run", "settings"},
    "parquet": {"api", "clients", "commit", "journal", "publish", "disk", "object_store"}
    | {"catalog", "kafka", "workers", "run", "settings"},
    "object_store": {"api", "clients", "commit", "decode", "journal", "publish", "parquet"}
    | {"catalog", "kafka", "workers", "run", "settings"},
    "publish": {"api", "clients", "commit", "decode", "journal", "catalog", "kafka", "workers"}
    | {"run", "settings"},
    "clients": {"api", "commit", "journal", "publish", "parquet", "disk", "object_store"}
    | {"catalog", "kafka", "workers", "run", "settings"},
    "commit": {"api", "clients", "publish", "kafka", "workers", "catalog", "run", "settings"},
    "catalog": {"api", "clients", "commit", "decode", "journal", "kafka", "workers", "run", "settings"},
    "kafka": {"api", "clients", "catalog", "workers", "run", "settings"},
    "workers": {"api", "clients", "publish", "catalog", "kafka", "run", "settings"},
    "query": {"api", "clients", "catalog", "kafka", "workers", "run", "settings"},
    "load": {"api", "clients", "commit", "journal", "publish", "parquet", "disk", "object_store", "catalog"}
    | {"kafka", "workers", "query", "console", "run", "settings"},
    "console": {"clients", "journal", "publish", "catalog", "workers", "run", "settings"},
    "api": {"query", "catalog", "kafka", "workers", "run", "settings"},
    "settings": {"run"},
}
"""What no chain of imports may reach from a package, function-level imports included. run is above all."""

OUTSIDE: Final = {
    "decode": {"os", "pathlib", "time", "socket", "tempfile", "shutil", "random", "secrets", "logging"},
    "clients": {"os", "pathlib", "time", "socket", "tempfile", "shutil", "random", "secrets", "logging"},
    "journal": {"pyarrow"},
}
"""Modules of others that a package's own modules may not import."""

SYNCING: Final = {"fsync", "fdatasync", "sync_file_range", "rename", "renames", "replace", "link", "unlink"}

WEB: Final = {"fastapi", "starlette", "uvicorn"}


@functools.cache
def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return [path for name in done.stdout.split("\0") if name and (path := REPOSITORY / name).is_file()]


@functools.cache
def texts() -> list[tuple[str, str]]:
    found = []
    for path in tracked():
        try:
            found.append((str(path.relative_to(REPOSITORY)), path.read_text("utf-8")))
        except UnicodeDecodeError:
            continue
    return found


@functools.cache
def sources() -> dict[str, ast.Module]:
    """The trees of the service's own modules by dotted name below `app`, generated ones left out."""
    found = {}
    for path in sorted((REPOSITORY / "app").rglob("*.py")):
        name = ".".join(path.relative_to(REPOSITORY / "app").with_suffix("").parts)
        if path.name != "__init__.py":
            found[name] = ast.parse(path.read_text("utf-8"), str(path))
    assert len(found) > 20
    return found


@functools.cache
def imports(tree: ast.Module) -> set[str]:
    """Every module that is imported, wherever in the module; `from a import b` counts as a and as a.b."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(name: str, parents: set[str]) -> bool:
    return any(name == parent or name.startswith(f"{parent}.") for parent in parents)


# --- what stands in files -----------------------------------------------------------------------------------


def test_no_file_names_a_package_registry() -> None:
    registries = (
        r"p{}ypi\.org|p{}ythonhosted|n{}pmjs\.|c{}rates\.io|d{}eb\.debian|p{}roxy\.golang|repo1?\.m{}aven"
    )
    pattern = re.compile(registries.replace("{}", "[.]?"), re.IGNORECASE)

    assert [
        name for name, text in texts() if name != "tests/test_repository.py" and pattern.search(text)
    ] == []


def test_no_file_names_a_path_of_a_machine() -> None:
    pattern = re.compile(r"(?<![\w./])/(?:work|farm|home|root|Users)/")

    assert [
        name for name, text in texts() if name != "tests/test_repository.py" and pattern.search(text)
    ] == []


def test_locks_hold_a_hash_for_everything_and_no_place_to_get_it_from() -> None:
    locks = sorted(REPOSITORY.glob("requirements*.lock"))
    assert len(locks) >= 3
    for lock in locks:
        text = lock.read_text("utf-8")
        assert "://" not in text
        assert "--index-url" not in text
        for requirement in re.split(r"\n(?=[a-z0-9])", text.strip()):
            assert "--hash=sha256:" in requirement, requirement.splitlines()[0]


def test_nothing_is_left_for_later() -> None:
    marks = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b|NotImplemented" r"Error|pytest\.mark\.ski" r"p\b")

    assert [name for name, text in texts() if name.endswith(".py") and marks.search(text)] == []


# --- modules ------------------------------------------------------------------------------------------------


def test_no_module_has_outgrown_its_noun() -> None:
    lines = {name: text.count("\n") for name, text in texts() if re.fullmatch(r"app/.*\.py", name)}

    assert {name: count for name, count in lines.items() if count > MODULE_LINES_MAX} == {}


def test_no_module_is_named_after_nothing() -> None:
    names = {part for name in sources() for part in re.split(r"[._]", name)}

    assert names.isdisjoint({"util", "utils", "common", "helper", "helpers", "manager", "misc", "core"})


def test_no_two_classes_have_one_name() -> None:
    assert names_that_stand_twice(sources()) == {}
    planted = {"a": ast.parse("class Place: ...\n"), "b": ast.parse("def f():\n    class Place: ...\n")}
    assert names_that_stand_twice(planted) == {"Place": ["a", "b"]}


def test_only_the_command_sees_settings() -> None:
    seeing = {name for name, tree in sources().items() if within_any(imports(tree), {"app.settings"})}

    assert {name for name in seeing if not name.startswith(("run.", "settings."))} == {"cli"}


def test_the_running_service_sees_nothing_of_the_settings_but_its_plan() -> None:
    assert settings_reached(import_graph(sources())) == []


def test_settings_would_be_seen_in_the_running_service() -> None:
    planted = {
        "run.a": ast.parse("def late():\n    from app.settings.planning import plan_of\n"),
        "run.b": ast.parse("from app.settings.plan import Plan\n"),
        "settings.plan": ast.parse("from app.submission import Receipt\n"),
        "submission": ast.parse("import app.settings.settings\n"),
        "settings.planning": ast.parse(""),
        "settings.settings": ast.parse(""),
    }

    assert settings_reached(import_graph(planted)) == [
        "run.a → settings.planning",
        "run.b → settings.plan → submission → settings.settings",
    ]


def test_only_these_modules_are_loose() -> None:
    loose = {name for name in sources() if "." not in name}

    assert loose == {"cli", "errors", "kinds", "metrics", "schema", "submission"}


@pytest.mark.parametrize("package", LAYERS)
def test_imports_point_one_way(package: str) -> None:
    assert forbidden_reach(import_graph(sources()), package, LAYERS[package]) == []


def test_a_forbidden_import_is_seen_through_a_chain_and_in_a_function() -> None:
    planted = {
        "decode.a": ast.parse("def late():\n    from app.kinds import Kind\n"),
        "kinds": ast.parse("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import app.publish.b\n"),
        "publish.b": ast.parse(""),
    }

    assert forbidden_reach(import_graph(planted), "decode", {"publish"}) == [
        "decode.a → kinds → publish.b",
    ]


def test_no_import_goes_in_a_circle() -> None:
    assert circles(import_graph(sources())) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [{"b", "c"}]


@pytest.mark.parametrize("package", OUTSIDE)
def test_what_a_package_does_not_touch(package: str) -> None:
    wrong = {
        f"{name} imports {imported}"
        for name, tree in sources().items()
        if name.startswith(f"{package}.")
        for imported in imports(tree)
        if within(imported, OUTSIDE[package])
    }

    assert wrong == set()


def test_only_the_api_package_knows_http() -> None:
    knowing = {name for name, tree in sources().items() if within_any(imports(tree), WEB)}

    assert {name for name in knowing if not name.startswith(("api.", "run."))} == set()


def test_only_one_package_knows_the_client_of_kafka() -> None:
    knowing = {name for name, tree in sources().items() if within_any(imports(tree), {"confluent_kafka"})}

    assert knowing
    assert all(name.startswith("kafka.") for name in knowing)


def test_decoding_reads_no_clock_and_no_file() -> None:
    calls = {"now", "today", "utcnow", "open", "print", "input"}
    wrong = {
        f"{name}:{node.lineno} {called}"
        for name, tree in sources().items()
        if name.startswith("decode.")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and (called := last_name(node.func)) in calls
    }

    assert wrong == set()


def test_only_disk_syncs_and_renames() -> None:
    wrong = {
        f"{name}:{node.lineno} os.{node.attr}"
        for name, tree in sources().items()
        if not name.startswith("disk.")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in SYNCING and last_name(node.value) == "os"
    }

    assert wrong == set()


def test_only_one_module_maps_errors_to_status_codes() -> None:
    errors = {node.name for node in ast.walk(sources()["errors"]) if isinstance(node, ast.ClassDef)}
    mapping = {
        name
        for name, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict) and keys_and_values(node, errors)
    }

    assert mapping == {"api.error_responses"}


def test_no_module_holds_state() -> None:
    """Tables that nobody changes may stand at module level; nothing that is filled, locked or counted."""
    wrong = {f"{name}:{line} {what}" for name, tree in sources().items() for line, what in module_state(tree)}

    assert wrong == set()


def test_module_state_would_be_seen() -> None:
    hidden = "TABLE = {1: 2}\ncache = {}\nlock = Lock()\n"
    inside = "def f():\n    global cache\n    TABLE[3] = 4\n    TABLE.update({})\n    del TABLE[1]\n"

    assert [line for line, _ in module_state(ast.parse(hidden + inside))] == [2, 3, 5, 6, 7, 8]


def names_that_stand_twice(trees: dict[str, ast.Module]) -> dict[str, list[str]]:
    """Names of classes, and the modules that have one of that name."""
    found: dict[str, list[str]] = {}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(name)
    return {name: modules for name, modules in found.items() if len(modules) > 1}


def import_graph(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    """By module: the service's own modules that it imports anywhere, in functions and for types too."""
    return {
        name: {each.removeprefix("app.") for each in imports(tree)} & trees.keys() - {name}
        for name, tree in trees.items()
    }


def settings_reached(graph: dict[str, set[str]]) -> list[str]:
    """Chains of imports that lead from the running service to settings, past the plan that it is given."""
    return chains_to(graph, "run", lambda name: name.startswith("settings.") and name != "settings.plan")


def forbidden_reach(graph: dict[str, set[str]], package: str, forbidden: set[str]) -> list[str]:
    """Chains of imports that lead from a package's modules into a forbidden package, the shortest of each."""
    return chains_to(graph, package, lambda name: name.split(".")[0] in forbidden)


def chains_to(graph: dict[str, set[str]], package: str, is_forbidden: Callable[[str], bool]) -> list[str]:
    found = []
    for start in sorted(name for name in graph if name.startswith(f"{package}.")):
        chains, seen = [[start]], {start}
        while chains:
            chain = chains.pop(0)
            if is_forbidden(chain[-1]):
                found.append(" → ".join(chain))
                break
            for following in sorted(graph[chain[-1]] - seen):
                seen.add(following)
                chains.append([*chain, following])
    return found


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Sets of modules that import each other, directly or not."""
    reach = {name: reachable(graph, name) for name in graph}
    rings = {
        frozenset(other for other in reach[name] if name in reach[other])
        for name in graph
        if name in reach[name]
    }
    return [set(ring) for ring in rings]


def reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    found, todo = set(), list(graph[start])
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += graph[name]
    return found


def within_any(names: set[str], parents: set[str]) -> bool:
    return any(within(name, parents) for name in names)


def last_name(node: ast.expr) -> str:
    """`b` of `a.b` and of `b`, empty for anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def keys_and_values(node: ast.Dict, errors: set[str]) -> bool:
    """Whether a dict literal has error classes as keys and numbers of three digits as values."""
    keys = {last_name(key) for key in node.keys if key is not None}
    statuses = [
        value for value in node.values if isinstance(value, ast.Constant) and value.value in range(400, 600)
    ]
    return bool(keys & errors) and bool(statuses)


STATEFUL: Final = {
    *(
        "list",
        "dict",
        "set",
        "bytearray",
        "defaultdict",
        "Counter",
        "OrderedDict",
        "deque",
        "Queue",
        "SimpleQueue",
    ),
    *(
        "Lock",
        "RLock",
        "Event",
        "Condition",
        "Semaphore",
        "ThreadPoolExecutor",
        "count",
        "local",
        "ContextVar",
    ),
}
CHANGING: Final = {
    "append",
    "extend",
    "insert",
    "add",
    "update",
    "setdefault",
    "pop",
    "popitem",
    "remove",
    "clear",
}


def module_state(tree: ast.Module) -> list[tuple[int, str]]:
    """Line and name of what a module keeps, and of each place where something at its level is changed."""
    found, names = [], set()
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
            called = last_name(node.value.func) if isinstance(node.value, ast.Call) else ""
            empty = isinstance(node.value, ast.List | ast.Dict) and not ast.unparse(node.value)[1:-1]
            if empty or called in STATEFUL:
                found.append((node.lineno, "is kept"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            found.append((node.lineno, "global"))
        elif (name := changed_name(node)) in names:
            found.append((getattr(node, "lineno", 0), f"{name} is changed"))
    return sorted(found)


def changed_name(node: ast.AST) -> str:
    """`table` of `table[key] = …`, `del table[key]` and `table.update(…)`, empty for anything else."""
    match node:
        case ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del()):
            return name
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attribute)) if attribute in CHANGING:
            return name
    return ""
