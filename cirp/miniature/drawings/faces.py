"""Faces that are sad, happy or angry."""

from cirp.miniature.drawings.animals import cheeks, smile
from cirp.miniature.drawings.fruit import ball
from cirp.miniature.kinds import Attribute, drawing
from cirp.miniature.svg import Layer, Variation, darken


def expression(*states: str) -> Attribute:
    return Attribute(
        "expression", states, "{state} {noun}", part="expression", edit="change expression"
    )


def look(state: str, y: float, apart: float, mouth: float, ink: str = "#2b1c26", r: float = 5) -> str:
    """Brows, eyes and a mouth: the whole mood of a face around x = 50."""
    eye = "".join(
        f'<circle cx="{50 + s * apart}" cy="{y}" r="{r}" fill="{ink}"/>'
        f'<circle cx="{50 + s * apart - 1.6}" cy="{y - 1.8}" r="{r * 0.34}" fill="#fff"/>'
        for s in (-1, 1)
    )
    slant = {"sad": 5, "happy": 0, "angry": -6}[state]
    brows = "".join(
        f'<path d="M{50 + s * (apart - 8)} {y - 11 - slant} L{50 + s * (apart + 7)} {y - 11 + slant}" '
        f'stroke="{ink}" stroke-width="3.6" stroke-linecap="round"/>'
        for s in (-1, 1)
    )
    if state == "happy":
        return eye + brows + (
            f'<path d="M36 {mouth - 4} Q50 {mouth} 64 {mouth - 4} Q60 {mouth + 12} 50 {mouth + 12} Q40 {mouth + 12} 36 {mouth - 4}Z" '
            f'fill="#8a1f30" stroke="{ink}" stroke-width="2.4" stroke-linejoin="round"/>'
            f'<path d="M42 {mouth + 7} Q50 {mouth + 1} 58 {mouth + 7} Q50 {mouth + 13} 42 {mouth + 7}Z" fill="#ff7f8e"/>'
        ) + cheeks(50, y + 10, apart + 8, 5)
    if state == "sad":
        tear = f'<path d="M{50 - apart} {y + 6} q6 10 0 14 q-6 -4 0 -14Z" fill="#6fc0f5" stroke="#2f7fc0" stroke-width="1.6"/>'
        return eye + brows + tear + smile(50, mouth + 8, 11, -5, 3.4)
    return eye + brows + f'<path d="M38 {mouth + 6} L44 {mouth} L50 {mouth + 5} L56 {mouth} L62 {mouth + 6}" fill="none" stroke="{ink}" stroke-width="3.4" stroke-linejoin="round" stroke-linecap="round"/>'


SKINS = ("#f6cfae", "#e2a87c", "#b97a50", "#8a5638")


@drawing("boy", "face", expression("sad", "happy", "angry"), size=1.05)
def boy(v: Variation, expression: str) -> list[Layer]:
    skin, hair, shirt = v.jitter(v.choice(SKINS)), v.choice(("#4a2f22", "#2a2226", "#b5651d")), v.choice(("#4f9ad8", "#58b368", "#e0803a"))
    tuft = v.uniform(-6, 6)
    body = ball(v, "M10 99 Q12 78 38 76 H62 Q88 78 90 99Z", shirt) + ball(v, "M41 66 H59 V80 Q50 88 41 80Z", skin)
    ears = "".join(ball(v, f"M{50 + s * 33} 42 a8 8 0 0 {1 if s > 0 else 0} 0 16Z", skin) for s in (-1, 1))
    head = ball(v, "M50 8 C90 8 86 76 50 76 C14 76 10 8 50 8Z", skin)
    cap = ball(v, f"M15 42 Q8 2 50 3 Q92 2 85 42 Q80 24 {62 + tuft} 26 Q{50 + tuft} 12 {40 + tuft} 26 Q22 24 15 42Z", hair)
    return [Layer("body", body + ears + head), Layer("expression", look(expression, 44, 15, 60)), Layer("hair", cap)]


