"""The one place that knows every localizer: `create_localizer(name, body)` makes the one that was asked for.

Nothing above this room knows which weights run.
"""

from __future__ import annotations

from backend.body.model import Body, CanonicalPoints
from backend.errors import JobError
from backend.localizers.contract import LANDMARK_LOCALIZERS, OWN, SHIPPED, Localizer, LocalizerOptions

_DEFAULTS = LocalizerOptions()


def localizer_names() -> list[str]:
    """All names that `create_localizer` takes here: the shipped localizers, then the user's installed weights."""
    from backend.localizers.nlf.weights import installed

    return [*SHIPPED, *(found.name for found in installed())]


def create_localizer(name: str, body: Body, options: LocalizerOptions = _DEFAULTS) -> Localizer:
    """`name` from `localizer_names()`.

    Raises JobError: "bad_options" for an unknown name or options that this localizer does not have,
    "bad_weights" for damaged files.
    """
    if name in SHIPPED:
        if options.num_aug > 1 or options.lens:
            asked = "several views of a person" if options.num_aug > 1 else "lens distortion"
            text = (
                f"The localizer '{name}' does not know {asked}: leave it out, or install NLF weights with "
                "'weights add'."
            )
            raise JobError("bad_options", text)
        return _shipped(name, body, options)
    from backend.localizers.nlf.localizer import NeuralLocalizer
    from backend.localizers.nlf.weights import installed, open_weights, survey

    if name not in (found.name for found in installed()):
        # Weights that are there but broken have a sentence of their own.
        known = [f"There is no localizer called '{name}': choose one of {', '.join(localizer_names())}."]
        reasons = [text for text in survey()[1] if name in text]
        raise JobError("bad_options", (reasons + known)[0])
    return NeuralLocalizer(open_weights(name), body, options)


def native_of(name: str, body: Body) -> CanonicalPoints:
    """The `native` points of a localizer, without its weights."""
    if name in LANDMARK_LOCALIZERS:
        from backend.body.landmarks import body_landmarks

        return body_landmarks(body)[0]
    from backend.body.native import native_points

    if name == OWN:
        from backend.localizers.field.localizer import SURFACE
    else:
        from backend.localizers.nlf.localizer import SURFACE
    return native_points(body, SURFACE)


def _shipped(name: str, body: Body, options: LocalizerOptions) -> Localizer:
    if name == OWN:
        from backend.localizers.field.localizer import FieldLocalizer

        return FieldLocalizer(body, options)
    from backend.localizers.landmarks.localizer import LandmarksLocalizer

    return LandmarksLocalizer(name.removeprefix("landmarks-"), body, options)
