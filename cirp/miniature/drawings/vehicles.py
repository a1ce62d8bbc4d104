"""Vehicles, on the ground, on the sea and in the air."""

from cirp.miniature.drawings.fruit import ball, shine
from cirp.miniature.kinds import Attribute, drawing
from cirp.miniature.kinds import colour as colours
from cirp.miniature.svg import PALETTE, Layer, Variation, darken, lighten

GLASS = "#bfe3f5"


def wheel(x: float, y: float, r: float) -> str:
    return (
        f'<circle cx="{x}" cy="{y}" r="{r}" fill="#3a3640" stroke="#1d1a22" stroke-width="2"/>'
        f'<circle cx="{x}" cy="{y}" r="{r * 0.48}" fill="#d8d8de" stroke="#77757f" stroke-width="1.6"/>'
    )


@drawing("car", "vehicle", colours("red", "blue", "yellow", "green"), size=1.1)
def car(v: Variation, colour: str) -> list[Layer]:
    roof, nose, shade = v.uniform(24, 32), v.uniform(-4, 4), v.uniform(0, 0.1)
    base = darken(PALETTE[colour], shade)
    body = ball(v, f"M3 88 Q0 66 12 62 L{24 + nose} 58 Q{32 + nose} {roof} 44 {roof} H66 Q76 {roof} 84 58 Q99 62 98 88Z", base)
    glass = f'<path d="M{31 + nose} 58 Q{37 + nose} {roof + 7} 45 {roof + 6} H52 V58Z M57 58 V{roof + 6} H65 Q71 {roof + 8} 76 58Z" fill="{GLASS}" stroke="{darken(base, 0.5)}" stroke-width="2"/>'
    lamps = '<ellipse cx="8" cy="72" rx="4" ry="5" fill="#fff3b0" stroke="#8a7a3a" stroke-width="1.4"/><rect x="92" y="68" width="5" height="8" rx="2" fill="#ff6a5a"/>'
    return [Layer("body", body + glass + lamps + f'<path d="M54 60 V84" stroke="{darken(base, 0.35)}" stroke-width="2"/>' + shine(30, 66, 12, 3, 0)), Layer("wheels", wheel(25, 87, 11.5) + wheel(75, 87, 11.5))]


@drawing("bus", "vehicle", size=1.1)
def bus(v: Variation) -> list[Layer]:
    orange, tall = v.jitter("#f0862c"), v.uniform(24, 32)
    body = ball(v, f"M3 88 V{tall + 8} Q3 {tall} 12 {tall} H90 Q97 {tall} 97 {tall + 10} V88Z", orange)
    panes = "".join(f'<rect x="{x}" y="{tall + 9}" width="15" height="18" rx="3" fill="{GLASS}" stroke="{darken(orange, 0.5)}" stroke-width="2"/>' for x in (10, 29, 48, 67))
    door = f'<rect x="86" y="{tall + 10}" width="8" height="30" rx="2" fill="{GLASS}" stroke="{darken(orange, 0.5)}" stroke-width="1.6"/>'
    band = f'<rect x="4" y="{tall + 34}" width="92" height="6" fill="#fff3dc"/>'
    return [Layer("body", body + band + panes + door), Layer("wheels", wheel(24, 88, 11) + wheel(74, 88, 11))]


@drawing("boat", "vehicle", Attribute("sail", ("white", "red", "striped"), "{noun} with a {state} sail", part="sail"), size=1.1)
def boat(v: Variation, sail: str) -> list[Layer]:
    wood, belly, reach = v.jitter("#9a5f34"), v.uniform(-4, 4), v.uniform(-4, 4)
    cloth = {"white": "#f8f4ea", "red": "#d8413a", "striped": "#f8f4ea"}[sail]
    main, jib = f"M54 6 Q{88 + belly} 30 {92 + reach} 66 H54Z", f"M46 14 Q{22 - belly} 40 14 66 H46Z"
    stripes = ""
    if sail == "striped":
        clip = v.clip(f'<path d="{main}"/><path d="{jib}"/>')
        stripes = f'<g clip-path="{clip}">' + "".join(f'<rect x="0" y="{y}" width="100" height="7" fill="#3f78d0"/>' for y in (14, 30, 46, 60)) + "</g>"
    edge = darken(cloth, 0.4)
    flag = '<path d="M51 -1 L66 3 L51 8Z" fill="#f3c93c" stroke="#9a7a1c" stroke-width="1.4"/>'
    return [
        Layer("mast", f'<path d="M50 0 V74" stroke="#6b4424" stroke-width="4"/>{flag}'),
        Layer("sail", "".join(f'<path d="{d}" fill="{v.linear(lighten(cloth, 0.2), darken(cloth, 0.08))}" stroke="none"/>' for d in (main, jib)) + stripes + "".join(f'<path d="{d}" fill="none" stroke="{edge}" stroke-width="2.4" stroke-linejoin="round"/>' for d in (main, jib))),
        Layer("hull", ball(v, "M4 72 H97 Q90 98 70 98 H28 Q10 98 4 72Z", wood) + f'<path d="M8 80 H93" stroke="{lighten(wood, 0.45)}" stroke-width="3"/>'),
    ]


