// Labelled controls of the explorer and the review. Python puts this file before theirs.

let unique = 0;

/** A slider with its name and value, in one labelled row. */
function dial(name, { min, max, step, value, said = String }, choose) {
  const id = `cirp-live-${++unique}`;
  const out = element("output", { for: id }, said(value));
  const input = element("input", { type: "range", id, min, max, step });
  input.value = value;
  input.addEventListener("input", () => { out.textContent = said(+input.value); choose(+input.value); });
  const made = element("div", { class: "cirp-row" }, element("label", { for: id }, name), input, out);
  made.put = (next) => { input.value = next; out.textContent = said(next); };
  made.range = (last) => { input.max = last; };
  made.use = (yes) => { input.disabled = !yes; };
  return made;
}

function toggle(name, choose) {
  const id = `cirp-live-${++unique}`;
  const input = element("input", { type: "checkbox", id });
  input.addEventListener("change", () => choose(input.checked));
  const made = element("span", { class: "cirp-toggle" }, input, element("label", { for: id }, name));
  made.put = (next) => { input.checked = next; };
  return made;
}

function choice(name, options, choose) {
  const id = `cirp-live-${++unique}`;
  const input = element("select", { id, change: () => choose(input.selectedIndex) });
  options.forEach((option) => input.add(new Option(option)));
  const made = element("div", { class: "cirp-row" }, element("label", { for: id }, name), input);
  made.fill = (next) => {
    const at = input.selectedIndex;
    input.replaceChildren(...next.map((option) => new Option(option)));
    input.selectedIndex = Math.max(0, Math.min(at, next.length - 1));
  };
  made.put = (index) => { input.selectedIndex = index; };
  return made;
}
