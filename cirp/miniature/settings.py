"""Places: textured, so that an unwanted change shows, and calm enough to stand in front of."""

from cirp.miniature.kinds import setting
from cirp.miniature.svg import Variation, darken, lighten


def rect(x: float, y: float, w: float, h: float, paint: str, more: str = "") -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{paint}" {more}/>'


def cloud(x: float, y: float, size: float, paint: str = "#ffffff") -> str:
    return "".join(
        f'<ellipse cx="{x + dx * size:.1f}" cy="{y + dy * size:.1f}" rx="{r * size:.1f}" '
        f'ry="{r * 0.7 * size:.1f}" fill="{paint}" opacity="0.85"/>'
        for dx, dy, r in ((-0.8, 0.1, 0.6), (0, -0.2, 0.8), (0.8, 0.1, 0.65))
    )


def hill(v: Variation, y: float, bump: float, paint: str) -> str:
    a, b = v.uniform(-bump, bump), v.uniform(-bump, bump)
    return f'<path d="M0 {y} C25 {y - 8 + a:.1f} 40 {y + 6 + b:.1f} 60 {y - 2:.1f} S90 {y - 6 - a:.1f} 100 {y} V100 H0Z" fill="{paint}"/>'


def blobs(v: Variation, n: int, box: tuple, size: tuple, paint: str, opacity: float = 0.5) -> str:
    """Soft flat spots scattered over a box (left, top, right, bottom)."""
    left, top, right, bottom = box
    found = ""
    for _ in range(n):
        x, y, r = v.uniform(left, right), v.uniform(top, bottom), v.uniform(*size)
        found += f'<ellipse cx="{x:.1f}" cy="{y:.1f}" rx="{r:.1f}" ry="{r * 0.42:.1f}" fill="{paint}" opacity="{opacity}"/>'
    return found


@setting("trampoline", "on a trampoline", (80, 88))
def trampoline(v: Variation) -> str:
    sky, rim, y = v.jitter("#a9dcf2", 0.02), v.choice(("#f0862c", "#e8c23c", "#ef6f9a")), v.uniform(74, 78)
    mat = v.jitter("#3c4f86", 0.03)
    weave = "".join(f'<path d="M{-20 + 12 * i} 100 L{14 + 7.2 * i:.1f} {y - 14:.1f}" stroke="{lighten(mat, 0.18)}" stroke-width="1.6"/>' for i in range(13))
    springs = "".join(f'<path d="M{x} {y - 20 + abs(x - 50) * 0.16:.1f} l{(x - 50) * 0.05:.1f} 5" stroke="#e9eef4" stroke-width="2"/>' for x in range(6, 100, 8))
    mesh = v.clip(f'<ellipse cx="50" cy="{y + 8:.1f}" rx="54" ry="25"/>')
    return (
        rect(0, 0, 100, 100, v.linear(darken(sky, 0.06), lighten(sky, 0.4)))
        + cloud(v.uniform(10, 90), v.uniform(10, 24), 9)
        + hill(v, 54, 5, v.jitter("#7dbb5e"))
        + f'<ellipse cx="50" cy="{y + 8:.1f}" rx="60" ry="30" fill="{rim}" stroke="{darken(rim, 0.35)}" stroke-width="2"/>'
        + f'<ellipse cx="50" cy="{y + 8:.1f}" rx="54" ry="25" fill="{v.linear(lighten(mat, 0.12), mat)}"/>'
        + f'<g clip-path="{mesh}">{weave}</g>' + springs
    )


@setting("wooden table", "on a wooden table", (80, 90))
def wooden_table(v: Variation) -> str:
    wood, wall, y = v.jitter("#b9783f"), v.jitter("#e9d3ae", 0.03), v.uniform(58, 64)
    shift = v.uniform(0, 14)
    seams = "".join(f'<path d="M{-60 + shift + 22 * i:.1f} 100 L{10 + shift * 0.4 + 10 * i:.1f} {y:.1f}" stroke="{darken(wood, 0.42)}" stroke-width="1.8"/>' for i in range(11))
    grain = blobs(v, 9, (0, y + 5, 100, 98), (5, 10), darken(wood, 0.25), 0.45)
    stripes = "".join(rect(x + shift * 0.5, 0, 7, y, darken(wall, 0.08)) for x in range(-8, 100, 14))
    return rect(0, 0, 100, y, wall) + stripes + rect(0, y, 100, 100 - y, v.linear(lighten(wood, 0.18), darken(wood, 0.1))) + grain + seams + rect(0, y, 100, 2.6, lighten(wood, 0.35))


