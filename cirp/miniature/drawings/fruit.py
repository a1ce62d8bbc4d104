"""Fruit: all small enough to be held."""

from cirp.miniature.kinds import colour as colours
from cirp.miniature.kinds import drawing
from cirp.miniature.svg import PALETTE, Layer, Variation, darken, lighten


def shine(x: float, y: float, rx: float, ry: float, tilt: float = -30) -> str:
    """Return a soft highlight."""
    return (
        f'<ellipse cx="{x}" cy="{y}" rx="{rx}" ry="{ry}" fill="#fff" opacity="0.55" '
        f'transform="rotate({tilt} {x} {y})"/>'
    )


def leaf(v: Variation, x: float, y: float, turn: float, long: float = 24) -> str:
    """Return a pointed leaf that starts at x, y."""
    paint = v.linear("#8fcf5a", "#3f8f3c")
    return (
        f'<path d="M0 0 Q {long * 0.45} {-long * 0.42} {long} 0 Q {long * 0.45} {long * 0.42} 0 0 Z" '
        f'fill="{paint}" stroke="#2f6b2f" stroke-width="2" transform="translate({x} {y}) rotate({turn})"/>'
    )


def stem(x: float, y: float, lean: float) -> str:
    return (
        f'<path d="M{x} {y} q {lean / 2} -8 {lean} -15" fill="none" stroke="#6b4a2b" '
        'stroke-width="4.5" stroke-linecap="round"/>'
    )


def ball(v: Variation, d: str, base: str) -> str:
    """Return a rounded body: path, shaded from the upper left."""
    paint = v.radial(lighten(base, 0.45), base, darken(base, 0.28))
    return f'<path d="{d}" fill="{paint}" stroke="{darken(base, 0.45)}" stroke-width="2.4"/>'


@drawing("peach", "fruit", size=0.8, holdable=True)
def peach(v: Variation) -> list[Layer]:
    wide, lean = v.uniform(40, 45), v.uniform(-6, 6)
    skin, blush = v.jitter("#f8b16a"), v.jitter("#ee6f5b")
    d = f"M50 24 C{50 + wide} 8 {56 + wide} 98 50 98 C{44 - wide} 98 {50 - wide} 8 50 24Z"
    clip = v.clip(f'<path d="{d}"/>')
    cheek = v.radial(blush, blush + "", skin, cx=0.5, cy=0.5, r=0.5)
    body = (
        ball(v, d, skin)
        + f'<g clip-path="{clip}"><ellipse cx="74" cy="66" rx="30" ry="36" fill="{cheek}" opacity="0.55"/></g>'
        f'<path d="M50 25 Q {40 + lean} 58 52 92" fill="none" stroke="{darken(blush, 0.3)}" '
        'stroke-width="2.6" stroke-linecap="round"/>'
    )
    return [Layer("body", body + shine(31, 42, 6, 13, 20)), Layer("leaf", stem(50, 26, lean) + leaf(v, 51, 18, -14 + lean, 30))]


@drawing("strawberry", "fruit", size=0.8, holdable=True)
def strawberry(v: Variation) -> list[Layer]:
    wide, tip = v.uniform(38, 44), v.uniform(-5, 5)
    red = v.jitter("#e2313c")
    d = f"M50 20 C{56 + wide} 8 {52 + wide} 62 {50 + tip} 98 C{48 - wide} 62 {44 - wide} 8 50 20Z"
    seeds = "".join(
        f'<ellipse cx="{50 + x}" cy="{y}" rx="2" ry="3.2" fill="#ffe08a"/>'
        for x, y in ((-24, 40), (-8, 36), (9, 36), (25, 40), (-17, 54), (0, 52), (17, 54), (-9, 69), (9, 69), (0, 83))
    )
    crown = "".join(leaf(v, 50, 22, a, 26) for a in (20, 65, 115, 160, -60, -120))
    return [Layer("body", ball(v, d, red) + seeds + shine(28, 36, 4, 9, 25)), Layer("leaf", crown + stem(50, 22, tip))]


@drawing("banana", "fruit", size=0.9, holdable=True)
def banana(v: Variation) -> list[Layer]:
    tilt, bend = v.uniform(-8, 8), v.uniform(-5, 5)
    yellow = v.jitter("#f5cf3a")
    d = f"M14 40 Q{26 + bend} 92 84 {80 + bend} L92 70 Q52 72 32 34 L22 22 Z"
    return [
        Layer(
            "body",
            f'<g transform="rotate({tilt} 50 60) translate(0 8)">{ball(v, d, yellow)}'
            f'<path d="M24 36 Q40 76 86 76" fill="none" stroke="{darken(yellow, 0.25)}" stroke-width="2.6"/>'
            '<path d="M18 32 L15 20 L24 17 L29 28Z" fill="#7a5a2a"/><path d="M84 80 L93 77 L92 69 L86 71Z" fill="#5a4022"/></g>',
        )
    ]


@drawing("pear", "fruit", size=0.9, holdable=True)
def pear(v: Variation) -> list[Layer]:
    wide, lean = v.uniform(34, 40), v.uniform(-6, 6)
    green = v.jitter("#b7cf4a")
    d = f"M{50 + lean} 16 C66 16 64 40 {50 + wide * 0.75} 52 C{62 + wide} 72 {54 + wide} 98 50 98 C{46 - wide} 98 {38 - wide} 72 {50 - wide * 0.75} 52 C36 40 34 16 {50 + lean} 16Z"
    return [Layer("body", ball(v, d, green) + shine(32, 66, 6, 13, 20)), Layer("leaf", stem(50 + lean, 18, lean) + leaf(v, 52 + lean, 10, 10, 26))]


