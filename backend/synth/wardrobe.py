"""What a random person wears, from the skin out: which layers, how long, how loose, in which colours."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from backend.synth import dyes
from backend.synth import outfit as o


@dataclass(frozen=True)
class Cut:
    """How one layer stands off the body, metres."""

    layer: int
    """Its start in the outfit."""
    thick: float
    """Everywhere."""
    hang: float = 0.0
    """0..1, how far it falls free of the trunk."""
    tube: float = 0.0
    """Radius at the end of a sleeve or leg that is cut straight."""
    folds: float = 0.0
    """Height of its folds."""


@dataclass
class Dress:
    """A person's clothes."""

    row: np.ndarray
    """The outfit vector; see `outfit`."""
    cuts: list[Cut] = field(default_factory=list)
    """From the skin out."""
    skirt: tuple[float, float, float, int] | None = None
    """None, or (waist y, hem y, flare 0..1, layer whose cloth it is)."""
    hair: str = ""
    """Kind of hair that has a volume of its own, "" for none."""
    hair_length: float = 0.0
    """How far it hangs down, metres."""
    hair_volume: float = 0.0
    """How far it stands off the scalp, metres."""
    hat: str = ""
    """Kind of hat, "" for none."""
    pack: str = ""
    """Kind of bag, "" for none."""


_STYLES = ("casual", "sport", "suit", "winter", "skirt", "bare", "overall", "tight", "layers")
_CHANCE = (0.36, 0.18, 0.06, 0.09, 0.1, 0.04, 0.04, 0.06, 0.07)


def dress(rng: np.random.Generator, split: str) -> Dress:
    """A random person's skin, hair and clothes."""
    d = Dress(o.blank())
    _head(rng, d)
    style = str(rng.choice(_STYLES, p=_CHANCE))
    {"casual": _casual, "sport": _sport, "suit": _suit, "winter": _winter, "skirt": _skirted, "bare": _bare,
     "overall": _overall, "tight": _tight, "layers": _layers}[style](rng, d, split)  # fmt: skip
    _finish(rng, d)
    if style in ("casual", "sport", "winter", "layers") and rng.random() < 0.1:
        d.pack = "backpack"
        d.row[o.STRAPS] = 1
        d.row[o.STRAP_COLOUR : o.STRAP_COLOUR + 3] = dyes.cloth(
            rng, split, "dark" if rng.random() < 0.6 else "any"
        )
    return d


def _finish(rng, d: Dress) -> None:
    """What follows from the cuts: creases, and trousers that hang over shoes and boots."""
    row = d.row
    for cut in d.cuts:
        row[cut.layer + o.ROUGH] = 0.05 + rng.uniform(8, 26) * cut.folds
    hem = row[o.BOTTOM + o.LOWER]
    loose = any(c.layer == o.BOTTOM and c.tube > 0 for c in d.cuts)
    if loose and row[o.SHOES + o.ON] and hem < row[o.SHOES + o.UPPER]:
        row[o.SHOES + o.UPPER] = hem