@setting("grass", "on the grass", (80, 90))
def grass(v: Variation) -> str:
    sky, green, y = v.jitter("#8ecdf0", 0.02), v.jitter("#63b04a"), v.uniform(54, 62)
    tufts = "".join(
        f'<path d="M{x:.1f} {h:.1f} l-3 -7 l3.4 4 l1 -7 l2 7 l4 -4 l-3.4 7Z" fill="{darken(green, 0.22)}"/>'
        for x, h in [(v.uniform(0, 100), v.uniform(y + 8, 100)) for _ in range(16)]
    )
    blooms = "".join(f'<circle cx="{v.uniform(2, 98):.1f}" cy="{v.uniform(y + 6, 97):.1f}" r="1.7" fill="{c}"/>' for c in ("#fff", "#ffe066", "#fff", "#ffb0c8", "#ffe066"))
    clouds = cloud(v.uniform(8, 40), v.uniform(10, 26), 10) + cloud(v.uniform(58, 94), v.uniform(10, 30), 8)
    return rect(0, 0, 100, 100, v.linear(sky, lighten(sky, 0.55))) + clouds + hill(v, y - 5, 4, darken(green, 0.2)) + hill(v, y, 3, v.linear(lighten(green, 0.2), green)) + tufts + blooms


@setting("beach", "on the beach", (80, 90))
def beach(v: Variation) -> str:
    sand, sea, y = v.jitter("#f0d79b"), v.jitter("#2f9fc4", 0.02), v.uniform(60, 66)
    top = y - v.uniform(20, 26)
    waves = "".join(f'<path d="M-5 {top + 6 + 6 * i:.1f} q8 -3.4 16 0 t16 0 t16 0 t16 0 t16 0 t16 0 t16 0" fill="none" stroke="#d8f3fb" stroke-width="1.6" opacity="0.75" transform="translate({v.uniform(-12, 0):.1f} 0)"/>' for i in range(3))
    sun = f'<circle cx="{v.uniform(12, 88):.1f}" cy="{v.uniform(10, 20):.1f}" r="8" fill="#ffe88a"/>'
    foam = f'<path d="M0 {y:.1f} q12 -5 25 0 t25 0 t25 0 t25 0 V{y + 5:.1f} H0Z" fill="#fdfaf0"/>'
    spots = blobs(v, 14, (0, y + 8, 100, 99), (2, 6), darken(sand, 0.2), 0.6)
    return rect(0, 0, 100, 100, v.linear("#9bd8f2", "#e6f6f8")) + sun + rect(0, top, 100, 60, v.linear(darken(sea, 0.12), lighten(sea, 0.3))) + waves + rect(0, y + 2, 100, 60, v.linear(lighten(sand, 0.25), sand)) + foam + spots


@setting("night sky", "under the night sky", (82, 90))
def night_sky(v: Variation) -> str:
    deep, y = v.jitter("#1d2552", 0.03, 0.02), v.uniform(70, 76)
    stars = "".join(f'<circle cx="{v.uniform(2, 98):.1f}" cy="{v.uniform(2, 62):.1f}" r="{v.uniform(0.8, 1.7):.1f}" fill="#fff6cf"/>' for _ in range(26))
    mx, my = v.uniform(12, 88), v.uniform(12, 24)
    moon = f'<circle cx="{mx:.1f}" cy="{my:.1f}" r="9" fill="#fff2c4"/><circle cx="{mx - 3:.1f}" cy="{my - 2:.1f}" r="2" fill="#e8d79c"/><circle cx="{mx + 3:.1f}" cy="{my + 3:.1f}" r="1.5" fill="#e8d79c"/>'
    veil = blobs(v, 5, (0, 26, 100, 64), (12, 22), lighten(deep, 0.3), 0.3)
    ground = v.jitter("#2f4a5a")
    return rect(0, 0, 100, 100, v.linear(deep, lighten(deep, 0.25))) + veil + stars + moon + hill(v, y - 8, 5, darken(ground, 0.35)) + hill(v, y, 3, v.linear(ground, darken(ground, 0.3))) + blobs(v, 8, (0, y + 6, 100, 99), (3, 7), lighten(ground, 0.14), 0.5)


@setting("brick wall", "in front of a brick wall", (84, 91))
def brick_wall(v: Variation) -> str:
    brick, paving, y = v.jitter("#b5553f"), v.jitter("#a9a49c"), v.uniform(76, 80)
    dx, rows = v.uniform(0, 20), ""
    for r in range(9):
        for c in range(-1, 7):
            shade = v.uniform(-0.12, 0.14)
            paint = lighten(brick, shade) if shade > 0 else darken(brick, -shade)
            rows += rect(dx - 20 + 20 * c + (10 if r % 2 else 0), y - 9.2 - 9.4 * r, 18.4, 8, paint)
    slabs = "".join(f'<path d="M{-30 + dx + 26 * i:.1f} 100 L{4 + dx * 0.6 + 17 * i:.1f} {y:.1f}" stroke="{darken(paving, 0.3)}" stroke-width="1.8"/>' for i in range(7))
    return rect(0, 0, 100, 100, lighten(brick, 0.5)) + rows + rect(0, y, 100, 30, v.linear(darken(paving, 0.12), paving)) + slabs


