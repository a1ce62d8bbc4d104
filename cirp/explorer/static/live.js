// The explorer: choose, run, watch, intervene, run again. Draws what `cirp.explorer.widget` sends.
// `shared.js` of the players, `controls.js`, `drawing.js`, `maps.js`, `npz.js` and `tour.js` stand before it.

const BRANCHES = ["with the text", "image only", "neither"];
const HOLDS = ["keep", "gate", "hold", "paste"]; // of a request
const LENGTH = 77; // tokens of a prompt, with its padding
const MUCH = 0.5; // change at which the scale of changes ends

function render({ model, el }) {
  el.classList.add("cirp-live");
  el.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys
  el.addEventListener("keydown", (event) => event.stopPropagation());

  const items = [...model.get("items")], colours = bytesOf(model.get("colours"));
  const asked = { ...model.get("request") };
  asked.freeze = []; // a link brings no run before along
  let item = items.find((one) => one.id === asked.item) ?? items[0];
  let source = null, answer = null, run = null, before = null, layer = -1, step = null;
  let token = 1, pinned = false, hovered = null; // the last word chosen; its map is shown while it is chosen, or hovered
  const of = { branch: 0, head: -1 }; // whose maps are shown
  let opacity = 0.65, threshold = 0.5, outline = true, wipe = 1, view = "edit", painting = false;
  let region = asked.region ? (cellsOf(asked.region, item.size) ?? [...asked.region]) : null;
  if (region?.length !== item.size[0] * item.size[1]) region = null;
  let brush = 4, cursor = null, going = false, probed = null, looked = false;
  const live = model.get("engine") !== "page"; // a kernel is there

  // What is said to everybody, also to a screen reader: only beginnings, ends and errors.
  const said = element("p", { class: "cirp-said", role: "status", "aria-live": "polite" });
  const bar = element("progress", { max: 1, value: 0, "aria-label": "Progress of the run" });
  const say = (text, wrong = false) => { said.textContent = text; said.classList.toggle("wrong", wrong); };

  /** The request: without what is ticked but means nothing, since there is no region or the method holds by itself. */
  function requested() {
    const own = { ...asked, region: region && region.join(""), factors: { ...asked.factors } };
    const named = (asked.method ?? "ip2p") !== "ip2p";
    for (const name of HOLDS) own[name] &&= Boolean(region) && !named;
    if (named) own.freeze = [];
    const last = words.children.length - 1; // the chip of all padding
    if (last in own.factors) for (let i = last; i < LENGTH; i++) own.factors[i] = own.factors[last];
    return own;
  }
  const send = (kind) => model.send({ kind, request: requested() });
  const linked = () => ({ ...requested(), freeze: [], region: region && runsOf(region) });
  const remember = () => { model.set("request", requested()); model.save_changes(); };

  // ---- what is asked for
  const instruction = element("input", {
    type: "text", maxlength: 300, "aria-label": "Instruction", spellcheck: "false",
    change: () => { asked.instruction = instruction.value; asked.factors = {}; asked.swap = null; remember(); send("tokens"); },
    keydown: (event) => { if (event.key === "Enter") { instruction.dispatchEvent(new Event("change")); start(); } },
  });
  instruction.value = asked.instruction;
  const unknown = element("p", { class: "cirp-unknown" });
  const names = () => items.map((one) => `${one.instruction} (${one.id})`);
  const pictures = choice("picture", names(), (index) => take(items[index]));
  function take(next) {
    item = next;
    asked.item = item.id; asked.instruction = instruction.value = item.instruction;
    asked.factors = {}; asked.swap = null; asked.freeze = []; region = probed = null; run = before = null;
    code.hidden = true; looked = false;
    remember(); send("tokens"); open();
  }

  const reads = model.get("methods") ?? {}, methodNames = Object.keys(reads);
  const methods = choice("method", methodNames, (index) => { asked.method = methodNames[index]; remember(); usable(); });
  methods.put(Math.max(0, methodNames.indexOf(asked.method ?? "ip2p")));

  // ---- pictures that are brought along: a scene drawn anew, or one of the reader's own
  const wanted = { seed: Math.floor(Math.random() * 2 ** 31), kind: "any", setting: "any", count: 0 };
  const known = model.get("world") ?? { kinds: [], settings: [] };
  const ofScene = (label, name, options) => choice(label, options, (i) => { wanted[name] = options[i]; });
  const kinds = ofScene("kind of edit", "kind", ["any", ...known.kinds]);
  const places = ofScene("setting", "setting", ["any", ...known.settings]);
  const counts = choice("things", ["any", "1", "2", "3"], (i) => { wanted.count = i; });
  const drawn = element("button", { type: "button", click: () => {
    wanted.seed = (wanted.seed + 1) % 2 ** 31;
    say("Drawing a scene …");
    model.send({ kind: "scene", scene: wanted });
  } }, "draw a scene");
  async function bring(file, message = { kind: "picture" }) {
    if (!file) return;
    if (!["image/png", "image/jpeg", "image/webp"].includes(file.type)) { say("Give a picture: PNG, JPEG or WebP.", true); return; }
    if (file.size > 20e6) { say("Give a picture of at most 20 MB.", true); return; }
    const data = await file.arrayBuffer();
    say("Reading the picture …");
    model.send(message, undefined, [data]);
  }
  const files = (label, take) => {
    const made = element("input", { type: "file", accept: "image/png,image/jpeg,image/webp", "aria-label": label, change: () => { take(made.files[0]); made.value = ""; } });
    return made;
  };
  const chosen = files("A picture of your own", (file) => bring(file));
  // Another editor's edit of this picture: outside of its region the picture's own pixels are put back.
  const elsewhere = files("Another editor's output for this picture", (file) => bring(file, { kind: "repair", request: requested() }));
  el.addEventListener("dragover", (event) => event.preventDefault());
  el.addEventListener("drop", (event) => { event.preventDefault(); if (live) bring(event.dataTransfer.files[0]); });
  el.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files][0];
    if (live && file) { event.preventDefault(); bring(file); }
  });
  pictures.put(items.indexOf(item));
  const set = (name) => (value) => { asked[name] = value; remember(); };
  const dials = {
    text_scale: dial("text guidance", { min: 0, max: 15, step: 0.5, value: asked.text_scale }, set("text_scale")),
    image_scale: dial("image guidance", { min: 0, max: 4, step: 0.25, value: asked.image_scale }, set("image_scale")),
    steps: dial("steps", { min: 1, max: 50, step: 1, value: asked.steps }, set("steps")),
    strength: dial("noisy input", { min: 0, max: 1, step: 0.05, value: asked.strength ?? 0, said: (v) => (v === 0 ? "off" : v.toFixed(2)) }, (v) => { set("strength")(v); usable(); }),
  };
  /** A dial that the method does not read is out of use. */
  function usable() {
    const method = asked.method ?? "ip2p", known = reads[method] ?? Object.keys(dials);
    // From the noised input nothing stands beside, and image guidance multiplies nothing.
    const alone = method === "ip2p" && asked.strength > 0;
    for (const [name, made] of Object.entries(dials)) made.use(known.includes(name) && !(alone && name === "image_scale"));
  }
  usable();
  const runButton = element("button", { type: "button", class: "cirp-go", click: () => start() }, "Run");
  const cancel = element("button", { type: "button", disabled: true, click: () => model.send({ kind: "cancel" }) }, "Cancel");

  function start() {
    asked.instruction = instruction.value;
    remember();
    say(""); bar.value = 0;
    send("run");
  }

  function running(now) {
    going = now;
    cancel.disabled = !now;
    runButton.textContent = now ? "Run anew" : "Run";
    guide.update();
  }

  // ---- words
  const words = element("div", { class: "cirp-words", role: "group", "aria-label": "Words: choose one, weigh it" });

  function listWords(tokens) {
    token = Math.min(token, tokens.length - 1);
    words.replaceChildren(...tokens.map((name, position) => {
      const button = element("button", {
        type: "button", "aria-pressed": String(pinned && position === token),
        click: () => {
          pinned = !(pinned && position === token); token = position; hovered = null;
          listWords(tokens); draw(); words.children[position].firstChild.focus();
        },
        mouseenter: () => { hovered = position; draw(); },
        mouseleave: () => { hovered = null; draw(); },
        focus: () => { if (button.matches(":focus-visible")) { hovered = position; draw(); } },
        blur: () => { hovered = null; draw(); },
      }, name);
      const factor = asked.factors[position] ?? 1;
      const weight = element("input", {
        type: "range", min: 0, max: 4, step: 0.25, "aria-label": `attention to ${name}, times`,
        title: `attention to “${name}” × ${factor}`,
      });
      weight.value = factor;
      const shown = element("output", {}, factor === 1 ? "" : `× ${factor}`);
      weight.addEventListener("input", () => {
        const value = +weight.value;
        asked.factors = { ...asked.factors };
        if (value === 1) delete asked.factors[position]; else asked.factors[position] = value;
        shown.textContent = value === 1 ? "" : `× ${value}`;
        remember();
      });
      return element("span", { class: "cirp-word" }, button, weight, shown);
    }));
    listTrades(tokens);
  }

  const trades = choice("trade maps with", ["no word"], (index) => {
    asked.swap = index === 0 || index - 1 === token ? null : [token, index - 1];
    remember(); sayTrade();
  });
  /** The words' names, and with whom the chosen one trades. */
  function listTrades(tokens) {
    trades.fill(["no word", ...tokens.slice(0, -1)]);
    const other = asked.swap?.includes(token) ? asked.swap.find((one) => one !== token) : null;
    trades.put(other == null ? 0 : other + 1);
    sayTrade();
  }
  function sayTrade() {
    [...words.children].forEach((word, position) => word.classList.toggle("traded", asked.swap?.includes(position) ?? false));
  }

  // ---- the stage
  const canvas = element("canvas", {
    tabindex: 0, role: "application", "aria-label": "The picture, with the chosen word's attention over it. Click, or move with the arrow keys, to see what a cell attends to.",
  });
  const context = canvas.getContext("2d");
  const scale = element("canvas", { class: "cirp-scale", width: 256, height: 1, role: "img", "aria-label": "Colours of attention, from none to most" });
  const most = element("span", {}, ""), limits = element("div", { class: "cirp-limits" }, element("span", {}, "0"), scale, most);
  const fits = element("p", { class: "cirp-fits" });
  const strip = scale.getContext("2d").createImageData(256, 1);
  for (let i = 0; i < 256; i++) strip.data.set([...colours.subarray(3 * i, 3 * i + 3), 255], 4 * i);
  scale.getContext("2d").putImageData(strip, 0, 0);

  // The pictures by themselves, small, with nothing over them, and what changed, on one scale for all.
  const small = ["input", "this edit", "changed", "right answer"].map((name) => {
    const own = element("canvas", { width: 128, height: 128, role: "img", "aria-label": name });
    return { own, figure: element("figure", {}, own, element("figcaption", {}, name)) };
  });

  const changes = new WeakMap(); // picture -> what it changed, drawn
  function changedBy(picture) {
    if (!changes.has(picture)) changes.set(picture, heat(changeBetween(picture, source, item.size), colours, MUCH));
    return changes.get(picture);
  }

  function draw() {
    if (!source) return;
    const [width, height] = item.size;
    const made = run?.picture, changed = made && changedBy(made);
    [source, made, changed, answer].forEach((image, i) => {
      small[i].figure.hidden = !image;
      small[i].own.width = width > height ? 128 : Math.round((128 * width) / height);
      small[i].own.height = width > height ? Math.round((128 * height) / width) : 128;
      if (image) paintedOn(small[i].own.getContext("2d"), image);
    });
    canvas.width = 6 * width; canvas.height = 6 * height;
    const picture = run?.picture ?? source;
    paintedOn(context, view === "input" ? source : picture);
    if (view === "edit" && before?.picture && wipe < 1) {
      context.save();
      context.beginPath(); context.rect(wipe * canvas.width, 0, canvas.width, canvas.height); context.clip();
      paintedOn(context, before.picture);
      context.restore();
      context.fillStyle = "#fff"; context.fillRect(wipe * canvas.width - 1, 0, 2, canvas.height);
    }
    most.textContent = ""; fits.textContent = "";
    if (view === "changed") {
      paintedOn(context, heat(changeBetween(picture, before?.picture && wipe < 1 ? before.picture : source, item.size), colours, MUCH));
      most.textContent = `${MUCH} and more`;
    }
    const shown = hovered ?? (pinned ? token : null);
    limits.style.visibility = view === "changed" || (run?.steps.length && shown != null) ? "" : "hidden";
    if (run?.steps.length && view !== "changed" && opacity > 0 && shown != null && shown < run.tokens.length) {
      const at = step == null || !run.steps[step] ? null : step;
      const map = layer < 0 ? meanMap(run, shown, at, of) : mapOf(run, layer, shown, at, of);
      context.globalAlpha = opacity;
      paintedOn(context, heat(map, colours));
      context.globalAlpha = 1;
      most.textContent = Math.max(...map.values).toPrecision(2);
      if (item.mask) {
        const { iou, energy } = fit(map, item.mask, item.size, threshold);
        fits.textContent = `“${run.tokens[shown]}”: of its attention ${(100 * energy).toFixed(0)} % lies inside the true region; above ` +
          `${(100 * threshold).toFixed(0)} % of its peak it overlaps by ${iou.toFixed(2)} (IoU)`;
      }
      if (outline) {
        const peak = Math.max(...map.values);
        border(context, item.size, (x, y) => map.values[Math.floor((y * map.rows) / height) * map.columns + Math.floor((x * map.columns) / width)] >= threshold * peak, "#9ae6ff");
      }
    }
    if (item.mask && outline) border(context, item.size, (x, y) => item.mask[y * width + x] === "1", "#fff");
    if (run?.worked && outline && view !== "input") border(context, item.size, (x, y) => run.worked[y * width + x] === "1", "#ff8ad8");
    if (region) border(context, item.size, (x, y) => region[y * width + x] === "1", "#ffd400");
    if (probed && run?.steps.length) frame(context, probed[0] * 6 - 9, probed[1] * 6 - 9, 18);
    probe();
    if (cursor && painting) {
      context.strokeStyle = "#ffd400"; context.lineWidth = 2;
      context.strokeRect((cursor[0] - brush / 2) * 6, (cursor[1] - brush / 2) * 6, brush * 6, brush * 6);
    }
  }

  // ---- painting a region: pointer, touch, or arrow keys and space
  function paint([x, y], value) {
    const [width, height] = item.size, half = brush / 2;
    region ??= Array(width * height).fill("0");
    for (let row = Math.max(0, Math.round(y - half)); row < Math.min(height, y + half); row++)
      for (let column = Math.max(0, Math.round(x - half)); column < Math.min(width, x + half); column++)
        region[row * width + column] = value;
    draw();
  }
  const spot = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * item.size[0], ((event.clientY - box.top) / box.height) * item.size[1]];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!painting) return;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    paint(spot(event), event.shiftKey ? "0" : "1");
  });
  canvas.addEventListener("pointermove", (event) => { if (painting && event.buttons) paint(spot(event), event.shiftKey ? "0" : "1"); });
  canvas.addEventListener("pointerup", () => { if (painting) { held(); remember(); } });

  // ---- probing a cell: what it attends to, as bars
  const bars = element("div", { class: "cirp-bars", role: "img", hidden: true });
  function probe() {
    bars.hidden = !probed || !run?.steps.length;
    if (bars.hidden) return;
    const at = step == null || !run.steps[step] ? null : step, [x, y] = probed;
    const shares = run.tokens.map((_, position) => {
      const map = layer < 0 ? meanMap(run, position, at, of) : mapOf(run, layer, position, at, of);
      return map.values[Math.floor((y * map.rows) / item.size[1]) * map.columns + Math.floor((x * map.columns) / item.size[0])];
    });
    const peak = Math.max(...shares, 1e-12);
    bars.setAttribute("aria-label", `Attention of the cell at ${Math.round(x)}, ${Math.round(y)}: `
      + run.tokens.map((name, i) => `${name} ${(100 * shares[i]).toFixed(0)} %`).join(", "));
    bars.replaceChildren(...run.tokens.map((name, i) => element("div", { class: "cirp-row" },
      element("span", {}, name), element("meter", { min: 0, max: peak, value: shares[i] }),
      element("output", {}, `${(100 * shares[i]).toFixed(0)} %`))));
  }
  canvas.addEventListener("click", (event) => {
    if (painting || !run?.steps.length) return;
    probed = spot(event); draw();
  });
  canvas.addEventListener("keydown", (event) => {
    const cell = run?.layers.length ? item.size[0] / Math.max(...run.layers.map((one) => one.columns)) : 4;
    const moves = { ArrowLeft: [-cell, 0], ArrowRight: [cell, 0], ArrowUp: [0, -cell], ArrowDown: [0, cell] };
    if (painting || !run?.steps.length) return;
    if (event.key === "Escape") { probed = null; draw(); return; }
    if (!(event.key in moves)) return;
    event.preventDefault();
    probed = (probed ?? item.size.map((side) => side / 2)).map((at, i) => Math.min(Math.max(at + moves[event.key][i], 0), item.size[i] - 1));
    draw();
  });
  canvas.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: [-2, 0], ArrowRight: [2, 0], ArrowUp: [0, -2], ArrowDown: [0, 2] };
    if (!painting || (!(event.key in moves) && event.key !== " ")) return;
    event.preventDefault();
    cursor ??= item.size.map((side) => side / 2);
    if (event.key === " ") { paint(cursor, event.shiftKey ? "0" : "1"); held(); remember(); return; }
    cursor = cursor.map((at, i) => Math.min(Math.max(at + moves[event.key][i], 0), item.size[i]));
    draw();
  });

  const holds = [
    ["keep", "attention: outside, as without instruction"], ["gate", "guidance: inside only"],
    ["hold", "latents: outside, the input's"], ["paste", "pixels: outside, the input's"],
  ].map(([name, text]) => { const made = toggle(text, set(name)); made.put(Boolean(asked[name])); return made; });
  const paintButton = element("button", { type: "button", "aria-pressed": "false", click: () => {
    painting = !painting;
    paintButton.setAttribute("aria-pressed", String(painting));
    canvas.style.touchAction = painting ? "none" : "";
    if (painting) { say("Draw on the picture, or move with the arrow keys and paint with space; shift erases."); canvas.focus(); }
    draw();
  } }, "paint");
  const place = (next) => { region = next; held(); remember(); draw(); };
  /** A region that is there is used: by holding the latents, unless something else is ticked. */
  function held() {
    if (!region || HOLDS.some((name) => asked[name])) return;
    asked.hold = true; holds[HOLDS.indexOf("hold")].put(true);
  }

  // ---- results
  const scores = element("table", { class: "cirp-scores" });
  function table() {
    const how = (one) => (one.method !== "ip2p" ? one.method : one.strength > 0 ? `noisy input, ${one.strength}` : "");
    const called = (name, one) => (one && how(one) ? `${name} (${how(one)})` : name);
    const runs = [[called("this run", run), run], [called("the run before", before), before]].filter(([, one]) => one?.scores);
    scoreTable(scores, runs.map(([label, one]) => [label, one.scores]));
  }
  /** The run for papermill: the chapter of this explorer, executed with what is chosen. */
  function command() {
    const text = encodeURIComponent(JSON.stringify(linked())).replace(/[!'()*~]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
    code.hidden = false;
    code.textContent = `cirp notebooks 18_try_it --parameter request=run=${text} --out my-run`;
  }
  const code = element("pre", { class: "cirp-code", hidden: true, tabindex: 0 });
  const views = choice("shown", ["the edit", "what it changed", "the input"], (index) => {
    view = ["edit", "changed", "input"][index];
    looked ||= view === "changed" && Boolean(run?.scores);
    guide.update(); draw();
  });
  const layers = choice("layers", ["all, averaged"], (index) => { layer = index - 1; draw(); });
  const branches = choice("branch", BRANCHES.slice(0, 1), (index) => { of.branch = index; draw(); });
  const heads = choice("head", ["all, averaged"], (index) => { of.head = index - 1; draw(); });
  const freezes = choice("attention", ["of this run"], (index) => {
    asked.freeze = index === 0 ? [] : index === 1 ? run.layers.map((_, i) => i) : [index - 2];
    remember();
  });
  const times = dial("time", { min: 0, max: 1, step: 1, value: 0, said: (at) => (at === 0 ? "mean" : `step ${at}`) }, (at) => { step = at === 0 ? null : at - 1; draw(); });
  const wiper = dial("this run | before", { min: 0, max: 1, step: 0.01, value: 1, said: (at) => `${Math.round(100 * at)} %` }, (at) => { wipe = at; draw(); });
  wiper.hidden = true;

  // ---- the first minute, unless a link or a chapter brings an intervention along
  const plain = !HOLDS.some((name) => asked[name]) && !Object.keys(asked.factors).length && !asked.swap;
  const guide = tour({
    run: start,
    show: () => { views.put(1); views.querySelector("select").dispatchEvent(new Event("change")); },
    hold: () => {
      asked.hold = true; holds[HOLDS.indexOf("hold")].put(true);
      place([...item.mask]);
      start(); // what it changed stays in sight
    },
  }, () => {
    const strays = (one) => Object.entries(one?.scores ?? {}).find(([name]) => name.includes("outside"))?.[1];
    return {
      going, looked, possible: plain && Boolean(item.mask?.includes("1")) && item.outside !== "",
      ran: Boolean(run?.scores || before?.scores), held: Boolean(run?.scores && run.held && before?.scores && !before.held),
      from: strays(before)?.toFixed(3), to: strays(run)?.toFixed(3),
    };
  });

  el.append(guide, element("div", { class: "cirp-grid" },
    element("section", { class: "cirp-panel", "aria-label": "What is asked for" },
      pictures,
      live && element("details", { class: "cirp-more" }, element("summary", {}, "another picture"),
        kinds, places, counts, element("div", { class: "cirp-row" }, drawn),
        element("p", {}, "or one of your own: choose it, drop it here, or paste it"), chosen),
      live && element("details", { class: "cirp-more" }, element("summary", {}, "repair another editor's output"),
        element("p", {}, "Choose what another editor made of this picture. It is aligned, its region is found (or is the one you painted), and everywhere else the picture's own pixels are put back."), elsewhere),
      element("div", { class: "cirp-row" }, instruction), unknown,
      element("div", { class: "cirp-row" }, runButton, cancel, bar), said),
    element("section", { class: "cirp-panel", "aria-label": "How it is run" },
      live && methods,
      dials.text_scale, dials.image_scale, dials.steps,
      dial("seed", { min: 0, max: (model.get("seeds") ?? 21) - 1, step: 1, value: asked.seed }, set("seed")),
      dials.strength,
      element("strong", { class: "cirp-head" }, "Constrain it to a region"),
      element("div", { class: "cirp-row" }, paintButton,
        element("button", { type: "button", click: () => place(item.mask ? [...item.mask] : null) }, "the true one"),
        live && element("button", { type: "button", click: () => { say("Asking the model where the instruction acts …"); send("region"); } }, "find it (remap)"),
        element("button", { type: "button", click: () => place(null) }, "none")),
      ...holds,
      element("strong", { class: "cirp-head" }, "Freeze attention"), freezes,
    ),
    element("section", { class: "cirp-stage", "aria-label": "Picture and scores" }, canvas, limits,
      element("div", { class: "cirp-strip" }, ...small.map((one) => one.figure)), scores, wiper, fits, bars),
    element("section", { class: "cirp-panel", "aria-label": "Words and maps" },
      views, element("strong", { class: "cirp-head" }, "Words: point at one, or choose it"), words, trades,
      layers, heads, branches, times,
      dial("overlay", { min: 0, max: 1, step: 0.05, value: opacity, said: (v) => `${Math.round(100 * v)} %` }, (v) => { opacity = v; draw(); }),
      dial("threshold", { min: 0.05, max: 1, step: 0.05, value: threshold, said: (v) => `${Math.round(100 * v)} %` }, (v) => { threshold = v; draw(); }),
      (() => { const made = toggle("outlines", (on) => { outline = on; draw(); }); made.put(true); return made; })(),
      element("div", { class: "cirp-row" },
        model.get("engine") === "page"
          ? element("button", { type: "button", click: () => model.send({ kind: "link", request: linked() }) }, "as a link")
          : element("button", { type: "button", click: () => send("snippet") }, "as Python"),
        element("button", { type: "button", click: command }, "as a command"),
        element("button", { type: "button", click: () => run?.png && save(`${item.id}.png`, run.png, "image/png") }, "save picture"),
        element("button", { type: "button", click: () => run?.scores && run.steps.length && save(`${item.id}-maps.npz`, mapsOf(run), "application/zip") }, "save maps")),
      code,
    ),
  ));

  // ---- what Python says
  async function told(message, buffers) {
    if (message.kind === "tokens") {
      listWords(message.tokens);
      unknown.textContent = message.unknown.length ? `not among the words it was trained on: ${message.unknown.join(", ")}` : "";
    } else if (message.kind === "begin") {
      if (run?.scores) before = run;
      const held = Boolean(region) && HOLDS.some((name) => asked[name]);
      run = { steps: [], layers: [], picture: null, tokens: message.tokens, method: message.method ?? "ip2p", strength: asked.strength, held };
      if (message.steps === 1 && run.method !== "ip2p") bar.removeAttribute("value");
      times.range(message.steps); running(true); listWords(message.tokens);
      say("running");
    } else if (message.kind === "step") {
      if (!run) return;
      const raw = buffers[0], data = new Float32Array(raw.buffer.slice(raw.byteOffset, raw.byteOffset + raw.byteLength));
      if (!run.layers.length) {
        run.layers = message.layers;
        const called = message.layers.map((one, i) => `${one.name}, ${one.rows} x ${one.columns} (${i + 1})`);
        layers.fill(["all, averaged", ...called]);
        freezes.fill(["of this run", "all of the last run", ...called.map((name) => `${name}: of the last run`)]);
        branches.fill(BRANCHES.slice(0, Math.min(...message.layers.map((one) => one.branches))));
        heads.fill(["all, averaged", ...Array.from({ length: Math.max(...message.layers.map((one) => one.heads)) }, (_, i) => String(i + 1))]);
      }
      const own = run;
      own.steps[message.step] = { data, offsets: offsetsOf(message.layers, run.tokens.length) };
      bar.value = (message.step + 1) / message.steps;
      const picture = await bitmap(buffers[1]);
      if (own === run && !own.scores) { own.picture = picture; draw(); }
    } else if (message.kind === "done") {
      const own = run;
      own.png = buffers[0]; own.scores = message.scores; own.worked = message.worked;
      bar.value = 1;
      own.picture = await bitmap(buffers[0]);
      running(false); say("done");
      wiper.hidden = !before; table(); draw();
    } else if (message.kind === "cancelled") {
      run = before; running(false); say("cancelled"); draw();
    } else if (message.kind === "region") {
      place([...message.region]); say("Found. Run again: what is ticked below is constrained outside of it.");
    } else if (message.kind === "repaired") {
      const [came, kept] = await Promise.all(buffers.map(bitmap));
      const made = (method, picture, at) => ({ steps: [], layers: [], tokens: [], method, strength: 0, picture, png: buffers[at], scores: message.scores[at], worked: message.worked });
      before = made("as it came", came, 0); run = made("repaired", kept, 1);
      say(message.text);
      wiper.hidden = false; table(); draw();
    } else if (message.kind === "item") {
      items.push(message.item);
      pictures.fill(names()); pictures.put(items.length - 1);
      say("here it is"); take(message.item);
    } else if (message.kind === "loading") {
      say("loading the miniature"); bar.value = message.share; cancel.disabled = false;
    } else if (message.kind === "link") {
      code.hidden = false; code.textContent = message.text;
    } else if (message.kind === "snippet") {
      code.hidden = false; code.textContent = message.text;
    } else if (message.kind === "error") {
      running(false); say(message.text, true);
    }
  }
  model.on("msg:custom", told);

  async function open() {
    source = await picture(item.picture);
    answer = item.target ? await picture(item.target) : null;
    table(); draw(); guide.update();
  }
  send("tokens");
  open();
  return () => model.off("msg:custom", told);
}

export default { render };
