"""Pastry: things from the baker's."""

from math import cos, pi, sin

from cirp.miniature.kinds import Attribute, drawing
from cirp.miniature.svg import Layer, Variation, darken, lighten

TOPPINGS = {
    "strawberry": "#f08fb4",
    "chocolate": "#6b3f2a",
    "vanilla": "#f7e9c4",
    "mint": "#8fd4b0",
}


@drawing(
    "donut",
    "pastry",
    Attribute("topping", tuple(TOPPINGS), "{noun} with {state} topping", part="topping"),
    size=0.95,
    holdable=True,
)
def donut(v: Variation, topping: str) -> list[Layer]:
    squash, wobble = v.uniform(0.82, 0.98), v.uniform(1.5, 3.5)
    dough, phase = v.jitter("#d99a4e"), v.uniform(0, 2 * pi)
    sprinkles = [
        (v.uniform(0.52, 0.8), v.uniform(0, 2 * pi), v.uniform(0, 180), v.choice(range(4)))
        for _ in range(13)
    ]
    ry = 44 * squash
    cy = 98 - ry
    icing = TOPPINGS[topping]
    ring = 'fill-rule="evenodd"'
    hole = f"M 64 {cy - 4} A 14 {11 * squash} 0 1 0 36 {cy - 4} A 14 {11 * squash} 0 1 0 64 {cy - 4} Z"
    body = f"M 95 {cy} A 45 {ry} 0 1 0 5 {cy} A 45 {ry} 0 1 0 95 {cy} Z {hole}"
    edge = []
    for i in range(48):
        angle = 2 * pi * i / 48
        radius = 39 + wobble * sin(7 * angle + phase)
        edge.append(f"{50 + radius * cos(angle):.1f} {cy - 4 + radius * squash * sin(angle):.1f}")
    glaze = f"M {' L '.join(edge)} Z {hole}"
    colours = ("#ffffff", "#ffd84d", "#5fb7e8", "#e8504f")
    bits = "".join(
        f'<rect x="-3.4" y="-1.4" width="6.8" height="2.8" rx="1.4" fill="{colours[c]}" transform="translate('
        f'{50 + 46 * r * cos(a):.1f} {cy - 4 + 44 * squash * r * sin(a):.1f}) rotate({t:.0f})"/>'
        for r, a, t, c in sprinkles
    )
    return [
        Layer(
            "dough",
            f'<path d="{body}" {ring} fill="{v.radial(lighten(dough, 0.25), dough, darken(dough, 0.3))}" '
            f'stroke="{darken(dough, 0.5)}" stroke-width="2.4"/>',
        ),
        Layer(
            "topping",
            f'<path d="{glaze}" {ring} fill="{v.radial(lighten(icing, 0.35), icing, darken(icing, 0.18))}" '
            f'stroke="{darken(icing, 0.4)}" stroke-width="1.8"/>{bits}'
            f'<path d="M 22 {cy - 14} Q 30 {cy - 33 * squash} 52 {cy - 35 * squash}" fill="none" '
            'stroke="#ffffff" stroke-opacity="0.65" stroke-width="4" stroke-linecap="round"/>',
        ),
    ]
