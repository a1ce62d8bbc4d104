"""Animals: all alive, all friendly, most of them sitting."""

from cirp.miniature.drawings.fruit import ball
from cirp.miniature.kinds import Attribute, drawing
from cirp.miniature.kinds import colour as colours
from cirp.miniature.svg import PALETTE, Layer, Variation, darken, lighten

FURS = {"ginger": "#e8964a", "grey": "#9a9aa6", "black": "#4a4650", "white": "#f4efe6"}


def eyes(x: float, y: float, apart: float, r: float = 6) -> str:
    """Two glossy eyes around x."""
    return "".join(
        f'<circle cx="{x + s * apart}" cy="{y}" r="{r}" fill="#241a24"/>'
        f'<circle cx="{x + s * apart - r * 0.3}" cy="{y - r * 0.35}" r="{r * 0.36}" fill="#fff"/>'
        for s in (-1, 1)
    )


def cheeks(x: float, y: float, apart: float, r: float = 5, paint: str = "#ff6f7d") -> str:
    return "".join(
        f'<ellipse cx="{x + s * apart}" cy="{y}" rx="{r}" ry="{r * 0.75}" fill="{paint}" opacity="0.65"/>'
        for s in (-1, 1)
    )


def smile(x: float, y: float, wide: float, deep: float, width: float = 3) -> str:
    """Return a mouth line; negative depth is a sad one."""
    return (
        f'<path d="M{x - wide} {y} Q{x} {y + 2 * deep} {x + wide} {y}" fill="none" stroke="#3b2230" '
        f'stroke-width="{width}" stroke-linecap="round"/>'
    )


def feet(v: Variation, base: str, x: float = 50, apart: float = 17, y: float = 93) -> str:
    return "".join(
        ball(v, f"M{x + s * apart - 12} {y + 5} a12 8 0 0 1 24 0Z", base) for s in (-1, 1)
    )


def paws(v: Variation, base: str, y: float = 74, apart: float = 17, r: float = 7.5) -> Layer:
    return Layer(
        "hands",
        "".join(
            ball(v, f"M{50 + s * apart - r} {y} a{r} {r} 0 1 0 {2 * r} 0 a{r} {r} 0 1 0 {-2 * r} 0Z", base)
            for s in (-1, 1)
        ),
    )


def muzzle(x: float, y: float, paint: str = "#3b2230", r: float = 4.6) -> str:
    return f'<ellipse cx="{x}" cy="{y}" rx="{r}" ry="{r * 0.72}" fill="{paint}"/>'


@drawing("axolotl", "animal", size=1.1, hold=(50, 76, 40))
def axolotl(v: Variation) -> list[Layer]:
    pink, wide, lift = v.jitter("#f5a3bd"), v.uniform(36, 41), v.uniform(-4, 4)
    gill = v.jitter("#d84a7a")
    fronds = "".join(
        f'<path d="M{50 + s * (wide - 6)} {36 + k * 5} q{s * 14} {-10 + k * 7 + lift} {s * 20} {-14 + k * 13 + lift}" fill="none" stroke="{darken(gill, 0.3)}" stroke-width="8.5" stroke-linecap="round"/>'
        f'<path d="M{50 + s * (wide - 6)} {36 + k * 5} q{s * 14} {-10 + k * 7 + lift} {s * 20} {-14 + k * 13 + lift}" fill="none" stroke="{gill}" stroke-width="5" stroke-linecap="round"/>'
        for s in (-1, 1) for k in (-1, 0, 1)
    )
    tail = ball(v, "M66 86 Q92 92 96 66 Q102 98 72 98Z", pink)
    body = ball(v, "M50 48 C82 52 84 98 50 98 C16 98 18 52 50 48Z", lighten(pink, 0.12))
    head = ball(v, f"M50 10 C{62 + wide} 10 {60 + wide} 62 50 62 C{40 - wide} 62 {38 - wide} 10 50 10Z", pink)
    face = eyes(50, 34, 22, 5.5) + cheeks(50, 45, 27) + smile(50, 43, 15, 6)
    return [Layer("body", fronds + tail + body + feet(v, pink)), Layer("face", head + face), paws(v, pink, 76, 20)]


