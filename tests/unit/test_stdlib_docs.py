"""The demo's corpus: that of this interpreter, and the rules on small trees."""

from __future__ import annotations

import inspect
import json.decoder
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stdlib_docs import iter_documents

if TYPE_CHECKING:
    from colbert_qdrant import Document

WORDS = " ".join(f"w{number}" for number in range(20))
DOCSTRING = f'"""{WORDS}"""'


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def ids(root: Path) -> list[object]:
    return [document.id for document in iter_documents(root)]


@pytest.fixture(scope="module")
def standard_library() -> list[Document]:
    return list(iter_documents())


def test_standard_library_has_enough_documents(standard_library: list[Document]) -> None:
    assert len(standard_library) >= 2500
    assert len({document.id for document in standard_library}) == len(standard_library)


def test_standard_library_has_raw_decode(standard_library: list[Document]) -> None:
    name = "json.decoder.JSONDecoder.raw_decode"
    (document,) = [document for document in standard_library if document.id == name]
    function = json.decoder.JSONDecoder.raw_decode
    assert document.payload == {
        "module": "json.decoder",
        "kind": "function",
        "file": "json/decoder.py",
        "line": inspect.getsourcelines(function)[1],
    }
    assert document.text == f"{name}(self, s, idx=0)\n\n{inspect.getdoc(function)}"


def test_first_definition_wins(tmp_path: Path) -> None:
    second = WORDS.replace("w0", "second")
    write(
        tmp_path,
        {
            "a.py": (
                f'def twice():\n    {DOCSTRING}\ndef twice():\n    """{second}"""\n'
                f'def bare():\n    pass\ndef bare():\n    """{second}"""\n'
            )
        },
    )
    (document,) = iter_documents(tmp_path)
    assert document.id == "a.twice"
    assert document.text == f"a.twice()\n\n{WORDS}"
    assert document.payload["line"] == 1


def test_first_definition_wins_across_files(tmp_path: Path) -> None:
    write(tmp_path, {"a/__init__.py": f"class b:\n    {DOCSTRING}\n", "a/b.py": f"{DOCSTRING}\n"})
    (document,) = iter_documents(tmp_path)
    assert (document.id, document.payload["file"]) == ("a.b", "a/__init__.py")


def test_twenty_words_are_enough(tmp_path: Path) -> None:
    nineteen = WORDS.rpartition(" ")[0]
    write(
        tmp_path,
        {
            "a.py": f'def short():\n    """{nineteen}"""\ndef enough():\n    """{WORDS}"""\n',
            "short.py": f'"""{nineteen}"""\n',
            "wrapped.py": '"""' + WORDS.replace(" ", "\n\n  ") + '"""\n',
        },
    )
    assert ids(tmp_path) == ["a.enough", "wrapped"]


@pytest.mark.parametrize("folder", ["test", "tests", "idle_test", "site-packages", "dist-packages", "a/tests/b"])
def test_skips_folders(tmp_path: Path, folder: str) -> None:
    write(tmp_path, {f"{folder}/a.py": DOCSTRING, "kept/a.py": DOCSTRING, "test.py": DOCSTRING})
    assert ids(tmp_path) == ["kept.a", "test"]


def test_root_may_be_inside_such_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "tests", {"a.py": DOCSTRING})
    assert ids(tmp_path / "tests") == ["a"]


def test_packages_are_named_by_their_folder(tmp_path: Path) -> None:
    source = f"{DOCSTRING}\nclass A:\n    {DOCSTRING}\n"
    write(tmp_path, {"p/__init__.py": source, "p/q/__init__.py": DOCSTRING, "p/q/m.py": DOCSTRING})
    documents = list(iter_documents(tmp_path))
    assert [document.id for document in documents] == ["p", "p.A", "p.q", "p.q.m"]
    assert [document.payload["module"] for document in documents] == ["p", "p", "p.q", "p.q.m"]
    assert documents[0].payload == {"module": "p", "kind": "module", "file": "p/__init__.py", "line": 1}
    assert documents[0].text == f"p\n\n{WORDS}"


def test_nested_and_async_definitions(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.py": f"""class Outer:
    class Inner:
        {DOCSTRING}
        async def method(self, x: int = 1, *rest, key=None, **more):
            {DOCSTRING}
            def local():
                {DOCSTRING}
"""
        },
    )
    documents = list(iter_documents(tmp_path))
    assert [(document.id, document.payload["kind"], document.payload["line"]) for document in documents] == [
        ("a.Outer.Inner", "class", 2),
        ("a.Outer.Inner.method", "function", 4),
        ("a.Outer.Inner.method.local", "function", 6),
    ]
    title = "a.Outer.Inner.method(self, x: int=1, *rest, key=None, **more)"
    assert documents[1].text == f"{title}\n\n{WORDS}"


def test_conditional_definitions(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.py": f"""if True:
    def under_if():
        {DOCSTRING}
else:
    def under_else():
        {DOCSTRING}
try:
    class UnderTry:
        {DOCSTRING}
except ImportError:
    def under_except():
        {DOCSTRING}
"""
        },
    )
    assert ids(tmp_path) == ["a.under_if", "a.under_else", "a.UnderTry", "a.under_except"]


def test_skips_what_cannot_be_parsed(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": f"{DOCSTRING}\ndef broken(:\n", "b.py": f"{DOCSTRING}\nx = '\0'\n", "z.py": DOCSTRING})
    (tmp_path / "c.py").write_bytes(f"{DOCSTRING}\nx = '".encode() + b"\xff\xfe'\n")
    (tmp_path / "d.py").write_bytes(f"# coding: nonsense\n{DOCSTRING}\n".encode())
    assert ids(tmp_path) == ["z"]


def test_old_sources_do_not_warn(tmp_path: Path) -> None:
    write(tmp_path, {"a.py": f"{DOCSTRING}\nx = '\\d' is 1\n"})
    assert ids(tmp_path) == ["a"]


def test_order_is_that_of_files_and_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"def z():\n    {DOCSTRING}\ndef a():\n    {DOCSTRING}\n"
    write(tmp_path, {"m.py": source, "b/c.py": source, "a.py": source})
    expected = ["a.z", "a.a", "b.c.z", "b.c.a", "m.z", "m.a"]
    listing = sorted(tmp_path.rglob("*.py"))
    for order in (listing, listing[::-1]):  # whatever order the file system lists them in
        monkeypatch.setattr(Path, "rglob", lambda path, pattern, order=order: iter(order))
        assert ids(tmp_path) == expected
