"""Things of the house."""

from cirp.miniature.drawings.fruit import ball, shine
from cirp.miniature.kinds import Attribute, drawing
from cirp.miniature.kinds import colour as colours
from cirp.miniature.svg import PALETTE, Layer, Variation, darken, lighten

RIBBONS = {"red": "#d8383f", "gold": "#eec04a", "blue": "#3f78d0"}


@drawing("mug", "household", colours("white", "red", "blue"), size=0.8)
def mug(v: Variation, colour: str) -> list[Layer]:
    wide, shade, puff = v.uniform(28, 32), v.uniform(0, 0.08), v.uniform(-4, 4)
    base = darken(PALETTE[colour], shade)
    x = 42
    handle = "".join(f'<path d="M{x + wide - 2} 48 Q{x + wide + 28} 46 {x + wide + 20} 70 Q{x + wide + 14} 84 {x + wide - 4} 82" fill="none" stroke="{c}" stroke-width="{w}" stroke-linecap="round"/>' for c, w in ((darken(base, 0.45), 11), (base, 6.5)))
    body = ball(v, f"M{x - wide} 38 V88 Q{x - wide} 98 {x - wide + 12} 98 H{x + wide - 12} Q{x + wide} 98 {x + wide} 88 V38Z", base)
    drink = f'<ellipse cx="{x}" cy="38" rx="{wide}" ry="9" fill="{lighten(base, 0.3)}" stroke="{darken(base, 0.45)}" stroke-width="2.2"/><ellipse cx="{x}" cy="39" rx="{wide - 5}" ry="6" fill="#5a3420"/>'
    steam = "".join(f'<path d="M{x + d} 28 q{6 + puff} -8 0 -14 q{-6 + puff} -6 0 -12" fill="none" stroke="#fff" stroke-opacity="0.8" stroke-width="3.4" stroke-linecap="round"/>' for d in (-10, 8))
    return [Layer("body", handle + body + drink + shine(x - wide + 10, 64, 4, 14, 0)), Layer("steam", steam)]


@drawing("teapot", "household", colours("green", "blue", "pink"), size=0.95)
def teapot(v: Variation, colour: str) -> list[Layer]:
    wide, shade = v.uniform(30, 34), v.uniform(0, 0.08)
    base = lighten(darken(PALETTE[colour], shade), 0.1)
    handle = "".join(f'<path d="M{52 + wide - 6} 48 Q{52 + wide + 22} 46 {52 + wide + 14} 68 Q{52 + wide + 6} 82 {52 + wide - 8} 82" fill="none" stroke="{c}" stroke-width="{w}" stroke-linecap="round"/>' for c, w in ((darken(base, 0.45), 10), (base, 5.6)))
    spout = ball(v, f"M{58 - wide} 60 Q8 60 3 38 L15 36 Q18 50 30 50 L30 82 Q{52 - wide} 80 {50 - wide} 76Z", base)
    body = ball(v, f"M52 34 C{66 + wide} 34 {62 + wide} 98 52 98 C{42 - wide} 98 {38 - wide} 34 52 34Z", base)
    lid = ball(v, "M34 38 Q36 22 52 22 Q68 22 70 38 Q52 44 34 38Z", darken(base, 0.08)) + f'<circle cx="52" cy="18" r="6" fill="{lighten(base, 0.3)}" stroke="{darken(base, 0.45)}" stroke-width="2.2"/>'
    flower = "".join(f'<circle cx="52" cy="60" r="6" fill="#fff6e6" transform="rotate({a} 52 67)"/>' for a in range(0, 360, 72)) + '<circle cx="52" cy="67" r="4.6" fill="#f3c93c"/>'
    return [Layer("body", handle + spout + body + lid + flower + shine(34, 54, 4, 10, 20))]


@drawing("umbrella", "household", colours("red", "yellow", "purple"), size=1.1)
def umbrella(v: Variation, colour: str) -> list[Layer]:
    tilt, wide, shade = v.uniform(-10, 10), v.uniform(44, 48), v.uniform(0, 0.08)
    base = darken(PALETTE[colour], shade)
    pole = '<path d="M50 44 V88 Q50 98 60 98 Q68 98 68 89" fill="none" stroke="#7a4f2c" stroke-width="4.6" stroke-linecap="round"/>'
    d = f"M{50 - wide} 52 C{50 - wide} -10 {50 + wide} -10 {50 + wide} 52 Q{50 + wide * 0.66} 42 {50 + wide / 3} 52 Q50 42 {50 - wide / 3} 52 Q{50 - wide * 0.66} 42 {50 - wide} 52Z"
    clip = v.clip(f'<path d="{d}"/>')
    gore = f'<g clip-path="{clip}"><path d="M50 4 Q{50 - wide / 3} 20 {50 - wide / 3} 54 H{50 + wide / 3} Q{50 + wide / 3} 20 50 4Z" fill="{lighten(base, 0.35)}" opacity="0.8"/></g>'
    return [Layer("body", f'<g transform="rotate({tilt} 50 98)">{pole}{ball(v, d, base)}{gore}<path d="M50 6 V-1" stroke="#7a4f2c" stroke-width="4" stroke-linecap="round"/></g>')]