@drawing("rocket", "vehicle", size=1.1)
def rocket(v: Variation) -> list[Layer]:
    red, tilt, flame = v.jitter("#d93a3a"), v.uniform(-9, 9), v.uniform(-3, 3)
    fins = "".join(ball(v, f"M{50 + s * 16} 54 Q{50 + s * 38} 66 {50 + s * 34} 90 L{50 + s * 14} 78Z", red) for s in (-1, 1))
    body = ball(v, "M50 0 C72 16 74 58 64 82 H36 C26 58 28 16 50 0Z", "#eceef4")
    tip = ball(v, "M50 0 C60 7 65 18 67 26 H33 C35 18 40 7 50 0Z", red)
    port = f'<circle cx="50" cy="44" r="10" fill="{v.radial("#d8f0ff", "#5fa8dc")}" stroke="#7a8296" stroke-width="3.4"/>'
    fire = f'<path d="M38 82 Q{40 + flame} 92 50 99 Q{60 + flame} 92 62 82Z" fill="#ffa62b" stroke="#d9581f" stroke-width="2"/><path d="M44 82 Q50 92 56 82Z" fill="#ffe27a"/>'
    return [Layer("body", f'<g transform="rotate({tilt} 50 60)">{fins}{fire}{body}{tip}{port}</g>')]


@drawing("train", "vehicle", size=1.1)
def train(v: Variation) -> list[Layer]:
    green, puff = v.jitter("#3f7f5f"), [(v.uniform(-3, 3), v.uniform(-2, 2)) for _ in range(3)]
    smoke = "".join(f'<circle cx="{x + a}" cy="{y + b}" r="{r}" fill="#eef0f4" stroke="#b8bcc8" stroke-width="1.6"/>' for (x, y, r), (a, b) in zip(((26, 18, 6), (34, 8, 8), (48, 6, 6)), puff, strict=True))
    stack = ball(v, "M18 26 H34 L31 48 H21Z", "#4a4650")
    boiler = ball(v, "M6 46 H64 V80 H6 Q-2 63 6 46Z", green)
    bands = '<path d="M22 46 V80 M42 46 V80" stroke="#e8c24a" stroke-width="3.6"/>'
    cab = ball(v, "M60 24 H97 V80 H60Z", v.jitter("#c23a36")) + f'<rect x="68" y="32" width="21" height="18" rx="2" fill="{GLASS}" stroke="#5a1a1a" stroke-width="2"/>' + ball(v, "M55 18 H100 V27 H55Z", "#4a4650")
    return [Layer("body", smoke + stack + boiler + bands + cab + '<path d="M0 80 H99 V86 H0Z" fill="#4a4650"/>'), Layer("wheels", wheel(17, 88, 10) + wheel(42, 88, 10) + wheel(79, 86, 13))]


@drawing("hot air balloon", "vehicle", colours("red", "purple", "blue"), size=1.1, flies=True)
def hot_air_balloon(v: Variation, colour: str) -> list[Layer]:
    wide, shade = v.uniform(38, 43), v.uniform(0, 0.1)
    base = darken(PALETTE[colour], shade)
    d = f"M50 2 C{62 + wide} 2 {56 + wide} 52 62 72 H38 C{44 - wide} 52 {38 - wide} 2 50 2Z"
    clip = v.clip(f'<path d="{d}"/>')
    gores = f'<g clip-path="{clip}"><path d="M50 2 C20 20 30 60 42 72 H58 C70 60 80 20 50 2Z" fill="#fbe7b0" opacity="0.85"/><path d="M50 2 C42 20 44 60 47 72 H53 C56 60 58 20 50 2Z" fill="{base}"/></g>'
    ropes = '<path d="M40 72 L43 84 M60 72 L57 84" stroke="#6b4a2b" stroke-width="2.2"/>'
    return [Layer("body", ball(v, d, base) + gores + ropes + ball(v, "M41 83 H59 L57 98 H43Z", "#b5793e") + shine(26, 26, 5, 12, 25))]
