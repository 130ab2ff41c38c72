"""A driver that writes datasets on a local Ray, and prints a line of JSON for each: the report, or the error.

python -m tests.ray.program URL FOLDER
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import ray
import ray.data

from colbert_qdrant import CollectionConfig, Document, connect
from colbert_qdrant.ray import ColbertBatchEncoder, ColbertDatasink
from tests.encoders import WordEncoder
from tests.ray.rows import LEMUR, MUVERA, rows

if TYPE_CHECKING:
    from colbert_qdrant.engines import Client

URL, FOLDER = (sys.argv[1], Path(sys.argv[2])) if __name__ == "__main__" else ("", Path())
PAGE: Final = Path(__file__).parents[2] / "docs" / "how-to" / "ray.md"
LOADED: Final = FOLDER / "loaded"
"""Has a file for each dataset and process, with a line for each time that the encoder was made."""


class Logged(logging.Handler):
    """Keeps the messages of the library."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def make_client() -> Client:
    return connect(URL, api_key_env="RAY_TEST_KEY", prefer_grpc=False)


def make_encoder(salt: str = "", *, label: str = "any") -> WordEncoder:
    LOADED.mkdir(exist_ok=True)
    with (LOADED / f"{label} {os.getpid()}").open("a") as file:
        file.write("loaded\n")
    return WordEncoder(salt=salt)


def text_and_kill(row: Any) -> str:
    """The text of a row; the first process that comes so far is killed, after it wrote some rows of its block."""
    if row["id"] == "290":
        try:
            (FOLDER / "killed").touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return str(row["text"])


def text_and_mark(row: Any) -> str:
    (FOLDER / "task has run").touch()
    return str(row["text"])


def dataset(count: int, *, blocks: int = 4, start: int = 0, **columns: Any) -> ray.data.Dataset:
    return ray.data.from_items([{**row, **columns} for row in rows(count, start=start)], override_num_blocks=blocks)


def write(of: str, data: ray.data.Dataset, name: str, **options: Any) -> None:
    """Write a dataset, and print the outcome."""
    made: dict[str, Any] = {
        "make_client": make_client,
        "make_encoder": make_encoder,
        "config": CollectionConfig(fde=MUVERA),
    }
    sink = ColbertDatasink(name, **made | options)
    LOGGED.lines.clear()
    outcome: dict[str, Any] = {"of": of, "repr": repr(sink)}
    try:
        data.write_datasink(sink, concurrency=2)
    except Exception as error:  # noqa: BLE001 - tests look at it
        outcome |= {"kinds": [kind.__name__ for kind in type(error).__mro__], "message": str(error)}
    if sink.report is not None:
        outcome["report"] = asdict(sink.report)
    print(json.dumps(outcome | {"logged": LOGGED.lines}), file=OUT, flush=True)


def main() -> None:
    write("plain", dataset(60, blocks=12), "plain", make_encoder=partial(make_encoder, label="counted"))
    write("pandas", ray.data.from_pandas(frames()), "pandas")
    write("again", dataset(60, start=30), "plain")
    write("killed", dataset(600, blocks=2), "killed", text=text_and_kill)
    bad = ray.data.from_items([{"id": "a", "text": "river"}, {"id": "b", "text": ""}, {"id": "c", "text": "bridge"}])
    write("bad", bad, "bad")
    write("skipped", bad, "skipped", on_error="skip")
    write("twice", ray.data.from_items(rows(20) + rows(20), override_num_blocks=2), "twice")
    write("empty", dataset(4).limit(0), "empty")
    write("exists", dataset(4), "plain", mode="create", text=text_and_mark)
    other = partial(make_encoder, "other")
    write("other", dataset(4), "plain", mode="open", config=None, make_encoder=other, text=text_and_mark)
    unnamed = ray.data.from_items([{"id": "a", "text": "river"}, {"id": None, "text": "bridge"}], override_num_blocks=1)
    write("unnamed", unnamed, "unnamed", on_error="skip")
    load = partial(make_encoder, label="actors")
    actors = dataset(40).map_batches(
        ColbertBatchEncoder,
        fn_constructor_args=(load,),
        compute=ray.data.ActorPoolStrategy(size=1),
        batch_format="pyarrow",
        batch_size=16,
    )
    write("actors", actors, "actors", make_encoder=load, tokens="tokens")
    lemur = CollectionConfig(fde=LEMUR)
    sample = [Document(row["id"], row["text"], {"n": row["n"]}) for row in rows(50)]
    write("sampled", dataset(80), "sampled", config=lemur, fit_sample=sample)
    write("fitted", dataset(80), "fitted", config=lemur)
    run_page()


def run_page() -> None:
    """Run the first snippet of the guide, with the rows and the encoder of the tests."""
    snippet = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert snippet is not None
    text = snippet[1].replace('ColbertEncoder.from_pretrained("NeuML/colbert-muvera-micro")', "WordEncoder()")
    articles = [{**row, "year": 2000 + row["n"]} for row in rows(30)]
    (FOLDER / "articles.jsonl").write_text("\n".join(map(json.dumps, articles)))
    text = text.replace("articles.jsonl", str(FOLDER / "articles.jsonl")).replace("http://localhost:6333", URL)
    exec(compile(text, PAGE, "exec"), {"__name__": "__main__", "WordEncoder": WordEncoder})


def frames() -> list[Any]:
    import pandas as pd

    return [pd.DataFrame(rows(10)), pd.DataFrame(rows(10, start=10))]


if __name__ == "__main__":
    OUT, sys.stdout = sys.stdout, sys.stderr  # Ray prints, too
    LOGGED: Final = Logged()
    logging.getLogger("colbert_qdrant").addHandler(LOGGED)
    logging.getLogger("colbert_qdrant").setLevel(logging.INFO)
    ray.data.DataContext.get_current().enable_progress_bars = False
    try:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=80 * 2**20,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=str(FOLDER / "ray"),
        )
    except Exception as error:  # noqa: BLE001 - a machine that Ray does not run on
        sys.exit(f"could not start Ray: {error}")
    try:
        main()
    finally:
        ray.shutdown()
