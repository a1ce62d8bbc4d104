"""Flowers and other plants."""

from math import cos, pi, sin

from cirp.miniature.drawings.fruit import ball, leaf
from cirp.miniature.kinds import Attribute, drawing
from cirp.miniature.kinds import colour as colours
from cirp.miniature.svg import PALETTE, Layer, Variation, darken, lighten

CROWNS = {"green": "#58a548", "autumn": "#e07b2c", "blossoming": "#f4a9c6"}


def stalk(x: float, top: float, lean: float) -> str:
    return "".join(
        f'<path d="M{x} 99 Q{x + lean} {(99 + top) / 2} {x} {top}" fill="none" stroke="{c}" stroke-width="{w}" stroke-linecap="round"/>'
        for c, w in (("#2f6b2f", 7.5), ("#5fae4a", 4))
    )


def pot(v: Variation, base: str) -> str:
    return ball(v, "M26 74 L32 99 H68 L74 74Z", base) + ball(v, "M22 68 H78 V77 H22Z", lighten(base, 0.12))


@drawing("sunflower", "flower", size=1.05)
def sunflower(v: Variation) -> list[Layer]:
    lean, phase, gold = v.uniform(-8, 8), v.uniform(0, 0.4), v.jitter("#f7c325")
    petals = "".join(
        f'<ellipse cx="50" cy="10" rx="7.4" ry="13" fill="{c}" stroke="{darken(gold, 0.4)}" stroke-width="1.8" transform="rotate({360 * (i + phase + o) / 12:.0f} 50 34)"/>'
        for c, o in ((darken(gold, 0.15), 0.5), (gold, 0)) for i in range(12)
    )
    seeds = "".join(f'<circle cx="{50 + 9 * cos(a):.1f}" cy="{34 + 9 * sin(a):.1f}" r="1.8" fill="#3a2012"/>' for a in [2 * pi * k / 8 for k in range(8)])
    face = f'<circle cx="50" cy="34" r="15.5" fill="{v.radial("#9a5f2c", "#5a3218")}" stroke="#3a2012" stroke-width="2"/>{seeds}'
    return [Layer("stem", stalk(50, 44, lean) + leaf(v, 50, 82, -25, 34) + leaf(v, 50, 88, -155, 34)), Layer("flower", petals + face)]


@drawing("tulip", "flower", colours("red", "yellow", "purple", "white"), size=0.95, holdable=True)
def tulip(v: Variation, colour: str) -> list[Layer]:
    lean, wide, shade = v.uniform(-8, 8), v.uniform(22, 27), v.uniform(0, 0.08)
    base = darken(PALETTE[colour], shade)
    back = ball(v, f"M50 54 Q{40 - wide} 40 {52 - wide} 8 Q50 20 {48 + wide} 8 Q{60 + wide} 40 50 54Z", darken(base, 0.16))
    front = ball(v, f"M50 56 Q{34 - wide * 0.5} 46 50 6 Q{66 + wide * 0.5} 46 50 56Z", base)
    sides = "".join(ball(v, f"M50 56 Q{50 + s * (wide + 12)} 50 {50 + s * (wide + 2)} 12 Q{50 + s * 10} 28 50 56Z", base) for s in (-1, 1))
    return [Layer("stem", stalk(50, 52, lean) + leaf(v, 50, 96, -60, 40) + leaf(v, 50, 96, -122, 36)), Layer("flower", back + sides + front)]


@drawing("rose", "flower", colours("red", "pink", "white"), size=0.95, holdable=True)
def rose(v: Variation, colour: str) -> list[Layer]:
    lean, turn, shade = v.uniform(-8, 8), v.uniform(-20, 20), v.uniform(0, 0.08)
    base = darken(PALETTE[colour], shade)
    outer = "".join(f'<g transform="rotate({a + turn} 50 32)">{ball(v, "M50 32 Q26 22 34 4 Q50 -4 66 4 Q74 22 50 32Z", darken(base, 0.1))}</g>' for a in range(0, 360, 72))
    inner = ball(v, "M50 14 a18 18 0 1 1 -0.1 0Z", base)
    swirl = f'<path d="M50 32 q6 -8 10 0 q0 12 -12 11 q-15 -3 -12 -16 q6 -14 22 -9" fill="none" stroke="{darken(base, 0.42)}" stroke-width="2.6" stroke-linecap="round"/>'
    return [Layer("stem", stalk(50, 50, lean) + leaf(v, 50, 76, -20, 30) + leaf(v, 50, 84, -160, 30)), Layer("flower", outer + inner + swirl)]


