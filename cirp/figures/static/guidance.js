// One edit under many settings. Draws the state of `cirp.figures.explorers.GuidanceExplorer`.

/** The place of an edit in the list of all: items first, then the settings in order. */
function placeOf(item, chosen, counts) {
  return chosen.reduce((place, index, axis) => place * counts[axis] + index, item);
}

/** Change from one picture to another as greys: 0 where equal, white from half of full scale. */
function changeBetween(before, after) {
  const change = new Uint8ClampedArray(before.length);
  for (let i = 0; i < before.length; i += 4) {
    let sum = 0;
    for (let c = 0; c < 3; c++) sum += Math.abs(after[i + c] - before[i + c]);
    change.set([0, 1, 2].map(() => (2 * sum) / 3), i);
    change[i + 3] = 255;
  }
  return change;
}

function render({ model, el }) {
  host(el);
  const items = model.get("items"), settings = model.get("settings");
  const edits = model.get("edits"), scores = model.get("scores"), links = model.get("links") ?? [];
  const counts = settings.map((setting) => setting.values.length);

  const frame = (caption) => {
    const canvas = element("canvas", { role: "img" });
    const text = element("figcaption", {}, caption);
    return { canvas, text, figure: element("figure", {}, canvas, text) };
  };
  const input = frame("input"), edited = frame("edited"), answer = frame("exact answer");
  const item = choices(items.map((each) => each.name), (i) => put(model, "item", i));
  const sliders = settings.map((setting, axis) =>
    slider(setting.values.length - 1, (index) => {
      put(model, "chosen", model.get("chosen").map((old, i) => (i === axis ? index : old)));
    }));
  const values = settings.map(() => element("output"));
  const change = element("input", { type: "checkbox" });
  change.addEventListener("change", () => put(model, "change", change.checked));
  const said = element("output", { class: "cirp-said", "aria-live": "polite" });
  const live = element("a", { class: "cirp-link" }, "run it here, and between the points");

  el.append(
    element("div", { class: "cirp-frames" }, input.figure, edited.figure, answer.figure),
    element("div", { class: "cirp-panel" },
      row("Image and instruction", item),
      ...settings.map((setting, i) => row(setting.name, sliders[i], values[i])),
      row("Show what changed", change),
      said, live,
    ),
  );

  let turn = 0; // pictures are decoded in the background; only the latest choice is drawn
  async function draw() {
    const mine = ++turn;
    const i = model.get("item"), chosen = model.get("chosen"), place = placeOf(i, chosen, counts);
    const here = items[i];
    item.selectedIndex = i;
    change.checked = model.get("change");
    settings.forEach((setting, axis) => {
      sliders[axis].value = chosen[axis];
      values[axis].textContent = setting.values[chosen[axis]];
      sliders[axis].setAttribute("aria-valuetext", setting.values[chosen[axis]]);
    });
    const texts = Object.entries(scores[place] ?? {}).map(([name, value]) =>
      `${name} ${value == null ? "–" : Number(value.toPrecision(3))}`);
    said.textContent = texts.join(" · ");

    live.hidden = !links[place] || Boolean(model.widget_manager); // a notebook has no such page
    if (links[place]) live.href = links[place];

    const sources = [here.source, edits[place], here.target].map((uri) => uri && picture(uri));
    const [before, after, target] = await Promise.all(sources);
    if (mine !== turn) return;
    answer.figure.hidden = !target;
    paint(input, before, null);
    paint(edited, after, model.get("change") ? before : null);
    if (target) paint(answer, target, model.get("change") ? before : null);
    const state = settings.map((s, axis) => `${s.name} ${s.values[chosen[axis]]}`).join(", ");
    input.canvas.setAttribute("aria-label", `the input of: ${here.name}`);
    edited.canvas.setAttribute("aria-label", `${here.name}, edited with ${state}`);
    answer.canvas.setAttribute("aria-label", `the exact answer to: ${here.name}`);
    el.dataset.drawn = place;
  }

  function paint({ canvas, text }, image, before) {
    [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    const pixelsOf = (drawn) => {
      context.drawImage(drawn, 0, 0, canvas.width, canvas.height);
      return context.getImageData(0, 0, canvas.width, canvas.height);
    };
    const old = before && pixelsOf(before), now = pixelsOf(image);
    if (before) {
      now.data.set(changeBetween(old.data, now.data));
      context.putImageData(now, 0, 0);
    }
    const name = text.textContent.split(":")[0];
    text.textContent = before ? `${name}: change` : name;
  }

  return follow(model, ["item", "chosen", "change"], draw);
}

export default { render };
