"""What can be chosen in Blender: the shipped localizers and the weights in the user's folder."""

from blender_addon.link.localizers import choices, installed_weights, localizer


def add(home, name: str, whole: bool = True) -> None:
    folder = home / "weights" / name
    folder.mkdir(parents=True)
    if whole:
        (folder / "info.json").write_text("{}", encoding="utf-8")


def test_weights_of_the_user_stand_after_the_landmarks(tmp_path, monkeypatch):
    monkeypatch.setenv("BODYFIELD_HOME", str(tmp_path))
    assert [c[0] for c in choices()] == ["field", "heavy", "full", "lite"]
    add(tmp_path, "nlf-l-0.3.2")
    before = {c[0]: c[3] for c in choices()}
    add(tmp_path, "nlf-a")
    add(tmp_path, ".adding-nlf-b")
    add(tmp_path, "half-written", whole=False)
    assert installed_weights() == ["nlf-a", "nlf-l-0.3.2"]
    now = {c[0]: c[3] for c in choices()}
    # The number that a .blend keeps still means the same weights.
    assert {k: now[k] for k in before} == before
    assert len(set(now.values())) == 6


def test_what_the_backend_calls_them():
    assert localizer("field") == "field"
    assert localizer("heavy") == "landmarks-heavy"
    assert localizer("nlf-l-0.3.2") == "nlf-l-0.3.2"