@drawing("lamp", "household", size=1.0)
def lamp(v: Variation) -> list[Layer]:
    shade, brass, flare = v.jitter("#f2d48a", 0.04), v.jitter("#b98a3a"), v.uniform(-4, 4)
    glow = f'<ellipse cx="50" cy="44" rx="46" ry="30" fill="{v.radial("#fff4b8", "#fff4b8")}" opacity="0.35"/>'
    foot = ball(v, "M28 99 Q30 88 46 88 V46 H54 V88 Q70 88 72 99Z", brass)
    top = ball(v, f"M36 6 H64 L{86 + flare} 54 Q50 62 {14 - flare} 54Z", shade) + f'<path d="M42 8 L{34 - flare} 54 M58 8 L{66 + flare} 54" stroke="{darken(shade, 0.22)}" stroke-width="2"/>'
    return [Layer("body", glow + foot + top)]


@drawing("clock", "household", size=0.9)
def clock(v: Variation) -> list[Layer]:
    blue, minute, hour = v.jitter("#3f6fae"), v.uniform(0, 360), v.uniform(0, 360)
    bells = "".join(f'<g transform="rotate({s * 28} 50 56)">{ball(v, "M36 14 Q38 2 50 2 Q62 2 64 14Z", "#e8b84a")}</g>' for s in (-1, 1))
    feet = "".join(f'<path d="M{50 + s * 24} 88 L{50 + s * 32} 98" stroke="#8a6a2a" stroke-width="6" stroke-linecap="round"/>' for s in (-1, 1))
    body = ball(v, "M50 14 a40 40 0 1 1 -0.1 0Z", blue) + '<circle cx="50" cy="54" r="30" fill="#fdf8ea" stroke="#22344f" stroke-width="2"/>'
    ticks = "".join(f'<path d="M50 27 V32" stroke="#3a3640" stroke-width="2.6" transform="rotate({a} 50 54)"/>' for a in range(0, 360, 30))
    hands = f'<path d="M50 54 V32" stroke="#2b2830" stroke-width="3" stroke-linecap="round" transform="rotate({minute:.0f} 50 54)"/><path d="M50 54 V40" stroke="#d8383f" stroke-width="4" stroke-linecap="round" transform="rotate({hour:.0f} 50 54)"/><circle cx="50" cy="54" r="3" fill="#2b2830"/>'
    return [Layer("body", feet + bells + body + ticks + hands)]


@drawing("hat", "household", colours("black", "purple"), size=0.85)
def hat(v: Variation, colour: str) -> list[Layer]:
    tilt, tall, band = v.uniform(-8, 8), v.uniform(16, 26), v.choice(("#d8383f", "#f3c93c", "#5fb7e8"))
    base = lighten(PALETTE[colour], 0.08)
    crown = ball(v, f"M26 86 L22 {tall} Q50 {tall - 9} 78 {tall} L74 86Z", base)
    ribbon = f'<path d="M25 70 Q50 78 75 70 L74 84 Q50 92 26 84Z" fill="{band}" stroke="{darken(band, 0.4)}" stroke-width="1.8"/>'
    brim = ball(v, "M2 84 Q26 78 26 82 Q50 92 74 82 Q74 78 98 84 Q92 99 50 99 Q8 99 2 84Z", base)
    return [Layer("body", f'<g transform="rotate({tilt} 50 98)">{crown}{ribbon}{brim}{shine(36, 44, 4, 14, 4)}</g>')]


@drawing("gift box", "household", Attribute("ribbon", tuple(RIBBONS), "{noun} with a {state} ribbon", part="ribbon"), size=0.9)
def gift(v: Variation, ribbon: str) -> list[Layer]:
    paper, loop = v.jitter("#a9d4b8", 0.06), v.uniform(-3, 3)
    cloth = RIBBONS[ribbon]
    edge = darken(cloth, 0.4)
    bow = "".join(f'<path d="M50 34 Q{50 + s * (30 + loop)} 2 {50 + s * 36} 24 Q{50 + s * 34} 38 50 34Z" fill="{cloth}" stroke="{edge}" stroke-width="2.2"/><ellipse cx="{50 + s * 25}" cy="23" rx="6" ry="4" fill="{darken(cloth, 0.3)}" transform="rotate({s * -30} {50 + s * 25} 23)"/>' for s in (-1, 1))
    return [
        Layer("box", ball(v, "M12 50 H88 V98 H12Z", paper) + ball(v, "M6 36 H94 V54 H6Z", lighten(paper, 0.2))),
        Layer("ribbon", f'<rect x="42" y="36" width="16" height="62" fill="{v.linear(lighten(cloth, 0.2), cloth)}" stroke="{edge}" stroke-width="2"/>{bow}<circle cx="50" cy="34" r="6" fill="{cloth}" stroke="{edge}" stroke-width="2"/>'),
    ]
