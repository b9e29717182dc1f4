"""The house as its imports and files show it: the rules of docs/architecture.md, read from the source."""

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.support.hosts import PACK_ROOT

# What a module may import: the rows above its own here, and its own component. The longest name that fits counts.
ROWS = (
    "errors names records threads builtin color_profiles text_encodings progress",
    "atomic html_pages image_notes model_files options steps text_files",
    "image_files weights loop_config servers",
    "images",
    "trajectory",
    "trajectory_html",
    "thinkers",
    # of evaluation only what measures images and runs nothing; a benchmark that runs the loop gets a place further down
    "editors alignment evaluation focus",
    "think_loop edit_job",
    "think_job steering",
    "pairs",
    "training benchmarking",
    "scoring",
    "collect comparison",
    "tiny",
    "cli",
    "__main__",
)
LEVELS = {f"rethink.{name}": level for level, row in enumerate(ROWS) for name in row.split()}
LEVELS |= {"nodes": LEVELS["rethink.cli"], "rethink": len(ROWS)}  # the library's __init__ names what stands in it

HEAVY = {"diffusers", "transformers", "peft", "accelerate", "trl", "datasets", "ray", "openai", "tokenizers", "torchao"}
COMFYUI = re.compile(
    r"(comfy|comfy_\w+|folder_paths|nodes|server|execution|node_helpers|latent_preview|app|protocol|utils)(\.|$)"
)
MOST_PARAMETERS, MOST_LINES = 8, 400
REASON_FOR_MANY = re.compile(r"#.*more than eight:\s*\S|more than eight parameters:\s*\S", re.IGNORECASE)
BRITISH = re.compile(  # of a word in small letters
    r".*colour.*|.*behaviour.*|.*neighbour.*|favour.*|honour.*|labour.*|.*centre[ds]?|.*centring|grey.*|.*licence.*|.*defence|"
    r"analys(e|ed|er|es|ing)|criticis(e|ed|es|ing)|.*labell(ed|ing)|modell(ed|er|ing)|travell(ed|er|ing)|"
    r"learnt|spelt|catalogue.*|whilst|programme|artefact.*|judgement.*|"
    r"(un|re|de|pre)?(author|capital|categor|central|character|custom|emphas|equal|final|general|harmon|initial|local|maxim|"
    r"memor|minim|normal|optim|organ|prior|quant|random|real|recogn|regular|serial|special|stabil|standard|summar|synthes|token|"
    r"util|vector|visual)is(e|ed|es|er|ers|ing|ation|ations)"
)

# By path: ids, choices and names in stores and workflows, what users search for, what models may write.
BRITISH_ON_PURPOSE = {
    "": {"greyscale"},
    "nodes/keep.py": {"colour"},
    "rethink/pairs/inverse/operations/": {"colour", "grey"},
    "rethink/tiny/english/": {"colour", "grey"},
    "tests/rethink/pairs/inverse/": {"colour", "grey", "centre"},
    "tests/rethink/thinkers/test_answer_text.py": {"judgement"},
}

# Each list holds what is still to be mended: a path, or the folder it lies in. Nothing may be added.
UPWARD: set[str] = set()
CIRCLES: set[frozenset[str]] = set()
BESIDE_THE_DOOR: tuple[str, ...] = ()
TOO_MANY_PARAMETERS: tuple[str, ...] = ()
WITHOUT_TESTS: tuple[str, ...] = ()
HELPERS_FROM_TESTS: tuple[str, ...] = ()
# Files of more lines than that, each with its reason.
LONG: dict[str, str] = {}
LONG_STILL: tuple[str, ...] = ()


def unmended(found: set[str], known: tuple[str, ...]) -> list[str]:
    return sorted(each for each in found if not each.startswith(known))


@dataclass(frozen=True)
class Module:
    name: str  # "rethink.editors.protocol"
    file: Path
    tree: ast.Module

    @property
    def package(self) -> tuple[str, ...]:
        parts = tuple(self.name.split("."))
        return parts if self.file.name == "__init__.py" else parts[:-1]

    @property
    def path(self) -> str:
        return self.file.relative_to(PACK_ROOT).as_posix()


