// The first minute with the explorer: run, see where it strayed, stop it. Says what is next, and does it on a click.

/**
 * `can` does what the buttons of the explorer do: run, show, hold. `facts()` says how far the reader is: `going`,
 * `ran` and `held` (runs that ended, plain and held), `looked` (at what changed), `from` and `to` (change outside,
 * before and now), `possible` (there is a true region).
 */
function tour(can, facts) {
  const text = element("span", { role: "status", "aria-live": "polite" });
  const go = element("button", { type: "button", class: "cirp-go" });
  const made = element("p", { class: "cirp-tour" }, text, go,
    element("button", { type: "button", "aria-label": "Close this guide", click: () => { closed = true; update(); } }, "×"));
  let closed = false, act = null;
  go.addEventListener("click", () => act?.());

  function next({ ran, held, looked, from, to }) {
    if (held) return [`Outside, the change went from ${from} to ${to}. Wipe with this run | before; then try the same by guidance or by attention alone.`];
    if (ran && looked) return ["3 of 3. Stop it: outside of the true region keep the latents of the input, and run again.", "constrain it and run", can.hold];
    if (ran) return ["2 of 3. Where did it stray? What is bright outside the white line nobody asked for.", "show what it changed", can.show];
    return ["1 of 3. Let the model do what the instruction says, and watch the picture form.", "run it", can.run];
  }

  function update() {
    const known = facts();
    made.hidden = closed || !known.possible;
    if (made.hidden) return;
    const [words, label, does] = next(known);
    if (text.textContent !== words) text.textContent = words;
    go.hidden = !does; go.textContent = label ?? ""; go.disabled = known.going;
    act = does;
  }
  made.update = update;
  return made;
}
