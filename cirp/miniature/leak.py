"""What a leaking pair changes beside what was asked for."""

import random
from dataclasses import replace

from cirp.miniature.scene import Scene


def leaking(source: Scene, target: Scene, rng: random.Random) -> tuple[Scene, tuple[str, ...]]:
    """Return the target with one or two things changed that nobody asked for, and their names."""
    neighbours = [i for i, t in enumerate(target.things) if t in source.things]
    ways = ["light"]
    if target.setting == source.setting:
        ways += ["setting", "setting"]  # the commonest flaw of Prompt-to-Prompt pairs
    if neighbours:
        ways += ["neighbour"]
    chosen = tuple(dict.fromkeys(rng.sample(ways, min(len(ways), rng.choice((1, 1, 2))))))
    for way in chosen:
        if way == "setting":
            target = replace(target, seed=rng.getrandbits(31))
        elif way == "light":
            tint = rng.choice(("#ffb25a", "#2f4fa8", "#20142e", "#fff4d8"))
            target = replace(target, light=(tint, rng.uniform(0.12, 0.26)))
        else:
            i = rng.choice(neighbours)
            t = target.things[i]
            moved = replace(
                t,
                x=t.x + rng.uniform(-7, 7),
                size=t.size * rng.uniform(0.85, 1.15),
                seed=rng.getrandbits(31),
            )
            target = replace(target, things=target.things[:i] + (moved,) + target.things[i + 1 :])
    return target, chosen