def _head(rng, d: Dress) -> None:
    row = d.row
    row[o.SKIN : o.SKIN + 3] = dyes.skin(rng)
    row[o.HAIR : o.HAIR + 3] = dyes.hair(rng)
    row[o.SHINE] = rng.uniform(0.05, 0.35)
    row[o.SEED] = rng.uniform(0, 50)
    row[o.BROWS] = rng.uniform(0.3, 0.9)
    row[o.LIPS], row[o.BLUSH] = rng.uniform(0.1, 0.9), rng.uniform(0, 0.35)
    row[o.IRIS : o.IRIS + 3] = dyes.linear(
        [[60, 40, 25], [90, 65, 35], [70, 100, 130], [80, 100, 70]][rng.integers(4)]
    )
    kind = rng.choice(["short", "cropped", "bald", "receding", "long", "bob", "tail", "bun", "afro"],
                      p=[0.3, 0.12, 0.06, 0.07, 0.16, 0.08, 0.09, 0.05, 0.07])  # fmt: skip
    row[o.HAIRLINE] = rng.uniform(0.368, 0.385)
    row[o.HAIR_LOW] = rng.uniform(0.2, 0.24)
    d.hair = str(kind)
    d.hair_volume = {"cropped": 0.003, "afro": rng.uniform(0.035, 0.085)}.get(
        d.hair, rng.uniform(0.008, 0.03)
    )
    if kind == "bald":
        row[o.HAIRLINE], d.hair_volume = 9, 0.0
    elif kind == "receding":
        row[o.HAIRLINE], d.hair_volume = rng.uniform(0.395, 0.43), rng.uniform(0.003, 0.01)
    if kind in ("long", "bob"):
        d.hair_length = rng.uniform(0.18, 0.5) if kind == "long" else rng.uniform(0.1, 0.17)
    elif kind == "tail":
        d.hair_length = rng.uniform(0.1, 0.35)
    if kind in ("short", "cropped", "bald", "receding", "afro", "bun") and rng.random() < 0.45:
        row[o.BEARD] = rng.uniform(0.6, 1) if rng.random() < 0.45 else 0
        row[o.STUBBLE] = rng.uniform(0.05, 0.4)
    if rng.random() < 0.2:
        row[o.GLASSES] = 2 if rng.random() < 0.45 else 1
        row[o.LENS : o.LENS + 3] = dyes.linear(
            rng.uniform(5, 60, 3) if rng.random() < 0.8 else rng.uniform(0, 255, 3)
        )
    if rng.random() < 0.14:
        d.hat = str(rng.choice(["cap", "helmet", "brim", "beanie"], p=[0.45, 0.2, 0.15, 0.2]))


def _pattern(rng, split: str, plain: float = 0.55, kind: str = "any") -> dict:
    """Pattern, its numbers and colours for a shirt-like cloth."""
    colours = [dyes.cloth(rng, split, kind), dyes.cloth(rng, split), dyes.cloth(rng, split)]
    if rng.random() < 0.3:
        colours[1] = dyes.cloth(rng, split, "light" if colours[0].mean() < 0.3 else "dark")
    wear = rng.uniform(0.03, 0.15)
    if rng.random() < plain:
        pattern = int(rng.choice([o.PLAIN, o.HEATHER, o.KNIT], p=[0.7, 0.2, 0.1]))
        return {"pattern": pattern, "colours": colours, "wear": wear, "phase": rng.random()}
    pattern = int(rng.choice([o.ACROSS, o.ALONG, o.CHECKS, o.BLOTCHES, o.DOTS, o.PRINT, o.RAGLAN, o.FADE, o.SIDE_STRIPE,
                              o.FLOWERS], p=[0.16, 0.08, 0.12, 0.08, 0.04, 0.22, 0.1, 0.06, 0.08, 0.06]))  # fmt: skip
    scale = {o.ACROSS: (0.012, 0.09), o.ALONG: (0.012, 0.06), o.CHECKS: (0.02, 0.1), o.BLOTCHES: (0.05, 0.25),
             o.DOTS: (0.02, 0.06), o.PRINT: (0.7, 1.3), o.FLOWERS: (0.03, 0.12)}.get(pattern, (1, 1))  # fmt: skip
    return {"pattern": pattern, "colours": colours, "wear": wear, "phase": rng.random(), "scale": rng.uniform(*scale),
            "trim": rng.uniform(0.25, 0.6)}  # fmt: skip