@cache
def modules() -> dict[str, Module]:
    """Every module of the library and of the nodes by its name."""
    found = {}
    for file in sorted(file for folder in ("rethink", "nodes") for file in (PACK_ROOT / folder).rglob("*.py")):
        parts = file.relative_to(PACK_ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(name, file, ast.parse(file.read_text(encoding="utf-8")))
    return found


def imported(module: Module, nodes: Iterator[ast.AST] | None = None) -> Iterator[str]:
    """The full names of the modules that it imports, inside functions too; those outside the pack as they are written."""
    for node in ast.walk(module.tree) if nodes is None else nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.package[: len(module.package) + 1 - node.level] if node.level else ()
            whole = ".".join((*above, *([node.module] if node.module else [])))
            for alias in node.names:
                yield f"{whole}.{alias.name}" if f"{whole}.{alias.name}" in modules() else whole
        elif isinstance(node, ast.Call) and _name_of(node.func) in ("import_module", "lazy_import", "__import__"):
            yield from (each.value for each in node.args[:1] if isinstance(each, ast.Constant))


def _name_of(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def at_import(module: Module) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: outside functions and `if TYPE_CHECKING:`."""
    left: list[ast.AST] = [module.tree]
    while left:
        node = left.pop()
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            left.extend(node.orelse)
            continue
        left.extend(ast.iter_child_nodes(node))


def arrows() -> dict[str, set[str]]:
    """Which modules of the pack each module imports."""
    return {
        name: {other for other in imported(each) if other in modules()} - {name} for name, each in modules().items()
    }


def room_of(name: str) -> str:
    """The name in LEVELS that fits best."""
    fitting = [room for room in LEVELS if name == room or (name.startswith(f"{room}.") and room != "rethink")]
    assert fitting, f"{name} belongs to no component: give it a place in ROWS, and in docs/architecture.md"
    return max(fitting, key=len)


def test_arrows_go_down_only():
    upward = {
        f"{name} -> {other}"
        for name, others in arrows().items()
        for other in others
        if room_of(name) != room_of(other) and LEVELS[room_of(name)] <= LEVELS[room_of(other)]
    }
    assert sorted(upward - UPWARD) == [], "a component imports one beside or above it"


def test_the_document_names_every_room():
    text = (PACK_ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    rooms = {
        f"{name}.py" if (PACK_ROOT / f"rethink/{name}.py").is_file() else f"{name}/" for name in " ".join(ROWS).split()
    }
    missing = sorted(room for room in rooms - {"__main__.py"} if f"`{room}`" not in text)
    assert missing == [], "give each a line in the table of components in docs/architecture.md"


def test_no_modules_import_each_other_in_a_circle():
    found = [sorted(circle) for circle in circles(arrows()) if circle not in CIRCLES]
    assert found == [], "these import each other: move what they share into a module below both"


def circles(graph: dict[str, set[str]]) -> Iterator[frozenset[str]]:
    """The strongly connected components of more than one module (Tarjan 1972)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []

    def visit(name: str) -> Iterator[frozenset[str]]:
        order[name] = lowest[name] = len(order)
        stack.append(name)
        for other in graph[name]:
            if other not in order:
                yield from visit(other)
                lowest[name] = min(lowest[name], lowest[other])
            elif other in stack:
                lowest[name] = min(lowest[name], order[other])
        if lowest[name] == order[name]:
            found = stack[stack.index(name) :]
            del stack[-len(found) :]
            if len(found) > 1:
                yield frozenset(found)

    for name in graph:
        if name not in order:
            yield from visit(name)


def test_circles_are_found():
    assert set(circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()})) == {frozenset("bc")}


def test_the_library_knows_nothing_of_comfyui():
    for module in modules().values():
        if module.name.startswith("rethink"):
            known = {name for name in imported(module) if name not in modules() and COMFYUI.match(name)}
            assert not known, f"{module.path} imports {known}"


