"""Toys."""

from cirp.miniature.drawings.animals import cheeks, eyes, muzzle, smile
from cirp.miniature.drawings.fruit import ball, shine
from cirp.miniature.kinds import colour as colours
from cirp.miniature.kinds import drawing
from cirp.miniature.svg import PALETTE, Layer, Variation, darken, lighten


@drawing("ball", "toy", colours("red", "blue", "green"), size=0.75, holdable=True)
def toy_ball(v: Variation, colour: str) -> list[Layer]:
    turn, shade = v.uniform(0, 180), v.uniform(0, 0.1)
    base = darken(PALETTE[colour], shade)
    d = "M50 10 a44 44 0 1 1 -0.1 0Z"
    clip = v.clip(f'<path d="{d}"/>')
    star = "".join(f'<path d="M50 54 L{34} 4 H66Z" fill="#fff6e0" transform="rotate({a + turn} 50 54)"/>' for a in (0, 120, 240))
    return [Layer("body", ball(v, d, base) + f'<g clip-path="{clip}" opacity="0.92">{star}</g><circle cx="50" cy="54" r="9" fill="{base}"/><path d="{d}" fill="none" stroke="{darken(base, 0.45)}" stroke-width="2.4"/>' + shine(32, 30, 8, 12, 40))]


@drawing("teddy bear", "toy", size=1.0)
def teddy(v: Variation) -> list[Layer]:
    tan, bow, tilt = v.jitter("#dcae74"), v.choice(("#d8383f", "#3f78d0", "#4fa653")), v.uniform(-5, 5)
    ears = "".join(f'<circle cx="{50 + s * 25}" cy="16" r="12" fill="{tan}" stroke="{darken(tan, 0.45)}" stroke-width="2.4"/><circle cx="{50 + s * 25}" cy="17" r="6" fill="#f3d9b0"/>' for s in (-1, 1))
    limbs = "".join(ball(v, f"M{50 + s * 24} 54 Q{50 + s * 52} 62 {50 + s * 42} 78 Q{50 + s * 28} 78 {50 + s * 20} 66Z", tan) + f'<circle cx="{50 + s * 27}" cy="88" r="12" fill="{tan}" stroke="{darken(tan, 0.45)}" stroke-width="2.4"/><circle cx="{50 + s * 28}" cy="89" r="6.5" fill="#f3d9b0"/>' for s in (-1, 1))
    body = ball(v, "M50 50 C80 52 80 96 50 96 C20 96 20 52 50 50Z", tan) + '<ellipse cx="50" cy="77" rx="14" ry="14" fill="#f3d9b0"/><path d="M44 72 h12 m-12 6 h12" stroke="#b5824a" stroke-width="2" stroke-dasharray="3 2"/>'
    head = ball(v, "M50 8 C86 8 86 58 50 58 C14 58 14 8 50 8Z", tan)
    face = '<ellipse cx="50" cy="43" rx="13" ry="10" fill="#f8e6c8"/>' + eyes(50, 30, 13, 4) + muzzle(50, 39, r=4.4) + smile(50, 45, 5, 3, 2.4)
    tie = f'<g transform="rotate({tilt} 50 59)"><path d="M50 59 L32 51 V68Z M50 59 L68 51 V68Z" fill="{bow}" stroke="{darken(bow, 0.4)}" stroke-width="2" stroke-linejoin="round"/><circle cx="50" cy="59" r="4.6" fill="{darken(bow, 0.15)}"/></g>'
    return [Layer("body", limbs + body + ears + head + face + tie)]