@drawing("lemon", "fruit", size=0.75, holdable=True)
def lemon(v: Variation) -> list[Layer]:
    tilt, tall = v.uniform(-16, 10), v.uniform(28, 32)
    yellow = v.jitter("#f7e03c")
    d = f"M4 64 Q14 60 20 {64 - tall * 0.5} C32 {56 - tall} 68 {56 - tall} 80 {64 - tall * 0.5} Q86 60 96 64 Q86 68 80 {64 + tall * 0.5} C68 {72 + tall} 32 {72 + tall} 20 {64 + tall * 0.5} Q14 68 4 64Z"
    return [Layer("body", f'<g transform="rotate({tilt} 50 64)">{ball(v, d, yellow)}{shine(36, 50, 11, 5)}{leaf(v, 92, 60, -70, 24)}</g>')]


@drawing("pineapple", "fruit", size=1.05)
def pineapple(v: Variation) -> list[Layer]:
    wide, lean = v.uniform(25, 29), v.uniform(-4, 4)
    gold = v.jitter("#e9a23b")
    d = f"M50 36 C{58 + wide} 36 {58 + wide} 98 50 98 C{42 - wide} 98 {42 - wide} 36 50 36Z"
    clip = v.clip(f'<path d="{d}"/>')
    net = "".join(f'<path d="M{x} 30 l60 76 M{x + 60} 30 l-60 76" stroke="{darken(gold, 0.4)}" stroke-width="2.4"/>' for x in range(-40, 90, 15))
    tuft = "".join(leaf(v, 50, 40, a + lean, s) for a, s in ((-150, 30), (-30, 30), (-125, 36), (-55, 36), (-90, 40)))
    return [Layer("leaf", tuft), Layer("body", ball(v, d, gold) + f'<g clip-path="{clip}">{net}</g>' + shine(38, 52, 4, 10, 20))]


@drawing("watermelon slice", "fruit", size=0.9)
def watermelon(v: Variation) -> list[Layer]:
    tilt, seeds = v.uniform(-10, 10), [(v.uniform(-3, 3), v.uniform(-3, 3)) for _ in range(7)]
    flesh = v.jitter("#ef4d5a")
    spots = ((30, 55), (45, 52), (60, 54), (72, 56), (38, 68), (53, 68), (66, 68))
    pips = "".join(f'<ellipse cx="{x + a}" cy="{y + b}" rx="2.3" ry="3.4" fill="#2c1a1e"/>' for (x, y), (a, b) in zip(spots, seeds, strict=True))
    return [
        Layer(
            "body",
            f'<g transform="rotate({tilt} 50 70)"><path d="M4 46 A46 46 0 0 0 96 46Z" fill="{v.linear("#3f9a45", "#256b33")}" stroke="#1d4f28" stroke-width="2.4"/>'
            f'<path d="M10 46 A40 40 0 0 0 90 46Z" fill="#e6f3c4"/><path d="M14 46 A36 36 0 0 0 86 46Z" fill="{v.linear(lighten(flesh, 0.2), flesh)}"/>{pips}</g>',
        )
    ]


@drawing("bunch of grapes", "fruit", size=0.85, holdable=True)
def grapes(v: Variation) -> list[Layer]:
    purple, shift = v.jitter("#7b4aa8"), [(v.uniform(-2, 2), v.uniform(-2, 2)) for _ in range(10)]
    spots = ((26, 40), (42, 38), (58, 38), (74, 40), (34, 54), (50, 54), (66, 54), (42, 70), (58, 70), (50, 85))
    berry = v.radial(lighten(purple, 0.5), purple, darken(purple, 0.35))
    body = "".join(
        f'<circle cx="{x + a}" cy="{y + b}" r="12" fill="{berry}" stroke="{darken(purple, 0.5)}" stroke-width="2"/>'
        f'<circle cx="{x + a - 4}" cy="{y + b - 4}" r="2.4" fill="#fff" opacity="0.6"/>'
        for (x, y), (a, b) in zip(spots, shift, strict=True)
    )
    return [Layer("leaf", stem(50, 30, 4) + leaf(v, 50, 24, 14, 34) + leaf(v, 50, 24, 160, 26)), Layer("body", body)]


@drawing("apple", "fruit", colours("red", "green", "yellow"), size=0.8, holdable=True)
def apple(v: Variation, colour: str) -> list[Layer]:
    wide, lean, hue = v.uniform(40, 45), v.uniform(-6, 6), v.uniform(-0.06, 0.06)
    base = lighten(PALETTE[colour], max(hue, 0)) if hue > 0 else darken(PALETTE[colour], -hue)
    d = f"M50 30 C{62 + wide} 10 {54 + wide} 98 62 98 Q56 98 50 94 Q44 98 38 98 C{46 - wide} 98 {38 - wide} 10 50 30Z"
    return [Layer("body", ball(v, d, base) + shine(28, 48, 6, 12, 20)), Layer("leaf", stem(50, 32, lean) + leaf(v, 52, 22, -8, 26))]