@setting("snow", "in the snow", (80, 90))
def snow(v: Variation) -> str:
    sky, y = v.jitter("#b9cfe6", 0.02), v.uniform(56, 62)
    flakes = "".join(f'<circle cx="{v.uniform(0, 100):.1f}" cy="{v.uniform(0, 60):.1f}" r="{v.uniform(1, 1.9):.1f}" fill="#fff"/>' for _ in range(20))
    firs = "".join(
        f'<path d="M{x:.1f} {y - 20 - h:.1f} l7 12 h-4 l6 12 h-18 l6 -12 h-4Z" fill="#5f8a86"/>'
        for x, h in [(v.uniform(4, 96), v.uniform(-3, 5)) for _ in range(4)]
    )
    drifts = blobs(v, 9, (0, y + 6, 100, 99), (7, 14), "#c3d6ea", 0.7)
    return rect(0, 0, 100, 100, v.linear(sky, "#e8eff6")) + firs + hill(v, y - 3, 4, "#dbe7f2") + hill(v, y + 4, 4, v.linear("#ffffff", "#e6eef7")) + drifts + flakes


@setting("kitchen", "in a kitchen", (84, 91))
def kitchen(v: Variation) -> str:
    tile, top, y = v.jitter("#bfe0d4", 0.06), v.jitter("#7a5648"), v.uniform(76, 80)
    dx, dy, squares = v.uniform(0, 12), v.uniform(0, 12), ""
    for r in range(-1, 8):
        for c in range(-1, 10):
            shade = v.uniform(0, 0.3)
            squares += rect(dx + 12 * c, y - 12.4 - 12 * r + dy - 12, 10.8, 10.8, lighten(tile, shade), 'rx="1"')
    shelf = v.uniform(14, 20)
    board = rect(0, shelf, 100, 4, v.jitter("#a8733f")) + "".join(rect(x + v.uniform(-3, 3), shelf - 11, 8, 11, c, 'rx="2"') for x, c in ((8, "#e8824a"), (26, "#5f9fd0"), (68, "#e8c24a"), (84, "#c8607a")))
    return rect(0, 0, 100, y, darken(tile, 0.22)) + squares + board + rect(0, y, 100, 30, v.linear(lighten(top, 0.2), top)) + rect(0, y, 100, 3, lighten(top, 0.45)) + blobs(v, 9, (0, y + 6, 100, 98), (3, 7), darken(top, 0.25), 0.45)


@setting("desert", "in the desert", (80, 90))
def desert(v: Variation) -> str:
    sand, y = v.jitter("#e0944a"), v.uniform(54, 62)
    sun = f'<circle cx="{v.uniform(14, 86):.1f}" cy="{v.uniform(14, 30):.1f}" r="10" fill="#fff3c0"/>'
    ripples = "".join(f'<path d="M-5 {y + 12 + 7 * i:.1f} q14 {v.uniform(-6, -2):.1f} 28 0 t28 0 t28 0 t28 0" fill="none" stroke="{darken(sand, 0.2)}" stroke-width="2" opacity="0.7" transform="translate({v.uniform(-20, 0):.1f} 0)"/>' for i in range(5))
    x = v.uniform(4, 60)
    mesa = f'<path d="M{x:.1f} {y:.1f} l4 -18 h16 l3 8 h9 l4 10Z" fill="#b5643c"/>'
    return rect(0, 0, 100, 100, v.linear("#f7b267", "#fde3b0")) + sun + mesa + hill(v, y - 4, 5, darken(sand, 0.16)) + hill(v, y + 3, 5, v.linear(lighten(sand, 0.25), sand)) + ripples


@setting("city street", "on a city street", (84, 91))
def city_street(v: Variation) -> str:
    road, y = v.jitter("#6a6a74"), v.uniform(74, 78)
    houses, x = "", v.uniform(-14, 0)
    for _ in range(7):
        w, h, paint = v.uniform(15, 21), v.uniform(26, 62), v.choice(("#8f9fc0", "#b58fa8", "#9ab5a4", "#c4a98a"))
        houses += rect(x, y - h, w, h, paint)
        for r in range(6):
            for c in (0.2, 0.6):
                if 9 * r + 12 < h:
                    houses += rect(x + w * c, y - h + 5 + 9 * r, w * 0.22, 5, v.choice(("#fbe9a0", "#4f5f80", "#4f5f80")))
        x += w
    dx = v.uniform(0, 20)
    dashes = "".join(rect(dx - 20 + 26 * i, 92, 13, 2.6, "#f4efdc") for i in range(6))
    return rect(0, 0, 100, 100, v.linear("#c3d4ea", "#f3dfd2")) + houses + rect(0, y, 100, 5, "#b8b4ae") + rect(0, y + 5, 100, 30, v.linear(lighten(road, 0.1), darken(road, 0.15))) + dashes
