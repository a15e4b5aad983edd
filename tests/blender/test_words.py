"""The add-on's texts in other languages: every text is in every table, and none is put together where nobody looks."""

import json
import string

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import blender_addon  # noqa: E402
from blender_addon.languages import words  # noqa: E402

from . import uitexts  # noqa: E402

TABLES = sorted(words.LOCALES)


@pytest.fixture(scope="module", autouse=True)
def addon():
    blender_addon.register()
    yield
    blender_addon.unregister()


@pytest.fixture(scope="module")
def texts() -> set[str]:
    return uitexts.all_texts()


def table_of(name: str) -> dict[str, str]:
    return json.loads((words.FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def places(text: str) -> list[str]:
    return sorted(field for _, field, _, _ in string.Formatter().parse(text) if field is not None)


def test_there_are_texts_of_every_kind(texts):
    wanted = ("Track Points", "Follow the people in a video and key them on armatures", "Depth", "Fitting bodies",
              "There is no body under the pointer.", "On a Root")  # fmt: skip
    assert set(wanted) <= texts


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_complete_and_holds_nothing_else(name, texts):
    table = table_of(name)
    assert sorted(texts - table.keys()) == []
    assert sorted(table.keys() - texts) == []


@pytest.mark.parametrize("name", TABLES)
def test_translations_keep_the_places_for_values(name):
    for english, word in table_of(name).items():
        assert word.strip(), english
        assert places(word) == places(english), english


def test_no_text_is_put_together_before_it_is_looked_up():
    assert [where for where, text in uitexts.of_sources() if text == "f-string"] == []


def test_blender_gets_every_table_in_both_contexts():
    tables = words.tables()
    assert {locale for locales in words.LOCALES.values() for locale in locales} == tables.keys()
    assert tables["de_DE"]["Operator", "Track Points"] == table_of("de")["Track Points"]
    assert tables["zh_CN"]["*", "Depth"] == table_of("zh_hans")["Depth"]


def test_a_damaged_table_leaves_the_others(tmp_path, monkeypatch):
    for file in words.FOLDER.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "fr.json").write_text('{"Depth": ', encoding="utf-8")
    monkeypatch.setattr(words, "FOLDER", tmp_path)
    assert "fr" not in words.tables()
    assert "de" in words.tables()


def test_values_are_put_into_a_text():
    assert words.iface("{count} of {total} people", count=2, total=5) == "2 of 5 people"
    assert words.said("{name} is written.", name="{odd}.fbx") == "{odd}.fbx is written."


@pytest.mark.skipif(not bpy.app.translations.locales, reason="Blender's Python module knows no languages")
@pytest.mark.parametrize("name", TABLES)
def test_blender_shows_the_words(name):
    view = bpy.context.preferences.view
    before = view.language
    try:
        view.language = next(loc for loc in words.LOCALES[name] if loc in bpy.app.translations.locales)
        view.use_translate_interface = view.use_translate_tooltips = True
        assert words.iface("Fitting bodies") == table_of(name)["Fitting bodies"]
        look_up = bpy.app.translations.pgettext_iface
        assert look_up("Track Points", "Operator") == table_of(name)["Track Points"]
    finally:
        view.language = before
