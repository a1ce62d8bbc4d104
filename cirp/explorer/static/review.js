// The review of a draw: keep, drop, correct, paint, undo. Draws what `cirp.explorer.reviewing` sends
// and asks with one small message; Python answers by a new `state`.
// `shared.js` of the players and `controls.js` stand before it.

function render({ model, el }) {
  el.classList.add("cirp-live", "cirp-review");
  el.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys
  el.addEventListener("keydown", (event) => event.stopPropagation());

  let state = model.get("state"), source = null, region = null, touched = false;
  let brush = 14, erasing = false, cursor = null, painting = false;

  const said = element("p", { class: "cirp-said", role: "status", "aria-live": "polite" });
  const bar = element("progress", { max: 1, value: 0, "aria-label": "Edits that are decided" });
  const count = element("output", {});
  const origin = element("p", { class: "cirp-origin" });
  const instruction = element("input", {
    type: "text", maxlength: 1000, "aria-label": "Instruction", placeholder: "what to do with this picture",
    keydown: (event) => { if (event.key === "Enter") decide("keep"); },
  });

  const send = (kind, more = {}, buffers = []) => {
    busy(true);
    model.send({ kind, id: state.id, ...more }, undefined, buffers);
  };
  const decide = (kind) => send(
    kind, { instruction: instruction.value, painted: touched },
    touched ? [Uint8Array.from(region).buffer] : [],
  );
  const button = (text, act, more = {}) => element("button", { type: "button", click: act, ...more }, text);
  const keep = button("Keep", () => decide("keep"), { class: "cirp-go", title: "K on the picture" });
  const drop = button("Drop", () => decide("drop"), { title: "D on the picture" });
  const undo = button("Undo", () => send("undo"), { title: "U on the picture" });
  const clear = button("no region", () => { region.fill(0); touched = true; draw(); });
  const mode = toggle("erase", (on) => { erasing = on; });
  const width = dial("brush", { min: 2, max: 80, step: 1, value: brush, said: (v) => `${v} px` }, (v) => { brush = v; draw(); });
  const picture_ = choice("edit", [], (index) => send("show", { id: state.items[index][0] }));
  const out = element("input", { type: "text", "aria-label": "Folder for what is kept", placeholder: "folder for what is kept" });
  const finish = button("Write what is kept", () => send("finish", { out: out.value }));
  const busy = (on) => { for (const one of [keep, drop, undo]) one.disabled = on; };

  // ---- the picture, painted on with mouse, finger or keys
  const canvas = element("canvas", {
    tabindex: 0, role: "application", class: "cirp-paint",
    "aria-label": "Picture. Paint the region that may change: drag, or move with the arrow keys and paint with space. "
      + "K keeps, D drops, U undoes, E erases.",
  });
  const context = canvas.getContext("2d");
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
  };
  const stamp = ([x, y]) => {
    const [columns, rows] = state.size, radius = brush / 2;
    for (let r = Math.max(0, Math.floor(y - radius)); r < Math.min(rows, y + radius); r++) {
      for (let c = Math.max(0, Math.floor(x - radius)); c < Math.min(columns, x + radius); c++) {
        if ((c + 0.5 - x) ** 2 + (r + 0.5 - y) ** 2 <= radius ** 2) region[r * columns + c] = erasing ? 0 : 1;
      }
    }
    touched = true;
  };
  const line = (from, to) => {
    const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / Math.max(1, brush / 4)));
    for (let i = 1; i <= steps; i++) stamp([from[0] + ((to[0] - from[0]) * i) / steps, from[1] + ((to[1] - from[1]) * i) / steps]);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    painting = true; cursor = at(event); stamp(cursor); draw(); event.preventDefault(); canvas.focus();
  });
  canvas.addEventListener("pointermove", (event) => {
    const next = at(event);
    if (painting) line(cursor, next);
    cursor = next; draw();
  });
  canvas.addEventListener("pointerup", () => { painting = false; });
  canvas.addEventListener("pointercancel", () => { painting = false; });
  canvas.addEventListener("pointerleave", () => { if (!painting) { cursor = null; draw(); } });
  canvas.addEventListener("keydown", (event) => {
    const step = Math.max(1, brush / 2), [columns, rows] = state.size;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const acts = { k: keep, d: drop, u: undo };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    cursor ??= [columns / 2, rows / 2];
    if (moves[key]) {
      cursor = [Math.min(columns, Math.max(0, cursor[0] + moves[key][0])), Math.min(rows, Math.max(0, cursor[1] + moves[key][1]))];
      if (event.shiftKey) stamp(cursor); // held: paints along
    } else if (key === " ") stamp(cursor);
    else if (key === "e") { erasing = !erasing; mode.put(erasing); }
    else if (key === "[" || key === "]") { brush = Math.min(80, Math.max(2, brush + (key === "]" ? 2 : -2))); width.put(brush); }
    else if (acts[key]) { if (!acts[key].disabled) acts[key].click(); }
    else return;
    event.preventDefault();
    draw();
  });

  function draw() {
    if (!source) return;
    const [columns, rows] = state.size;
    context.drawImage(source, 0, 0, columns, rows);
    if (region.some((cell) => cell)) { // what may change is tinted, its border drawn
      const shown = context.getImageData(0, 0, columns, rows), data = shown.data;
      for (let i = 0; i < region.length; i++) {
        if (!region[i]) continue;
        const c = i % columns;
        const edge = !region[i - 1] || !region[i + 1] || !region[i - columns] || !region[i + columns] || !c || c === columns - 1;
        const tint = edge ? [255, 255, 255, 1] : [0, 114, 178, 0.45];
        for (let k = 0; k < 3; k++) data[4 * i + k] = data[4 * i + k] * (1 - tint[3]) + tint[k] * tint[3];
      }
      context.putImageData(shown, 0, 0);
    }
    if (cursor) {
      context.lineWidth = Math.max(1, columns / 256);
      context.strokeStyle = erasing ? "#fff" : "#000";
      context.beginPath(); context.arc(...cursor, brush / 2, 0, 7); context.stroke();
    }
  }

  async function show() {
    const mine = (state = model.get("state"));
    said.classList.toggle("wrong", !!state.wrong);
    if (state.wrong) { said.textContent = state.said; busy(false); return; } // what was typed and painted stays
    const done = state.items.filter((one) => one[1]).length, kept = state.items.filter((one) => one[1] === "keep").length;
    bar.max = state.items.length; bar.value = done;
    count.textContent = `${done} of ${state.items.length} decided, ${kept} kept`;
    const marks = { keep: "kept", drop: "dropped", "": "open" };
    picture_.fill(state.items.map(([id, verdict]) => `${id} (${marks[verdict]})`));
    picture_.put(state.items.findIndex((one) => one[0] === state.id));
    instruction.value = state.instruction;
    origin.textContent = [state.origin, state.caption && `shows: ${state.caption}`].filter(Boolean).join(" · ");
    const everything = done === state.items.length;
    finish.disabled = out.disabled = !everything;
    said.textContent = state.said || (everything ? "all are decided" : "");
    const [columns, rows] = state.size;
    region = state.mask ? Array.from(state.mask, Number) : new Array(columns * rows).fill(0);
    touched = painting = false;
    width.range(Math.max(8, Math.round(Math.max(columns, rows) / 3)));
    brush = Math.max(2, Math.round(Math.max(columns, rows) / 12)); width.put(brush);
    const opened = await picture(state.picture);
    if (mine !== state) return; // another edit was asked for meanwhile
    source = opened; canvas.width = columns; canvas.height = rows;
    canvas.style.width = `min(100%, ${(75 * columns) / rows}vh)`; // a tall picture is seen whole
    canvas.style.imageRendering = Math.max(columns, rows) < 256 ? "pixelated" : "auto";
    busy(false); draw();
  }

  const panel = element("div", { class: "cirp-panel" },
    element("div", { class: "cirp-row" }, bar, count), picture_, origin,
    element("div", { class: "cirp-row" }, instruction),
    element("div", { class: "cirp-row" }, keep, drop, undo), said,
    element("strong", { class: "cirp-head" }, "region that may change"),
    width, element("div", { class: "cirp-row" }, mode, clear),
    element("strong", { class: "cirp-head" }, "when all are decided"),
    element("div", { class: "cirp-row" }, out, finish));
  const stage = element("div", { class: "cirp-stage" }, canvas);
  el.append(stage, panel);
  const changed = () => { show(); };
  model.on("change:state", changed);
  show();
  return () => model.off("change:state", changed);
}

export default { render };
