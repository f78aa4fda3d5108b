"""The small readers for values of unknown make."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from otel_tools.adapters.wire import reading

pydantic = pytest.importorskip("pydantic")


class Model(pydantic.BaseModel):
    """A model that takes fields that it does not know."""

    model_config = pydantic.ConfigDict(extra="allow")
    name: str | None = None

    @property
    def shout(self):
        """Is no field."""
        raise AssertionError


@pytest.mark.parametrize(
    "value",
    [
        {"name": "a", "new": 1},
        SimpleNamespace(name="a", new=1),
        Model(name="a", new=1),
        Model.model_construct(name="a", new=1),
    ],
)
def test_fields(value):
    """A field is found in a dictionary, an object and a model, also one that the model does not know."""
    assert [reading.get(value, name) for name in ("name", "new", "none")] == ["a", 1, None]
    assert dict(reading.present(value)) == {"name": "a", "new": 1}


def test_properties_of_models_are_no_fields():
    """Reading a model runs no code of it."""
    assert reading.get(Model(), "shout") is None
    assert dict(reading.present(Model())) == {}


@pytest.mark.parametrize("value", [None, "text", 1])
def test_no_fields(value):
    """What is no object has no fields."""
    assert reading.get(value, "name") is None
    assert list(reading.present(value)) == []


def test_iterators_are_left_alone():
    """Only lists and tuples are gone through."""
    iterator = iter([1])
    assert [*reading.items([1]), *reading.items((2,)), *reading.items(iterator), *reading.items("ab")] == [1, 2]
    assert next(iterator) == 1


@pytest.mark.parametrize(
    ("value", "as_count", "as_number"),
    [(1, 1, 1.0), (2.0, 2, 2.0), (True, None, None), ("1", None, None), (None, None, None)],
)
def test_numbers(value, as_count, as_number):
    """Numbers are numbers; booleans and texts are not."""
    assert (reading.count(value), reading.number(value)) == (as_count, as_number)


def test_plain():
    """Models at any depth become dictionaries without what is `None`."""
    assert reading.plain({"a": [Model(name="b")], "c": None, "d": (1,)}) == {"a": [{"name": "b"}], "d": [1]}


@pytest.mark.parametrize(("value", "found"), [('{"a": 1}', {"a": 1}), ("{", "{"), ({"a": 1}, {"a": 1})])
def test_json(value, found):
    """JSON text becomes what it stands for; anything else stays."""
    assert reading.from_json(value) == found


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("https://example.org/a", {"type": "uri", "modality": "image", "uri": "https://example.org/a"}),
        (
            "data:image/png;base64,aQ==",
            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "aQ=="},
        ),
        ("data:,a", {"type": "blob", "modality": "image", "content": "a"}),
    ],
)
def test_media(url, part):
    """A `data:` URL is a blob, any other a reference."""
    assert reading.media("image", url) == part


@pytest.mark.parametrize("value", [None, True, "1", float("nan"), float("inf")])
def test_no_numbers(value):
    """What is no number, or no finite one, is left out."""
    assert (reading.count(value), reading.number(value)) == (None, None)