@drawing("yellow mouse", "animal", size=1.1, hold=(50, 77, 38))
def yellow_mouse(v: Variation) -> list[Layer]:
    yellow, tilt, wide = v.jitter("#f9d63c"), v.uniform(-8, 8), v.uniform(29, 33)
    ears = "".join(
        f'<g transform="rotate({s * (24 + tilt * s)} {50 + s * 14} 32)">{ball(v, f"M{50 + s * 14 - 7} 34 Q{50 + s * 14 - 9} 6 {50 + s * 14} -2 Q{50 + s * 14 + 9} 6 {50 + s * 14 + 7} 34Z", yellow)}'
        f'<path d="M{50 + s * 14 - 6.5} 10 Q{50 + s * 14 - 4} 0 {50 + s * 14} -2 Q{50 + s * 14 + 4} 0 {50 + s * 14 + 6.5} 10Z" fill="#2c2430"/></g>'
        for s in (-1, 1)
    )
    tail = f'<path d="M70 90 L84 78 L78 72 L96 56 L92 46 L70 66 L77 73 L64 86Z" fill="{yellow}" stroke="{darken(yellow, 0.5)}" stroke-width="2.4" stroke-linejoin="round"/>'
    body = ball(v, "M50 52 C80 56 80 98 50 98 C20 98 20 56 50 52Z", yellow)
    head = ball(v, f"M50 18 C{58 + wide} 18 {58 + wide} 64 50 64 C{42 - wide} 64 {42 - wide} 18 50 18Z", yellow)
    face = eyes(50, 38, 14, 5.5) + cheeks(50, 50, 22, 6.5, "#e8322c") + muzzle(50, 44, r=2.6) + smile(50, 49, 7, 4)
    return [Layer("body", tail + body + feet(v, yellow)), Layer("face", ears + head + face), paws(v, yellow, 76, 19, 7)]


@drawing("dog", "animal", Attribute("expression", ("sad", "happy"), "{state} {noun}", part="expression", edit="change expression"), size=1.1)
def dog(v: Variation, expression: str) -> list[Layer]:
    fur, wide, droop = v.jitter("#c98d55"), v.uniform(33, 37), v.uniform(-4, 4)
    patch = darken(fur, 0.35)
    body = ball(v, "M50 52 C80 56 82 98 50 98 C18 98 20 56 50 52Z", fur) + feet(v, lighten(fur, 0.25))
    head = ball(v, f"M50 6 C{58 + wide} 6 {60 + wide} 70 50 70 C{40 - wide} 70 {42 - wide} 6 50 6Z", fur)
    ears = "".join(ball(v, f"M{50 + s * 22} 10 Q{50 + s * 52} 12 {50 + s * (44 + droop * 0.4)} {54 + droop} Q{50 + s * 32} 56 {50 + s * 28} 28Z", patch) for s in (-1, 1))
    snout = f'<ellipse cx="50" cy="52" rx="19" ry="15" fill="{lighten(fur, 0.55)}"/>'
    if expression == "happy":
        mouth = '<path d="M36 53 Q50 57 64 53 Q62 70 50 70 Q38 70 36 53Z" fill="#7a1f2b" stroke="#3b2230" stroke-width="2.4"/><path d="M43 62 Q50 58 57 62 Q57 74 50 74 Q43 74 43 62Z" fill="#ff7f8e" stroke="#b8405a" stroke-width="1.6"/>'
        look = eyes(50, 34, 15, 6.2) + "".join(f'<path d="M{50 + s * 15 - 7} 24 q7 -6 14 0" fill="none" stroke="#3b2230" stroke-width="2.8" stroke-linecap="round"/>' for s in (-1, 1)) + mouth + cheeks(50, 46, 25, 5)
    else:
        tear = '<path d="M31 40 q6 10 0 14 q-6 -4 0 -14Z" fill="#6fc0f5" stroke="#2f7fc0" stroke-width="1.6"/>'
        look = eyes(50, 36, 15, 5.4) + "".join(f'<path d="M{50 + s * 8} 22 L{50 + s * 23} 29" stroke="#3b2230" stroke-width="3.4" stroke-linecap="round"/>' for s in (-1, 1)) + tear + smile(50, 64, 11, -5, 3.4)
    return [Layer("body", body + head + ears + snout), Layer("expression", look), Layer("nose", muzzle(50, 46, r=6))]