@drawing("cactus", "flower", size=0.95)
def cactus(v: Variation) -> list[Layer]:
    green, clay, lift = v.jitter("#4f9d5d"), v.jitter("#c8693c"), v.uniform(-6, 6)
    arms = "".join(ball(v, f"M{50 + s * 14} {56 + s * lift} H{50 + s * 26} V{36 + s * lift} a6 6 0 0 1 {s * 12} 0 V{58 + s * lift} a10 10 0 0 1 {-s * 10} 10 H{50 + s * 14}Z", green) for s in (-1, 1))
    trunk = ball(v, "M34 74 V28 a16 18 0 0 1 32 0 V74Z", green)
    spines = "".join(f'<path d="M{x} {y} l-3 -4 m3 4 l3 -4" stroke="#eaf6d8" stroke-width="1.8" stroke-linecap="round"/>' for x, y in ((44, 30), (56, 38), (44, 48), (56, 58), (50, 22)))
    bloom = "".join(f'<ellipse cx="50" cy="4" rx="4" ry="7" fill="#f26aa0" stroke="#a8336a" stroke-width="1.4" transform="rotate({a} 50 10)"/>' for a in (-60, -20, 20, 60))
    return [Layer("body", arms + trunk + spines + bloom + pot(v, clay))]


@drawing("mushroom", "flower", size=0.85)
def mushroom(v: Variation) -> list[Layer]:
    red, wide, dots = v.jitter("#d9332f"), v.uniform(40, 46), [(v.uniform(-4, 4), v.uniform(-3, 3)) for _ in range(5)]
    foot = ball(v, "M38 52 Q42 80 32 96 Q50 101 68 96 Q58 80 62 52Z", "#f5ead4")
    cap = ball(v, f"M{50 - wide} 58 C{46 - wide} 4 {54 + wide} 4 {50 + wide} 58 Q50 70 {50 - wide} 58Z", red)
    spots = "".join(f'<ellipse cx="{x + a}" cy="{y + b}" rx="{r}" ry="{r * 0.85}" fill="#fff8ec"/>' for (x, y, r), (a, b) in zip(((50, 28, 8), (26, 44, 7), (74, 44, 7), (40, 52, 5), (62, 54, 5)), dots, strict=True))
    return [Layer("body", foot + cap + spots)]


@drawing("tree", "flower", Attribute("season", tuple(CROWNS), "{state} {noun}", part="crown"), size=1.15)
def tree(v: Variation, season: str) -> list[Layer]:
    puffs = [(x + v.uniform(-3, 3), y + v.uniform(-3, 3), r + v.uniform(-2, 2)) for x, y, r in ((26, 46, 21), (74, 46, 21), (36, 26, 20), (64, 26, 20), (50, 42, 24))]
    fruit = [(v.uniform(20, 80), v.uniform(18, 56)) for _ in range(9)]
    base = CROWNS[season]
    trunk = ball(v, "M43 56 Q44 84 34 99 H66 Q56 84 57 56Z", "#8a5a36")
    crown = "".join(ball(v, f"M{x - r:.1f} {y:.1f} a{r:.1f} {r:.1f} 0 1 1 {2 * r:.1f} 0 a{r:.1f} {r:.1f} 0 1 1 {-2 * r:.1f} 0Z", base) for x, y, r in puffs)
    specks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{lighten(base, 0.55)}"/>' for x, y in fruit)
    return [Layer("trunk", trunk), Layer("crown", crown + specks)]