def _shirt(rng, d: Dress, split: str, layer: int = o.TOP, loose: float | None = None, **given) -> None:
    """A T-shirt, vest, blouse, sweater or hoodie in `layer`."""
    loose = float(rng.beta(1.6, 2)) if loose is None else loose
    length = rng.random()
    sleeve = (
        rng.uniform(0.2, 0.25)
        if length < 0.12
        else rng.uniform(0.29, 0.42)
        if length < 0.62
        else rng.uniform(0.6, 0.69)
    )
    if 0.62 <= length < 0.7:
        sleeve = rng.uniform(0.44, 0.58)
    cloth = (
        {"lower": rng.uniform(-0.47, -0.3), "sleeve": sleeve, "neck": _neck(rng)}
        | _pattern(rng, split)
        | given
    )
    if length < 0.08:
        cloth["sleeve"] = 0.165
    o.put(d.row, layer, upper=0.19 if cloth["neck"] else 0.165, **cloth)
    short = cloth["sleeve"] < 0.45
    tube = (0.055 + 0.05 * loose if short else 0.035 + 0.035 * loose) * (loose > 0.2)
    d.cuts.append(Cut(layer, rng.uniform(0.002, 0.006) + 0.008 * loose, loose, tube, 0.002 + 0.011 * loose))


def _neck(rng) -> float:
    """0 collar, > 0 round and deep, < 0 V-neck."""
    dice = rng.random()
    return 0.0 if dice < 0.15 else rng.uniform(0.005, 0.05) if dice < 0.75 else -rng.uniform(0.05, 0.16)


def _trousers(rng, d: Dress, split: str, kind: str | None = None) -> None:
    kind = kind or str(rng.choice(["jeans", "chinos", "joggers", "wide", "shorts", "leggings"],
                                  p=[0.36, 0.2, 0.13, 0.07, 0.15, 0.09]))  # fmt: skip
    cloth = {
        "upper": rng.uniform(-0.32, -0.2),
        "lower": -9.0,
        "wear": rng.uniform(0.04, 0.2),
        "phase": rng.random(),
    }
    cloth["lower"] = rng.uniform(-1.215, -1.13)
    base = dyes.cloth(rng, split, "denim" if kind == "jeans" and rng.random() < 0.75 else
                      "dark" if rng.random() < 0.5 else "any")  # fmt: skip
    light = np.minimum(base * 2.2 + 0.05, 0.9)
    cloth["colours"] = [base, light if kind == "jeans" else dyes.cloth(rng, split), dyes.cloth(rng, split)]
    fit = rng.random()
    thick, tube, folds = 0.004 + 0.004 * fit, 0.055 + 0.045 * fit, 0.004 + 0.008 * fit
    if kind == "jeans":
        cloth |= {"pattern": o.DENIM, "trim": rng.random() ** 2}
    elif kind == "joggers":
        cloth |= {"pattern": int(rng.choice([o.PLAIN, o.SIDE_STRIPE, o.HEATHER])), "trim": rng.random()}
    elif kind == "wide":
        tube, folds = rng.uniform(0.1, 0.15), 0.012
    elif kind == "shorts":
        cloth |= _pattern(rng, split, 0.75)
        cloth["lower"] = rng.uniform(-0.8, -0.52)
        tube = rng.uniform(0.085, 0.125)
    elif kind == "leggings":
        cloth |= {"gloss": rng.uniform(0, 0.25), "upper": rng.uniform(-0.28, -0.16)}
        cloth["lower"] = rng.uniform(-1.24, -1.0) if rng.random() < 0.7 else rng.uniform(-0.8, -0.55)
        thick, tube, folds = 0.002, 0.0, 0.001
    if kind in ("jeans", "chinos") and rng.random() < 0.5:
        cloth["opened"] = -1.0  # a belt
    o.put(d.row, o.BOTTOM, sleeve=0.3, **cloth)
    d.cuts.insert(0, Cut(o.BOTTOM, thick, 0.15 * fit, tube, folds))


