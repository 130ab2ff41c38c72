from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from colbert_qdrant import (
    CollectionConfig,
    ConfigurationError,
    FingerprintMismatchError,
    MuveraConfig,
    MuveraEncoder,
    SchemaMismatchError,
)
from colbert_qdrant.points.fingerprint import Fingerprint, canary_tokens

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=3, dim_proj=4, r_reps=3))


def fingerprint(*, change: float = 0.0, **encoder: Any) -> Fingerprint:
    assert isinstance(CONFIG.fde, MuveraConfig)
    fde = MuveraEncoder(CONFIG.fde, token_dim=16)
    canary = fde.encode_documents(canary_tokens(16))
    canary += change * np.random.default_rng(0).standard_normal(canary.shape, np.float32)
    return Fingerprint.of(
        encoder={"name": "m", "dim": 16, **encoder},
        fde=fde.fingerprint(),
        config=CONFIG,
        canary=canary,
    )


def test_survives_json_with_its_config() -> None:
    loaded = Fingerprint.from_dict(json.loads(json.dumps(fingerprint().to_dict())))
    assert loaded == fingerprint()
    assert loaded.config == CONFIG
    assert loaded.token_dim == 16


def test_a_collection_from_before_the_later_settings_is_no_different() -> None:
    stored = fingerprint().to_dict()
    stored["fde"] = {
        "config": {"type": "muvera", "k_sim": 3, "dim_proj": 4, "r_reps": 3, "seed": 42, "fill_empty": False},
        "version": 1,
        "token_dim": 16,
    }
    assert Fingerprint.from_dict(stored).differences(fingerprint()) == {}


def test_another_name_alone_is_no_difference() -> None:
    assert fingerprint().differences(fingerprint(name="copy of m")) == {}
    differences = fingerprint().differences(fingerprint(name="n", dim=8))
    assert differences == {"encoder.name": ("m", "n"), "encoder.dim": (16, 8)}


def test_what_is_called_name_in_the_settings_is_compared() -> None:
    stored, given = (
        replace(fingerprint(), layout=CollectionConfig(payload_indexes={"name": kind, "year": "integer"}).to_dict())
        for kind in ("keyword", "text")
    )
    assert stored.differences(given) == {"layout.payload_indexes.name": ("keyword", "text")}


def test_rounding_is_no_difference_but_other_numbers_are() -> None:
    assert fingerprint().differences(fingerprint(change=1e-6)) == {}
    assert list(fingerprint().differences(fingerprint(change=0.05))) == ["canary"]


def test_fields_that_one_side_lacks_are_listed() -> None:
    assert fingerprint().differences(fingerprint(pooling=2)) == {"encoder.pooling": (None, 2)}
    with pytest.raises(FingerprintMismatchError, match=r"encoder\.pooling: built with None, opened with 2"):
        fingerprint().require_equal(fingerprint(pooling=2), collection="docs")


def test_another_id_scheme_is_listed() -> None:
    assert fingerprint().differences(replace(fingerprint(), id_scheme="native")) == {"id_scheme": ("uuid5", "native")}


def test_the_id_scheme_is_the_config_s_and_stored_once() -> None:
    native = CollectionConfig(fde=CONFIG.fde, id_scheme="native", text_key=None, token_distance="cosine")
    made = Fingerprint.of(encoder={"dim": 16}, fde=fingerprint().fde, config=native, canary=None)
    stored = json.loads(json.dumps(made.to_dict()))
    assert stored["id_scheme"] == "native"
    assert "id_scheme" not in stored["layout"]
    assert (stored["layout"]["text_key"], stored["layout"]["token_distance"]) == (None, "cosine")
    assert Fingerprint.from_dict(stored).config == native


def test_what_is_stored_by_default_has_not_changed() -> None:
    stored = fingerprint().to_dict()
    assert list(stored) == ["format", "encoder", "fde", "layout", "id_scheme", "canary"]
    assert stored["id_scheme"] == "uuid5"
    assert json.dumps(stored["layout"]) == (
        '{"hnsw": {"m": 16, "ef_construct": 128, "full_scan_threshold": null}, "fde_datatype": "float16", '
        '"fde_quantization": null, "token_datatype": "float16", "segments": null, "fde_vector": "fde", '
        '"token_vector": "colbert", "text_key": "text", "id_key": "_id"}'
    )