@drawing("cat", "animal", Attribute("fur", tuple(FURS), "{state} {noun}", part="fur"), size=1.0)
def cat(v: Variation, fur: str) -> list[Layer]:
    wide, curl, tone = v.uniform(30, 34), v.uniform(-6, 6), v.uniform(0, 0.08)
    base = darken(FURS[fur], tone)
    tail = "".join(f'<path d="M70 90 Q96 92 {90 + curl} 62" fill="none" stroke="{c}" stroke-width="{w}" stroke-linecap="round"/>' for c, w in ((darken(base, 0.45), 14), (base, 9.5)))
    ears = "".join(ball(v, f"M{50 + s * 8} 22 L{50 + s * 30} 2 L{50 + s * 34} 34Z", base) for s in (-1, 1))
    body = ball(v, "M50 50 C76 54 80 98 50 98 C20 98 24 54 50 50Z", base)
    head = ball(v, f"M50 14 C{56 + wide} 14 {56 + wide} 62 50 62 C{44 - wide} 62 {44 - wide} 14 50 14Z", base)
    whiskers = "".join(f'<path d="M{50 + s * 16} {y} L{50 + s * 40} {y + d}" stroke="#5a4a50" stroke-width="1.8"/>' for s in (-1, 1) for y, d in ((48, -3), (52, 4)))
    eye = "".join(f'<ellipse cx="{50 + s * 14}" cy="36" rx="6" ry="7" fill="#a6d84a" stroke="#2b2130" stroke-width="1.6"/><ellipse cx="{50 + s * 14}" cy="36" rx="2.4" ry="6" fill="#1d1622"/>' for s in (-1, 1))
    return [Layer("fur", tail + ears + body + head + feet(v, base)), Layer("face", whiskers + eye + muzzle(50, 46, "#e0607c", 4) + smile(45, 49, 5, 3, 2.4) + smile(55, 49, 5, 3, 2.4))]


@drawing("fox", "animal", size=1.0)
def fox(v: Variation) -> list[Layer]:
    orange, wide, curl = v.jitter("#e8742c"), v.uniform(36, 40), v.uniform(-5, 5)
    tail = ball(v, f"M66 92 Q104 96 {94 + curl} 52 Q76 60 62 82Z", orange) + f'<path d="M{94 + curl} 52 Q86 56 80 63 Q92 70 96 66 Q97 58 {94 + curl} 52Z" fill="#fff6ea"/>'
    ears = "".join(ball(v, f"M{50 + s * 6} 24 L{50 + s * 34} -1 L{50 + s * 36} 36Z", orange) + f'<path d="M{50 + s * 18} 20 L{50 + s * 30} 8 L{50 + s * 31} 26Z" fill="#3a2430"/>' for s in (-1, 1))
    body = ball(v, "M50 50 C74 54 78 98 50 98 C22 98 26 54 50 50Z", orange) + '<path d="M50 62 Q64 80 50 96 Q36 80 50 62Z" fill="#fff6ea"/>'
    head = ball(v, f"M50 14 C{46 + wide} 14 {60 + wide} 44 50 68 C{40 - wide} 44 {54 - wide} 14 50 14Z", orange)
    white = '<path d="M50 68 Q76 56 84 40 Q64 40 50 54 Q36 40 16 40 Q24 56 50 68Z" fill="#fff6ea"/>'
    return [Layer("body", tail + ears + body + feet(v, "#4a2e2c")), Layer("face", head + white + eyes(50, 38, 15, 5) + muzzle(50, 62, r=5.4))]