def test_imports_inside_the_library_are_relative():
    """So that it works in a custom-node folder of any name."""
    for module in modules().values():
        for node in ast.walk(module.tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            absolute = [name for name in names if name.split(".")[0] in ("rethink", "nodes")]
            assert not absolute, f"{module.path} imports {absolute}: write `from ..`"


def test_nodes_reach_comfyui_through_one_door():
    outside = {
        module.path
        for module in modules().values()
        if module.name.startswith("nodes") and not module.name.startswith("nodes.comfy")
        for name in imported(module)
        if name not in modules() and COMFYUI.match(name) and name != "comfy_api.latest"
    }
    assert unmended(outside, BESIDE_THE_DOOR) == [], "they import ComfyUI: reach it through nodes/comfy"


def test_heavy_packages_are_imported_when_they_are_needed():
    """tests/nodes/test_import.py sees that the pack brings nothing heavy along; this says where it comes from."""
    for module in modules().values():
        if module.name.startswith("rethink.tiny.build"):
            continue
        heavy = {name for name in imported(module, at_import(module)) if name.split(".")[0] in HEAVY}
        assert not heavy, f"{module.path} imports {heavy} at once: import it in the function that needs it"


def test_functions_of_more_than_eight_parameters_say_why():
    """The reason stands in a comment in or above the signature, `# more than eight: …`, or in the docstring."""
    unexplained = {
        f"{module.path}:{function.name}"
        for module in modules().values()
        for function in ast.walk(module.tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        if count_parameters(function) > MOST_PARAMETERS and not says_why(module, function)
    }
    found = unmended(unexplained, TOO_MANY_PARAMETERS)
    assert found == [], (
        f"more than {MOST_PARAMETERS} parameters: make a dataclass of some, or say why, `# more than eight: …`"
    )


def count_parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    spec = function.args
    names = [each.arg for each in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs, spec.vararg, spec.kwarg) if each]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def says_why(module: Module, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    lines = module.file.read_text(encoding="utf-8").splitlines()
    first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    signature = lines[max(0, first - 3) : function.body[0].lineno]
    return any(REASON_FOR_MANY.search(text) for text in (*signature, ast.get_docstring(function) or ""))


def test_every_module_has_the_test_file_of_its_name():
    missing = {
        test_file_of(module).relative_to(PACK_ROOT).as_posix()
        for module in modules().values()
        if module.file.name not in ("__init__.py", "__main__.py") and not test_file_of(module).is_file()
    }
    assert unmended(missing, WITHOUT_TESTS) == [], "write these test files, each for the module of its name"


def test_file_of(module: Module) -> Path:
    return PACK_ROOT / "tests" / Path(module.path).parent / f"test_{module.file.name}"


test_file_of.__test__ = False  # it is no test


def test_no_test_takes_its_helpers_from_another_test():
    """Helpers lie in tests/support, fixtures in a conftest.py."""
    takers = set()
    for path in tracked("tests/"):
        if path.endswith(".py"):
            for node in ast.walk(ast.parse((PACK_ROOT / path).read_text(encoding="utf-8"))):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if any(re.match(r"test_|conftest$", part) for name in names for part in name.split(".")):
                    takers.add(path)
    found = unmended(takers, HELPERS_FROM_TESTS)
    assert found == [], "they import from a test: move helpers to tests/support, fixtures to a conftest.py"


def test_long_files_say_why():
    long = {path for path in tracked() if path.endswith((".py", ".mjs", ".js")) and count_lines(path) > MOST_LINES}
    assert unmended(long - set(LONG), LONG_STILL) == [], f"more than {MOST_LINES} lines: it wants to be two files"
    assert all(LONG.values()), "give the reason"


def count_lines(path: str) -> int:
    return (PACK_ROOT / path).read_bytes().count(b"\n")


def test_spelling_is_american():
    british = {}
    for path in tracked():
        if (
            path.endswith((".py", ".md", ".mjs", ".js", ".toml", ".html", ".css"))
            and path != f"tests/{Path(__file__).name}"
        ):
            words = set(re.findall("[a-z]+", (PACK_ROOT / path).read_text(encoding="utf-8").lower()))
            allowed = set().union(*(names for start, names in BRITISH_ON_PURPOSE.items() if path.startswith(start)))
            if found := {word for word in words - allowed if BRITISH.fullmatch(word)}:
                british[path] = found
    assert british == {}, "spell them as Americans do; ids and names that stay are listed in BRITISH_ON_PURPOSE"


@cache
def tracked(under: str = "") -> list[str]:
    """The files of the repository, those not added yet too; without git, those of an unpacked copy."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=PACK_ROOT, capture_output=True, text=True
    )
    if listing.returncode:
        skipped = {".venv", "node_modules", "__pycache__", ".git"}
        files = [file.relative_to(PACK_ROOT) for file in PACK_ROOT.rglob("*") if file.is_file()]
        found = [file.as_posix() for file in files if not skipped & set(file.parts)]
    else:
        found = [path for path in listing.stdout.splitlines() if (PACK_ROOT / path).is_file()]
    return [path for path in sorted(found) if path.startswith(under)]