def _shoes(rng, d: Dress, split: str, kind: str | None = None) -> None:
    kind = kind or str(
        rng.choice(["sneakers", "boots", "leather", "barefoot", "sandals"], p=[0.68, 0.12, 0.1, 0.07, 0.03])
    )
    if kind == "barefoot":
        return
    if rng.random() < 0.8 and kind != "sandals":
        top = rng.uniform(-1.21, -1.1) if rng.random() < 0.8 else rng.uniform(-1.1, -0.85)
        o.put(
            d.row,
            o.SOCKS,
            upper=top,
            colours=[dyes.cloth(rng, split, str(rng.choice(["light", "dark", "any"])))],
        )
        d.cuts.insert(0, Cut(o.SOCKS, 0.002))
    first = dyes.cloth(rng, split, str(rng.choice(["light", "dark", "any"])))
    sole = dyes.cloth(rng, split, "light" if rng.random() < 0.6 and kind == "sneakers" else "dark")
    laces = dyes.cloth(rng, split, "light") if kind == "sneakers" else first
    gloss = rng.uniform(0, 0.2) if kind == "sneakers" else rng.uniform(0.1, 0.6)
    top = {"boots": rng.uniform(-1.15, -0.92), "leather": -1.2}.get(kind, rng.uniform(-1.225, -1.18))
    o.put(d.row, o.SHOES, upper=top, colours=[first, sole, laces], gloss=gloss, wear=rng.uniform(0.02, 0.1))
    d.cuts.append(Cut(o.SHOES, rng.uniform(0.005, 0.012)))


def _casual(rng, d, split) -> None:
    _shirt(rng, d, split)
    _trousers(rng, d, split)
    _shoes(rng, d, split)


def _sport(rng, d, split) -> None:
    tight = rng.random() < 0.35
    _shirt(rng, d, split, loose=0.05 if tight else None, gloss=rng.uniform(0, 0.2))
    _trousers(rng, d, split, str(rng.choice(["shorts", "leggings", "joggers"], p=[0.5, 0.3, 0.2])))
    _shoes(rng, d, split, "barefoot" if rng.random() < 0.2 else "sneakers")


def _suit(rng, d, split) -> None:
    colour = dyes.cloth(rng, split, "dark" if rng.random() < 0.75 else "any")
    _shirt(rng, d, split, loose=0.2, pattern=o.PLAIN, sleeve=0.67, neck=0.0,
           colours=[dyes.cloth(rng, split, "light" if rng.random() < 0.7 else "any")])  # fmt: skip
    _trousers(rng, d, split, "chinos")
    d.row[o.BOTTOM + o.COLOUR : o.BOTTOM + o.COLOUR + 3] = colour
    o.put(d.row, o.OUTER, upper=0.185, lower=rng.uniform(-0.52, -0.44), sleeve=0.655, neck=0.01,
          opened=rng.uniform(0.03, 0.16), colours=[colour], wear=0.05, gloss=0.03)  # fmt: skip
    d.cuts.append(Cut(o.OUTER, rng.uniform(0.01, 0.018), 0.6, 0.06, 0.006))
    _shoes(rng, d, split, "leather")


def _winter(rng, d, split) -> None:
    _shirt(rng, d, split, loose=0.4)
    _trousers(rng, d, split, str(rng.choice(["jeans", "chinos", "joggers"])))
    puff = rng.random() < 0.45
    long = rng.random() < 0.35
    lower = -0.47 if long else rng.uniform(-0.46, -0.34)
    cloth = _pattern(rng, split, 0.85)
    o.put(d.row, o.OUTER, upper=0.19, lower=lower, sleeve=rng.uniform(0.63, 0.68), neck=0.002,
          opened=rng.uniform(0.02, 0.12) if rng.random() < 0.4 else 0.0, **cloth)  # fmt: skip
    thick = rng.uniform(0.02, 0.04) if puff else rng.uniform(0.01, 0.02)
    d.cuts.append(Cut(o.OUTER, thick, 0.8, rng.uniform(0.065, 0.085), 0.012))
    if long:
        d.skirt = (-0.25, rng.uniform(-0.95, -0.6), rng.uniform(0.1, 0.35), o.OUTER)
    if rng.random() < 0.4:
        o.put(
            d.row,
            o.GLOVES,
            sleeve=rng.uniform(0.64, 0.67),
            colours=[dyes.cloth(rng, split, "dark" if rng.random() < 0.6 else "any")],
        )
        d.cuts.append(Cut(o.GLOVES, 0.004))
    if rng.random() < 0.4:
        d.hat = "beanie"
    _shoes(rng, d, split, str(rng.choice(["boots", "sneakers"])))