@drawing("bear", "animal", size=1.1, hold=(50, 77, 38))
def bear(v: Variation) -> list[Layer]:
    brown, wide, belly = v.jitter("#8a5a3a"), v.uniform(33, 37), v.uniform(0.3, 0.45)
    ears = "".join(f'<circle cx="{50 + s * 28}" cy="18" r="12" fill="{brown}" stroke="{darken(brown, 0.5)}" stroke-width="2.4"/><circle cx="{50 + s * 28}" cy="18" r="6" fill="{lighten(brown, 0.4)}"/>' for s in (-1, 1))
    body = ball(v, "M50 48 C88 52 88 98 50 98 C12 98 12 52 50 48Z", brown) + f'<ellipse cx="50" cy="80" rx="20" ry="17" fill="{lighten(brown, belly)}"/>'
    head = ball(v, f"M50 12 C{58 + wide} 12 {58 + wide} 62 50 62 C{42 - wide} 62 {42 - wide} 12 50 12Z", brown)
    face = f'<ellipse cx="50" cy="50" rx="15" ry="11" fill="{lighten(brown, 0.5)}"/>' + eyes(50, 34, 14, 4.6) + muzzle(50, 45, r=5.4) + smile(50, 51, 6, 3)
    return [Layer("body", body + feet(v, darken(brown, 0.15))), Layer("face", ears + head + face), paws(v, brown, 76, 22, 8)]


@drawing("penguin", "animal", size=1.0, hold=(50, 75, 36))
def penguin(v: Variation) -> list[Layer]:
    ink, wide, flap = v.jitter("#34405c"), v.uniform(32, 36), v.uniform(-8, 8)
    wings = "".join(ball(v, f"M{50 + s * 28} 42 Q{50 + s * 52} {56 + flap} {50 + s * 40} {82 + flap} Q{50 + s * 28} 70 {50 + s * 26} 50Z", ink) for s in (-1, 1))
    body = ball(v, f"M50 4 C{50 + wide} 4 {58 + wide} 98 50 98 C{42 - wide} 98 {50 - wide} 4 50 4Z", ink)
    white = '<path d="M50 26 C66 12 76 30 68 46 C84 64 76 96 50 96 C24 96 16 64 32 46 C24 30 34 12 50 26Z" fill="#fbf7ee"/>'
    beak = '<path d="M41 40 Q50 36 59 40 L50 51Z" fill="#f6a52c" stroke="#b36a14" stroke-width="2" stroke-linejoin="round"/>'
    return [Layer("body", wings + body + white + feet(v, "#f6a52c", y=94)), Layer("face", eyes(50, 31, 11, 5) + beak + cheeks(50, 42, 17, 4)), Layer("hands", "".join(ball(v, f"M{50 + s * 34} 60 Q{50 + s * 10} 70 {50 + s * 14} 82 Q{50 + s * 30} 84 {50 + s * 36} 70Z", ink) for s in (-1, 1)))]


@drawing("frog", "animal", size=0.95, hold=(50, 78, 36))
def frog(v: Variation) -> list[Layer]:
    green, wide = v.jitter("#6cc04a"), v.uniform(40, 45)
    bumps = "".join(f'<circle cx="{50 + s * 23}" cy="26" r="15" fill="{green}" stroke="{darken(green, 0.45)}" stroke-width="2.4"/><circle cx="{50 + s * 23}" cy="25" r="10" fill="#fff"/><circle cx="{50 + s * 22}" cy="26" r="5.6" fill="#241a24"/><circle cx="{50 + s * 22 - 2}" cy="24" r="2" fill="#fff"/>' for s in (-1, 1))
    legs = "".join(ball(v, f"M{50 + s * 18} 96 Q{50 + s * 48} 100 {50 + s * 44} 76 Q{50 + s * 30} 66 {50 + s * 16} 80Z", green) for s in (-1, 1))
    body = ball(v, "M50 50 C80 54 78 98 50 98 C22 98 20 54 50 50Z", lighten(green, 0.35))
    head = ball(v, f"M50 22 C{54 + wide} 22 {58 + wide} 68 50 68 C{42 - wide} 68 {46 - wide} 22 50 22Z", green)
    return [Layer("body", legs + body), Layer("face", head + bumps + smile(50, 48, 24, 7, 3.2) + cheeks(50, 50, 32, 4.5)), paws(v, green, 80, 19, 7)]