@drawing("girl", "face", expression("sad", "happy", "angry"), size=1.05)
def girl(v: Variation, expression: str) -> list[Layer]:
    skin, hair, dress = v.jitter(v.choice(SKINS)), v.choice(("#c9702c", "#3a2620", "#e8b84a")), v.choice(("#e8568a", "#9a62c9", "#e8c23c"))
    swing = v.uniform(-4, 4)
    tails = "".join(ball(v, f"M{50 + s * 34} 36 Q{50 + s * 56} {40 + swing} {50 + s * 44} 76 Q{50 + s * 30} 70 {50 + s * 32} 46Z", hair) + f'<circle cx="{50 + s * 36}" cy="40" r="6" fill="{dress}" stroke="{darken(dress, 0.4)}" stroke-width="2"/>' for s in (-1, 1))
    body = ball(v, "M12 99 Q16 80 38 77 H62 Q84 80 88 99Z", dress) + ball(v, "M42 66 H58 V80 Q50 87 42 80Z", skin)
    head = ball(v, "M50 10 C88 10 84 76 50 76 C16 76 12 10 50 10Z", skin)
    fringe = ball(v, "M16 44 Q10 4 50 5 Q90 4 84 44 Q76 22 50 24 Q24 22 16 44Z", hair)
    return [Layer("body", tails + body + head), Layer("expression", look(expression, 46, 14, 61)), Layer("hair", fringe)]


@drawing("snowman", "face", expression("sad", "happy"), size=1.1)
def snowman(v: Variation, expression: str) -> list[Layer]:
    white, scarf, tilt = v.jitter("#eef3f8"), v.choice(("#d8383f", "#3f8fd0", "#49a35a")), v.uniform(-6, 6)
    body = ball(v, "M50 56 C90 56 92 99 50 99 C8 99 10 56 50 56Z", white) + "".join(f'<circle cx="50" cy="{y}" r="3" fill="#33303a"/>' for y in (80, 90))
    arms = "".join(f'<path d="M{50 + s * 28} 74 L{50 + s * 47} 60 M{50 + s * 40} 65 l{s * 7} 3" stroke="#6b4a2b" stroke-width="3.6" stroke-linecap="round"/>' for s in (-1, 1))
    head = ball(v, "M50 14 C84 14 84 66 50 66 C16 66 16 14 50 14Z", white)
    wrap = f'<path d="M24 60 Q50 76 76 60 L78 69 Q50 84 22 69Z M62 70 L74 92 L63 94 L55 74Z" fill="{scarf}" stroke="{darken(scarf, 0.4)}" stroke-width="2"/>'
    hat = f'<g transform="rotate({tilt} 50 16)"><rect x="32" y="-2" width="36" height="20" rx="3" fill="#3a3540"/><rect x="32" y="10" width="36" height="6" fill="{scarf}"/><rect x="22" y="15" width="56" height="6" rx="3" fill="#3a3540"/></g>'
    nose = '<path d="M50 40 L70 46 L50 48Z" fill="#f08a2c" stroke="#a8560f" stroke-width="1.8" stroke-linejoin="round"/>'
    return [Layer("body", arms + body + head + wrap + hat), Layer("expression", look(expression, 36, 13, 52, r=4.6)), Layer("nose", nose)]


@drawing("pumpkin", "face", expression("happy", "angry"), size=0.95)
def pumpkin(v: Variation, expression: str) -> list[Layer]:
    orange, lean = v.jitter("#ee8427"), v.uniform(-8, 8)
    lobes = "".join(ball(v, f"M{x} 28 C{x + w} 28 {x + w} 98 {x} 98 C{x - w} 98 {x - w} 28 {x} 28Z", orange) for x, w in ((24, 28), (76, 28), (36, 28), (64, 28), (50, 26)))
    stalk = f'<path d="M44 32 Q46 20 {42 + lean} 12 L{54 + lean} 10 Q54 22 57 32Z" fill="#5d8a3a" stroke="#35541f" stroke-width="2.2"/>'
    glow, ink = "#ffd75a", "#5a2508"
    if expression == "happy":
        carve = "".join(f'<path d="M{50 + s * 20 - 9} 60 Q{50 + s * 20} 44 {50 + s * 20 + 9} 60Z" fill="{glow}" stroke="{ink}" stroke-width="2.6" stroke-linejoin="round"/>' for s in (-1, 1)) + f'<path d="M22 70 Q50 82 78 70 Q70 92 50 92 Q30 92 22 70Z" fill="{glow}" stroke="{ink}" stroke-width="2.6" stroke-linejoin="round"/>'
    else:
        carve = "".join(f'<path d="M{50 + s * 34} 46 L{50 + s * 10} 58 L{50 + s * 28} 62Z" fill="{glow}" stroke="{ink}" stroke-width="2.6" stroke-linejoin="round"/>' for s in (-1, 1)) + f'<path d="M20 84 L30 72 L40 82 L50 72 L60 82 L70 72 L80 84 L66 88 L58 80 L50 90 L42 80 L34 88Z" fill="{glow}" stroke="{ink}" stroke-width="2.6" stroke-linejoin="round"/>'
    return [Layer("body", stalk + lobes), Layer("expression", carve)]
