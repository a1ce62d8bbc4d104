// Cross-attention maps of a run, as they were sent: averaged, resized, and measured against a mask.

/** A region (cells of "0" and "1") as the lengths of its runs, the first of zeros: "100.8.56". */
function runsOf(cells) {
  const runs = [0];
  let last = "0";
  for (const one of cells) {
    if (one !== last) { runs.push(0); last = one; }
    runs[runs.length - 1]++;
  }
  return runs.length > 1 ? runs.join(".") : `${runs[0]}.0`;
}

/** The cells of a region in runs; null if they are not as many as the picture has pixels. */
function cellsOf(runs, [width, height]) {
  const lengths = String(runs).split(".").map(Number);
  if (lengths.some((one) => !(one >= 0)) || lengths.reduce((a, b) => a + b) !== width * height) return null;
  return lengths.flatMap((length, i) => Array(length).fill(String(i % 2)));
}

/** How many numbers a layer has: branches, heads, tokens, cells. */
const sizeOf = (one, tokens) => one.branches * one.heads * tokens * one.rows * one.columns;

/** Where each layer of a step begins among its numbers. */
function offsetsOf(layers, tokens) {
  let at = 0;
  return layers.map((one) => { const here = at; at += sizeOf(one, tokens); return here; });
}

/**
 * One layer's map of a token: of a branch and a head (-1: mean over heads) at one step, or the mean over steps.
 * A layer with fewer heads shows its last one.
 */
function mapOf(run, layer, token, step, { branch = 0, head = -1 } = {}) {
  const some = (step == null ? run.steps : [run.steps[step]]).filter(Boolean);
  const { rows, columns, heads, branches } = run.layers[layer], cells = rows * columns;
  const chosen = head < 0 ? Array.from({ length: heads }, (_, i) => i) : [Math.min(head, heads - 1)];
  const sum = new Float32Array(cells), parts = some.length * chosen.length;
  for (const one of some) for (const own of chosen) {
    const offset = one.offsets[layer] + ((Math.min(branch, branches - 1) * heads + own) * run.tokens.length + token) * cells;
    for (let i = 0; i < cells; i++) sum[i] += one.data[offset + i] / parts;
  }
  return { rows, columns, values: sum };
}

/** All layers' maps on the finest grid, averaged. */
function meanMap(run, token, step, of) {
  const maps = run.layers.map((_, layer) => mapOf(run, layer, token, step, of));
  const rows = Math.max(...maps.map((m) => m.rows)), columns = Math.max(...maps.map((m) => m.columns));
  const values = new Float32Array(rows * columns);
  for (const map of maps) {
    for (let y = 0; y < rows; y++) for (let x = 0; x < columns; x++) {
      const at = Math.floor((y * map.rows) / rows) * map.columns + Math.floor((x * map.columns) / columns);
      values[y * columns + x] += map.values[at] / maps.length;
    }
  }
  return { rows, columns, values };
}

/** How a map thresholded at a share of its maximum fits a mask, and how much of it lies inside. */
function fit(map, mask, [width, height], share) {
  const peak = Math.max(...map.values);
  let both = 0, either = 0, inside = 0, all = 0;
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const at = Math.floor((y * map.rows) / height) * map.columns + Math.floor((x * map.columns) / width);
    const is = map.values[at] >= share * peak, truth = mask[y * width + x] === "1";
    both += is && truth; either += is || truth;
    all += map.values[at]; inside += truth ? map.values[at] : 0;
  }
  return { iou: either ? both / either : 0, energy: all ? inside / all : 0 };
}