@drawing("rabbit", "animal", size=1.05, hold=(50, 78, 36))
def rabbit(v: Variation) -> list[Layer]:
    white, tilt, wide = v.jitter("#ece4e0"), v.uniform(-7, 7), v.uniform(25, 29)
    ears = "".join(f'<g transform="rotate({s * 9 + tilt} {50 + s * 12} 34)">{ball(v, f"M{50 + s * 12 - 9} 36 Q{50 + s * 12 - 11} 2 {50 + s * 12} 0 Q{50 + s * 12 + 11} 2 {50 + s * 12 + 9} 36Z", white)}<ellipse cx="{50 + s * 12}" cy="20" rx="4.4" ry="13" fill="#f4a6b8"/></g>' for s in (-1, 1))
    body = ball(v, "M50 60 C80 62 80 98 50 98 C20 98 20 62 50 60Z", white) + feet(v, white)
    head = ball(v, f"M50 30 C{56 + wide} 30 {58 + wide} 72 50 72 C{42 - wide} 72 {44 - wide} 30 50 30Z", white)
    teeth = '<rect x="46.4" y="60" width="7.2" height="7" rx="1.6" fill="#fff" stroke="#8a7a80" stroke-width="1.4"/>'
    return [Layer("body", body), Layer("face", ears + head + eyes(50, 48, 13, 4.8) + cheeks(50, 58, 18, 4.6) + teeth + muzzle(50, 55, "#ee7f98", 4)), paws(v, white, 80, 16, 6.5)]


@drawing("owl", "animal", size=0.95)
def owl(v: Variation) -> list[Layer]:
    brown, wide = v.jitter("#a4714a"), v.uniform(34, 39)
    tufts = "".join(ball(v, f"M{50 + s * 8} 18 L{50 + s * 34} 2 L{50 + s * 33} 32Z", brown) for s in (-1, 1))
    body = ball(v, f"M50 10 C{56 + wide} 10 {56 + wide} 96 50 96 C{44 - wide} 96 {44 - wide} 10 50 10Z", brown)
    belly = f'<ellipse cx="50" cy="74" rx="21" ry="21" fill="{lighten(brown, 0.5)}"/>' + "".join(f'<path d="M{x - 5} {y} q5 7 10 0" fill="none" stroke="{darken(brown, 0.2)}" stroke-width="2.4"/>' for x, y in ((40, 66), (60, 66), (50, 76), (36, 80), (64, 80)))
    eye = "".join(f'<circle cx="{50 + s * 16}" cy="36" r="15" fill="#fff4dc" stroke="{darken(brown, 0.4)}" stroke-width="2.4"/><circle cx="{50 + s * 15}" cy="36" r="8.5" fill="#f3a32c"/><circle cx="{50 + s * 15}" cy="36" r="5" fill="#241a24"/><circle cx="{50 + s * 15 - 2}" cy="34" r="1.8" fill="#fff"/>' for s in (-1, 1))
    beak = '<path d="M45 44 H55 L50 55Z" fill="#f0a530" stroke="#9a6014" stroke-width="1.8" stroke-linejoin="round"/>'
    wings = "".join(ball(v, f"M{50 + s * 26} 50 Q{50 + s * 46} 64 {50 + s * 30} 92 Q{50 + s * 20} 70 {50 + s * 26} 50Z", darken(brown, 0.2)) for s in (-1, 1))
    return [Layer("body", tufts + body + belly + wings + feet(v, "#f0a530", apart=12, y=94)), Layer("face", eye + beak)]