def _skirted(rng, d, split) -> None:
    dress_ = rng.random() < 0.6
    hem = rng.uniform(-1.15, -0.58)
    cloth = _pattern(rng, split, 0.4)
    if dress_:
        _shirt(rng, d, split, loose=rng.uniform(0.02, 0.3), **(cloth | {"lower": -0.5}))
    else:
        _shirt(rng, d, split, loose=rng.uniform(0.05, 0.5))
    layer = o.TOP if dress_ else o.BOTTOM
    if not dress_:
        o.put(d.row, o.BOTTOM, upper=rng.uniform(-0.25, -0.18), lower=-0.5, sleeve=0.3, **cloth)
        d.cuts.insert(0, Cut(o.BOTTOM, 0.006))
    elif rng.random() < 0.5:
        o.put(d.row, o.BOTTOM, upper=-0.25, lower=-1.22, sleeve=0.3, colours=[dyes.cloth(rng, split, "dark")])
        d.cuts.insert(0, Cut(o.BOTTOM, 0.002))
    d.skirt = (rng.uniform(-0.26, -0.2), hem, rng.uniform(0.05, 0.9), layer)
    _shoes(rng, d, split)


def _bare(rng, d, split) -> None:
    _trousers(rng, d, split, "shorts" if rng.random() < 0.75 else None)
    if rng.random() < 0.4:  # swimming things
        d.row[o.BOTTOM + o.LOWER] = -0.5
    if rng.random() < 0.4:
        o.put(d.row, o.TOP, upper=0.05, lower=-0.12, sleeve=0.3, **_pattern(rng, split, 0.7))
        d.cuts.append(Cut(o.TOP, 0.003))
    _shoes(rng, d, split, "barefoot" if rng.random() < 0.7 else None)


def _overall(rng, d, split) -> None:
    cloth = _pattern(rng, split, 0.8)
    _shirt(rng, d, split, **(cloth | {"lower": -0.5, "sleeve": 0.66}))
    _trousers(rng, d, split, "chinos")
    o.put(d.row, o.BOTTOM, upper=-0.2, lower=-1.22, sleeve=0.3, **cloth)
    _shoes(rng, d, split, "boots" if rng.random() < 0.5 else None)


def _tight(rng, d, split) -> None:
    cloth = {"colours": [dyes.cloth(rng, split, "dark" if rng.random() < 0.65 else "any"), dyes.cloth(rng, split)],
             "gloss": rng.uniform(0.05, 0.5), "trim": 0.3,
             "pattern": int(rng.choice([o.PLAIN, o.RAGLAN, o.SIDE_STRIPE]))}  # fmt: skip
    sleeve, leg = rng.choice([0.17, 0.3, 0.67]), rng.choice([-0.5, -0.65, -1.22])
    o.put(d.row, o.TOP, upper=0.17, lower=-0.5, sleeve=sleeve, neck=_neck(rng), **cloth)
    o.put(d.row, o.BOTTOM, upper=-0.2, lower=leg, sleeve=0.3, **cloth)
    d.cuts += [Cut(o.BOTTOM, 0.002), Cut(o.TOP, 0.002, folds=0.001)]
    _shoes(rng, d, split, "barefoot" if rng.random() < 0.4 else "sneakers")


def _layers(rng, d, split) -> None:
    _casual(rng, d, split)
    o.put(d.row, o.OUTER, upper=0.19, lower=rng.uniform(-0.48, -0.3), sleeve=rng.choice([0.19, 0.45, 0.66]), neck=0.004,
          opened=rng.uniform(0.04, 0.2), **_pattern(rng, split, 0.7))  # fmt: skip
    d.cuts.append(
        Cut(o.OUTER, rng.uniform(0.01, 0.02), rng.uniform(0.3, 0.9), rng.uniform(0.05, 0.08), 0.009)
    )
