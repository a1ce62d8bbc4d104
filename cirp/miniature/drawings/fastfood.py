"""Fast food: some of it with a dip or a sauce."""

from cirp.miniature.drawings.fruit import ball, leaf, shine
from cirp.miniature.kinds import Attribute, drawing
from cirp.miniature.svg import Layer, Variation, darken, lighten

DIPS = {"mayonnaise": "#fbf3d3", "ketchup": "#c8261f", "mustard": "#e8b41c"}
SCOOPS = {"vanilla": "#f8ecc6", "chocolate": "#6f4630", "strawberry": "#f29bb8", "mint": "#9bdcbc"}


@drawing(
    "burger",
    "fast food",
    Attribute("dip", tuple(DIPS), "{noun} with {state} dip", part="dip"),
    size=1.1,
)
def burger(v: Variation, dip: str) -> list[Layer]:
    tall, seeds = v.uniform(24, 30), [(v.uniform(-3, 3), v.uniform(-2, 2)) for _ in range(6)]
    bun, wave = v.jitter("#dd9a4a"), v.uniform(-2, 2)
    top = f"M4 {62 - tall * 0.5} C4 {50 - tall} 78 {50 - tall} 78 {62 - tall * 0.5}Z"
    spots = ((24, 30), (40, 26), (56, 30), (32, 38), (50, 38), (64, 40))
    sesame = "".join(
        f'<ellipse cx="{x + a}" cy="{y + b + 27 - tall}" rx="2.6" ry="1.7" fill="#fff0c4"/>'
        for (x, y), (a, b) in zip(spots, seeds, strict=True)
    )
    mid = 62 - tall * 0.5
    bowl = v.linear("#8fb8de", "#4f7fb4")
    sauce = DIPS[dip]
    return [
        Layer(
            "body",
            ball(v, "M6 78 H76 Q78 98 62 98 H20 Q4 98 6 78Z", bun)
            + f'<path d="M2 {mid + 14} Q10 {mid + 4 + wave} 20 {mid + 12} T40 {mid + 12} T60 {mid + 12} T80 {mid + 12} L78 {mid + 2} H4Z" '
            'fill="#7cc24a" stroke="#3d7a2c" stroke-width="2"/>'
            f'<rect x="4" y="{mid + 10}" width="74" height="{70 - mid}" rx="8" fill="{v.linear("#8a4a2a", "#5c2e1a")}" stroke="#3f1f12" stroke-width="2"/>'
            f'<path d="M6 {mid + 8} H76 L58 {mid + 22} L42 {mid + 9}Z" fill="#f7c23c" stroke="#b9821c" stroke-width="1.6"/>'
            + ball(v, top, bun) + sesame + shine(24, mid - 8, 4, 9, 50),
        ),
        Layer("bowl", f'<path d="M48 78 Q50 99 74 99 Q97 99 99 78Z" fill="{bowl}" stroke="#2f5684" stroke-width="2.4"/>'),
        Layer(
            "dip",
            f'<ellipse cx="73.5" cy="77" rx="25.5" ry="9.5" fill="{v.radial(lighten(sauce, 0.3), sauce, darken(sauce, 0.12))}" '
            f'stroke="{darken(sauce, 0.35)}" stroke-width="2"/><path d="M58 82 q0 12 4 12 q4 0 4 -10Z" fill="{sauce}" stroke="{darken(sauce, 0.35)}" stroke-width="1.6"/>'
            '<path d="M60 75 q6 -5 16 -5" fill="none" stroke="#fff" stroke-opacity="0.6" stroke-width="3" stroke-linecap="round"/>',
        ),
    ]


@drawing("bag of fries", "fast food", size=0.95)
def fries(v: Variation) -> list[Layer]:
    sticks = [(18 + 7.2 * i + v.uniform(-2, 2), v.uniform(8, 30), v.uniform(-7, 7)) for i in range(10)]
    gold = v.jitter("#f6c945")
    chips = "".join(
        f'<rect x="{x - 4.5}" y="{y}" width="9" height="60" rx="2" fill="{v.linear(lighten(gold, 0.3), gold)}" '
        f'stroke="{darken(gold, 0.4)}" stroke-width="1.8" transform="rotate({t} {x} 70)"/>'
        for x, y, t in sticks
    )
    return [
        Layer("fries", chips),
        Layer("bag", f'<path d="M12 46 Q50 66 88 46 L80 98 H20Z" fill="{v.linear("#e8463e", "#b3262a")}" stroke="#7d171c" stroke-width="2.4"/>'
              '<path d="M40 58 L36 97 M60 58 L64 97" stroke="#fff" stroke-opacity="0.75" stroke-width="5"/>'),
    ]


