"""More from the baker's."""

from cirp.miniature.drawings.fruit import ball, shine
from cirp.miniature.kinds import Attribute, drawing
from cirp.miniature.svg import Layer, Variation, darken, lighten

FROSTINGS = {"pink": "#f39ac0", "chocolate": "#6b3f2a", "blue": "#7db8ec"}
GLAZES = {"chocolate": "#5f3826", "strawberry": "#ee6f92", "lemon": "#f6dc55"}


@drawing("cupcake", "pastry", Attribute("frosting", tuple(FROSTINGS), "{noun} with {state} frosting", part="frosting"), size=0.85, holdable=True)
def cupcake(v: Variation, frosting: str) -> list[Layer]:
    wide, lean = v.uniform(36, 41), v.uniform(-4, 4)
    cup = v.jitter("#f0d9a0", 0.05)
    pleats = "".join(f'<path d="M{50 + k * wide / 4:.1f} 64 L{50 + k * wide / 5.4:.1f} 98" stroke="{darken(cup, 0.3)}" stroke-width="2"/>' for k in (-3, -1, 1, 3))
    cream = FROSTINGS[frosting]
    tiers = "".join(
        ball(v, f"M{50 - w} {y} C{46 - w} {y - h} {54 + w} {y - h} {50 + w} {y} C{54 + w} {y + 12} {46 - w} {y + 12} {50 - w} {y}Z", cream)
        for w, y, h in ((wide + 4, 58, 26), (wide * 0.74, 42, 24), (wide * 0.42 , 26, 24))
    )
    return [
        Layer("cup", f'<path d="M{50 - wide} 60 L{58 - wide} 98 H{42 + wide} L{50 + wide} 60Z" fill="{v.linear(lighten(cup, 0.3), cup)}" stroke="{darken(cup, 0.45)}" stroke-width="2.4"/>{pleats}'),
        Layer("frosting", tiers + shine(34, 48, 4, 9, 60)),
        Layer("cherry", f'<circle cx="{50 + lean}" cy="12" r="8" fill="#d3222f" stroke="#8a1320" stroke-width="2"/><circle cx="{47 + lean}" cy="9" r="2.2" fill="#fff" opacity="0.7"/>'),
    ]


@drawing("cake", "pastry", Attribute("glaze", tuple(GLAZES), "{noun} with {state} glaze", part="glaze"), size=1.05)
def cake(v: Variation, glaze: str) -> list[Layer]:
    top, drops = v.uniform(40, 46), [v.uniform(8, 20) for _ in range(6)]
    sponge = v.jitter("#eec98a")
    icing = GLAZES[glaze]
    drip = f"M6 {top}" + "".join(f" Q{6 + 88 * (i + 0.08) / 6:.1f} {top + 10 + d} {6 + 88 * (i + 0.5) / 6:.1f} {top + 10 + d} Q{6 + 88 * (i + 0.92) / 6:.1f} {top + 10 + d} {6 + 88 * (i + 1) / 6:.1f} {top + 12}" for i, d in enumerate(drops))
    candles = "".join(
        f'<rect x="{x - 2.5}" y="{top - 32}" width="5" height="26" rx="2" fill="{c}" stroke="{darken(c, 0.35)}" stroke-width="1.5"/>'
        f'<path d="M{x} {top - 44} q5 8 0 12 q-5 -4 0 -12Z" fill="#ffb02e" stroke="#d9771f" stroke-width="1.4"/>'
        for x, c in ((30, "#5fb7e8"), (50, "#f2f0ea"), (70, "#8ed081"))
    )
    return [
        Layer("body", f'<path d="M6 {top} V88 A44 11 0 0 0 94 88 V{top}Z" fill="{v.linear(lighten(sponge, 0.2), sponge, darken(sponge, 0.15))}" stroke="{darken(sponge, 0.5)}" stroke-width="2.4"/>'
              f'<path d="M7 74 A44 11 0 0 0 93 74" fill="none" stroke="#fff4e2" stroke-width="5"/>'),
        Layer("glaze", f'<path d="{drip} L94 {top} A44 11 0 0 0 6 {top}Z" fill="{icing}" stroke="{darken(icing, 0.35)}" stroke-width="2"/>'
              f'<ellipse cx="50" cy="{top}" rx="44" ry="11" fill="{v.radial(lighten(icing, 0.35), icing)}" stroke="{darken(icing, 0.35)}" stroke-width="2"/>'),
        Layer("candles", candles),
    ]


@drawing("croissant", "pastry", size=0.85, holdable=True)
def croissant(v: Variation) -> list[Layer]:
    tilt, crust = v.uniform(-10, 10), v.jitter("#d68f3e")
    folds = (("M4 84 Q0 66 16 58 L30 74 Q20 88 4 84Z"), ("M96 84 Q100 66 84 58 L70 74 Q80 88 96 84Z"), ("M14 60 Q20 36 40 38 L42 72 L28 76Z"), ("M86 60 Q80 36 60 38 L58 72 L72 76Z"), ("M36 38 Q50 24 64 38 L60 74 Q50 78 40 74Z"))
    body = "".join(ball(v, d, crust) for d in folds)
    return [Layer("body", f'<g transform="rotate({tilt} 50 66) translate(0 6)">{body}{shine(48, 42, 8, 4, 0)}</g>')]


@drawing("pretzel", "pastry", size=0.85, holdable=True)
def pretzel(v: Variation) -> list[Layer]:
    tilt, crust = v.uniform(-8, 8), v.jitter("#a8612c")
    salt = [(x + v.uniform(-1, 1), y + v.uniform(-1, 1)) for x, y in ((16, 50), (30, 28), (50, 38), (70, 28), (84, 50), (34, 92), (66, 92))]
    d = "M30 94 Q64 70 80 62 Q98 44 84 28 Q66 14 50 40 Q34 14 16 28 Q2 44 20 62 Q36 70 70 94"
    grains = "".join(f'<rect x="{x - 1.8}" y="{y - 1.8}" width="3.6" height="3.6" fill="#fff8ec"/>' for x, y in salt)
    return [
        Layer("body", f'<g transform="rotate({tilt} 50 60)" fill="none" stroke-linecap="round" stroke-linejoin="round"><path d="{d}" stroke="{darken(crust, 0.5)}" stroke-width="16"/>'
              f'<path d="{d}" stroke="{crust}" stroke-width="11.5"/><path d="{d}" stroke="{lighten(crust, 0.35)}" stroke-width="3" transform="translate(-1.5 -2.5)"/>{grains}</g>')
    ]