@drawing("robot", "toy", colours("blue", "red", "green"), size=1.05)
def robot(v: Variation, colour: str) -> list[Layer]:
    tilt, shade, lamp = v.uniform(-6, 6), v.uniform(0, 0.1), v.choice(("#ffd84d", "#7fe0ff", "#ff9ad0"))
    base = lighten(darken(PALETTE[colour], shade), 0.12)
    steel = "#aab2c0"
    legs = "".join(ball(v, f"M{50 + s * 14 - 7} 84 h14 v14 h-14Z", steel) for s in (-1, 1))
    arms = "".join(ball(v, f"M{50 + s * 27} 54 h{s * 12} v24 a6 6 0 0 1 {-s * 12} 0Z", steel) for s in (-1, 1))
    body = ball(v, "M24 50 H76 V88 H24Z", base) + f'<rect x="34" y="58" width="32" height="20" rx="3" fill="#24303f"/><circle cx="42" cy="68" r="4" fill="#ff6a5a"/><circle cx="50" cy="68" r="4" fill="{lamp}"/><circle cx="58" cy="68" r="4" fill="#7fe08a"/>'
    head = f'<g transform="rotate({tilt} 50 46)"><path d="M50 14 V4" stroke="#6a7280" stroke-width="3"/><circle cx="50" cy="4" r="4.6" fill="{lamp}" stroke="#7a6a2a" stroke-width="1.4"/>' + ball(v, "M26 14 H74 V46 H26Z", base) + f'<rect x="31" y="20" width="38" height="16" rx="7" fill="#24303f"/><circle cx="41" cy="28" r="5" fill="{lamp}"/><circle cx="59" cy="28" r="5" fill="{lamp}"/><path d="M40 41 H60" stroke="#24303f" stroke-width="3" stroke-dasharray="3 2"/></g>'
    return [Layer("body", legs + arms + body + head)]


@drawing("kite", "toy", colours("red", "blue", "yellow"), size=0.95, flies=True)
def kite(v: Variation, colour: str) -> list[Layer]:
    tilt, swing, shade = v.uniform(-18, 18), v.uniform(-8, 8), v.uniform(0, 0.1)
    base = darken(PALETTE[colour], shade)
    tail = f'<path d="M50 66 Q{62 + swing} 76 50 84 Q{40 + swing} 92 52 99" fill="none" stroke="#6b4a5a" stroke-width="2.4"/>' + "".join(f'<path d="M{x} {y} l-7 -4 v8Z m0 0 l7 -4 v8Z" fill="{c}"/>' for x, y, c in ((55, 76, "#f3c93c"), (47, 88, "#ef86b0")))
    sail = ball(v, "M50 0 L86 28 L50 68 L14 28Z", base) + f'<path d="M50 0 L86 28 H50Z M50 68 L14 28 H50Z" fill="{lighten(base, 0.45)}" opacity="0.85"/><path d="M50 0 V68 M14 28 H86" stroke="{darken(base, 0.5)}" stroke-width="2.2"/>'
    return [Layer("body", f'<g transform="rotate({tilt} 50 50)">{tail}{sail}</g>')]


@drawing("balloon", "toy", colours("red", "yellow", "blue", "pink"), size=0.9, flies=True)
def balloon(v: Variation, colour: str) -> list[Layer]:
    wide, sway, shade = v.uniform(32, 37), v.uniform(-8, 8), v.uniform(0, 0.08)
    base = darken(PALETTE[colour], shade)
    string = f'<path d="M50 74 Q{50 + sway} 82 50 89 T50 99" fill="none" stroke="#7a6a70" stroke-width="2"/>'
    body = ball(v, f"M50 2 C{58 + wide} 2 {52 + wide} 62 50 72 C{48 - wide} 62 {42 - wide} 2 50 2Z", base) + ball(v, "M50 70 L44 79 H56Z", base)
    return [Layer("body", string + body + shine(34, 24, 6, 12, 25))]


@drawing("rubber duck", "toy", size=0.85)
def duck(v: Variation) -> list[Layer]:
    yellow, tail, tilt = v.jitter("#fbd63a"), v.uniform(-5, 5), v.uniform(-5, 5)
    body = ball(v, f"M10 66 Q40 62 58 62 Q84 64 98 {48 + tail} Q100 98 56 98 Q8 98 10 66Z", yellow)
    wing = ball(v, "M46 74 Q70 66 82 76 Q72 92 52 88Z", darken(yellow, 0.08))
    head = ball(v, "M34 12 a27 27 0 1 1 -0.1 0Z", yellow)
    beak = '<path d="M10 38 Q-4 40 0 50 Q10 54 18 50Z" fill="#f28a24" stroke="#a8560f" stroke-width="2.2" stroke-linejoin="round"/>'
    eye = '<circle cx="26" cy="32" r="6" fill="#241a24"/><circle cx="24" cy="30" r="2.1" fill="#fff"/>'
    return [Layer("body", f'<g transform="rotate({tilt} 50 98)">{body}{wing}{head}{beak}{eye}{cheeks(38, 44, 0, 4)}{shine(44, 22, 5, 9, -30)}</g>')]