@drawing("hot dog", "fast food", Attribute("sauce", ("ketchup", "mustard"), "{noun} with {state}", part="sauce"), size=1.0)
def hot_dog(v: Variation, sauce: str) -> list[Layer]:
    tilt, bun, meat = v.uniform(-12, 6), v.jitter("#e2a656"), v.jitter("#c2503a")
    around = f'<g transform="rotate({tilt} 50 74)">'
    paint = DIPS[sauce]
    return [
        Layer("bun", around + ball(v, "M8 60 Q4 98 30 98 H70 Q96 98 92 60 Q50 48 8 60Z", bun) + "</g>"),
        Layer("sausage", around + ball(v, "M10 54 Q2 70 14 72 Q50 82 86 72 Q98 70 90 54 Q50 44 10 54Z", meat) + "</g>"),
        Layer("sauce", around + f'<path d="M14 60 Q22 52 30 62 T46 63 T62 63 T78 62 T88 58" fill="none" stroke="{darken(paint, 0.25)}" stroke-width="9" stroke-linecap="round"/>'
              f'<path d="M14 60 Q22 52 30 62 T46 63 T62 63 T78 62 T88 58" fill="none" stroke="{paint}" stroke-width="6.4" stroke-linecap="round"/></g>'),
        Layer("front", around + ball(v, "M8 78 Q50 90 92 76 Q94 98 70 98 H30 Q8 98 8 78Z", lighten(bun, 0.1)) + "</g>"),
    ]


@drawing("pizza slice", "fast food", Attribute("topping", ("pepperoni", "mushroom", "olive"), "{state} {noun}", part="topping"), size=0.95)
def pizza(v: Variation, topping: str) -> list[Layer]:
    spots = [(x + v.uniform(-3, 3), y + v.uniform(-3, 3)) for x, y in ((34, 44), (60, 42), (48, 60), (52, 78))]
    crust = v.jitter("#d8964a")
    bits = {
        "pepperoni": '<circle r="9" fill="#c9382c" stroke="#8a1f1c" stroke-width="2"/><circle cx="-3" cy="-3" r="2" fill="#ee8a70"/>',
        "mushroom": '<path d="M-9 1 A9 9 0 0 1 9 1 L3 2 V8 H-3 V2Z" fill="#f4e6cf" stroke="#8a6a4a" stroke-width="2"/>',
        "olive": '<circle r="7" fill="#3a4a2c" stroke="#1e2a18" stroke-width="2"/><circle r="3" fill="#e7a83a"/>',
    }[topping]
    return [
        Layer("body", f'<path d="M12 30 L88 30 L52 98Z" fill="{v.linear("#fbd75e", "#f2b43a")}" stroke="#b9771f" stroke-width="2.4" stroke-linejoin="round"/>'
              '<path d="M20 44 q4 14 8 2 M66 60 q3 12 6 0 M44 86 q3 10 6 2" fill="#fbe08a" stroke="none"/>'
              + ball(v, "M6 34 Q4 16 20 16 H80 Q96 16 94 34 Q50 44 6 34Z", crust)),
        Layer("topping", "".join(f'<g transform="translate({x} {y})">{bits}</g>' for x, y in spots)),
    ]


@drawing("ice cream", "fast food", Attribute("flavour", tuple(SCOOPS), "{state} {noun}", part="scoop"), size=1.0, holdable=True)
def ice_cream(v: Variation, flavour: str) -> list[Layer]:
    tilt, wide = v.uniform(-9, 9), v.uniform(26, 30)
    wafer = v.jitter("#dba45c")
    d = f"M{50 - wide} 50 L50 99 L{50 + wide} 50Z"
    clip = v.clip(f'<path d="{d}"/>')
    net = "".join(f'<path d="M{x} 40 l40 70 M{x + 40} 40 l-40 70" stroke="{darken(wafer, 0.35)}" stroke-width="2"/>' for x in range(-20, 90, 12))
    cream = SCOOPS[flavour]
    around = f'<g transform="rotate({tilt} 50 99)">'
    return [
        Layer("cone", f'{around}<path d="{d}" fill="{wafer}" stroke="{darken(wafer, 0.45)}" stroke-width="2.4" stroke-linejoin="round"/><g clip-path="{clip}">{net}</g></g>'),
        Layer("scoop", around + ball(v, f"M{46 - wide} 52 C{40 - wide} -14 {60 + wide} -14 {54 + wide} 52 Q{48 + wide} 62 {50 + wide * 0.6} 54 Q{50 + wide * 0.3} 66 50 55 Q{50 - wide * 0.4} 64 {50 - wide * 0.6} 54 Q{52 - wide} 62 {46 - wide} 52Z", cream)
              + shine(36, 20, 6, 10, 35) + "</g>"),
        Layer("cherry", f'{around}<circle cx="54" cy="8" r="7" fill="#d3222f" stroke="#8a1320" stroke-width="2"/>{leaf(v, 56, 3, -40, 10)}</g>'),
    ]