@drawing("fish", "animal", size=0.9)
def fish(v: Variation) -> list[Layer]:
    teal, fin = v.jitter("#2fb3b8", 0.02), v.uniform(-5, 5)
    tail = ball(v, f"M70 62 L98 {38 + fin} Q90 62 98 {86 + fin}Z", v.jitter("#f59a3c"))
    fins = ball(v, "M36 40 Q50 18 66 44Z", "#f59a3c") + ball(v, "M40 84 Q50 100 62 82Z", "#f59a3c")
    body = ball(v, "M4 64 C14 24 66 28 80 62 C66 98 14 98 4 64Z", teal)
    stripes = '<path d="M40 37 Q50 62 40 89 M56 41 Q64 62 56 85" fill="none" stroke="#f7f0dc" stroke-width="5" stroke-linecap="round"/>'
    eye = '<circle cx="22" cy="56" r="8" fill="#fff" stroke="#14585c" stroke-width="1.8"/><circle cx="20.5" cy="56" r="4.6" fill="#241a24"/><circle cx="19" cy="54" r="1.6" fill="#fff"/>'
    return [Layer("body", tail + fins + body + stripes + eye + smile(14, 71, 5, 3))]


@drawing("turtle", "animal", size=0.95)
def turtle(v: Variation) -> list[Layer]:
    green, shell, lift = v.jitter("#8fc46a"), v.jitter("#8a6a3a"), v.uniform(-4, 4)
    legs = ball(v, "M18 84 H36 V98 H18Z", green) + ball(v, "M58 84 H76 V98 H58Z", green)
    head = ball(v, f"M70 {76 + lift} Q70 {46 + lift} 84 {46 + lift} Q100 {48 + lift} 98 {64 + lift} Q94 {74 + lift} 82 {78 + lift}Z", green)
    dome = ball(v, "M4 86 C4 26 80 26 82 86 Q42 94 4 86Z", shell)
    plates = f'<path d="M30 48 L54 48 L62 66 L52 84 H34 L22 66Z M30 48 L22 42 M54 48 L62 42 M62 66 L78 70 M22 66 L8 70" fill="{lighten(shell, 0.25)}" stroke="{darken(shell, 0.4)}" stroke-width="2.4"/>'
    face = f'<circle cx="87" cy="{56 + lift}" r="4.4" fill="#241a24"/><circle cx="85.6" cy="{54.6 + lift}" r="1.5" fill="#fff"/>' + smile(91, 66 + lift, 4, 2, 2.2)
    return [Layer("body", legs + head + dome + plates + face)]


@drawing("bird", "animal", colours("red", "blue", "yellow"), size=0.8)
def bird(v: Variation, colour: str) -> list[Layer]:
    shade, tilt = v.uniform(0, 0.1), v.uniform(-6, 6)
    base = darken(PALETTE[colour], shade)
    legs = '<path d="M42 84 V98 M56 84 V98 M36 98 H46 M50 98 H62" stroke="#d98a24" stroke-width="3.4" stroke-linecap="round"/>'
    tail = ball(v, "M72 62 L99 50 L96 72 L74 78Z", darken(base, 0.2))
    body = ball(v, "M34 6 C62 6 62 34 78 50 C92 78 64 90 48 88 C20 86 8 62 12 34 C13 16 22 6 34 6Z", base)
    belly = f'<path d="M20 48 Q40 60 44 84 Q20 78 20 48Z" fill="{lighten(base, 0.55)}"/>'
    wing = ball(v, "M44 46 Q80 44 78 70 Q56 78 44 46Z", darken(base, 0.22))
    beak = '<path d="M14 26 L-2 33 L15 38Z" fill="#f6a52c" stroke="#a8661a" stroke-width="2" stroke-linejoin="round"/>'
    eye = '<circle cx="28" cy="25" r="5.4" fill="#241a24"/><circle cx="26.4" cy="23.2" r="1.9" fill="#fff"/>'
    return [Layer("body", f'<g transform="rotate({tilt} 50 90) translate(2 0)">{legs}{tail}{body}{belly}{wing}{beak}{eye}</g>')]