@pytest.mark.parametrize("scheme", ["uuid7", None, 3, [], {}])
def test_an_id_scheme_of_a_newer_version(scheme: Any) -> None:
    data = {**fingerprint().to_dict(), "id_scheme": scheme}
    with pytest.raises(ConfigurationError, match=r"id_scheme=.*: use one of 'uuid5', 'native'"):
        _ = Fingerprint.from_dict(data).config


def test_an_encoder_that_is_not_known_may_be_any_of_its_dimensions() -> None:
    unknown = replace(fingerprint(), encoder={})
    assert Fingerprint.from_dict(json.loads(json.dumps(unknown.to_dict()))) == unknown
    assert unknown.differences(fingerprint(name="another", dim=16)) == {}
    given = replace(fingerprint(dim=8), fde={**fingerprint().fde, "token_dim": 8})
    with pytest.raises(FingerprintMismatchError) as caught:
        unknown.require_equal(given, collection="docs")
    assert caught.value.differences == {"fde.token_dim": (16, 8)}
    assert str(caught.value).endswith("Open it with an encoder whose token vectors have 16 dimensions.")
    # but one that is known is not to be opened with one that does not say what it is
    assert fingerprint().differences(unknown) == {"encoder.dim": (16, None), "encoder.name": ("m", None)}


def test_unreadable_fingerprints_are_refused() -> None:
    with pytest.raises(SchemaMismatchError, match="format 99, but this version reads 1: upgrade"):
        Fingerprint.from_dict({**fingerprint().to_dict(), "format": 99})
    data = fingerprint().to_dict()
    del data["canary"]
    with pytest.raises(SchemaMismatchError, match=r"lacks \['canary'\]; the metadata was changed outside"):
        Fingerprint.from_dict(data)


WRONG: dict[str, list[Any]] = {
    **{name: [None, [], "x", 3] for name in ("encoder", "layout")},
    "fde": [None, [], "x", 3, {}, {"config": {}}, {"config": {}, "token_dim": "16"}],
    "canary": [None, [], 3, "111", [None], ["x"], [1e999], [10**400], [0.5] * 1_000_000],
}


@pytest.mark.parametrize(
    "change", [{name: value} for name, values in WRONG.items() for value in values], ids=lambda each: repr(each)[:30]
)
def test_what_a_server_may_hand_out_instead_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(SchemaMismatchError, match="the metadata was changed outside this library") as caught:
        Fingerprint.from_dict({**fingerprint().to_dict(), **change})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("config", [None, 3, [], "muvera", {"type": []}, {"type": "muvera", "k_sim": [5]}])
@pytest.mark.parametrize("hnsw", [None, 3, {"m": "x"}])
def test_settings_that_are_none_are_refused(config: Any, hnsw: Any) -> None:
    data = fingerprint().to_dict()
    data["fde"] = {**data["fde"], "config": config}
    data["layout"] = {**data["layout"], "hnsw": hnsw}
    with pytest.raises((SchemaMismatchError, ConfigurationError)):
        _ = Fingerprint.from_dict(data).config


def test_no_metadata_make_an_error_as_long_as_themselves() -> None:
    stored = replace(fingerprint(), encoder={"name": "m", "dim": 16, "extra": "x" * 1_000_000})
    with pytest.raises(FingerprintMismatchError, match=r"encoder\.extra: built with 'xxx") as caught:
        stored.require_equal(fingerprint(), collection="docs")
    assert len(str(caught.value)) < 2_000
    with pytest.raises(SchemaMismatchError, match="has format 'xxx") as refused:
        Fingerprint.from_dict({"format": "x" * 1_000_000})
    assert len(str(refused.value)) < 2_000


def test_canary_tokens_are_unit_vectors_of_two_texts() -> None:
    tokens = canary_tokens(48)
    assert tokens.lengths.tolist() == [3, 5]
    np.testing.assert_allclose(np.linalg.norm(tokens.values, axis=1), 1, rtol=1e-6)
