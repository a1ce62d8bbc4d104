// The explorer's engine in a page: InstructPix2Pix on the miniature, in a worker, through ONNX Runtime Web.
// Equal to cirp.explorer.runs to rounding. Loaded when the reader comes to the explorer, never with the page.

import * as ort from "../vendor/ort/ort.wasm.bundle.min.mjs";

const here = new URL(".", import.meta.url);
let known = null, loading = null, telling = null;
let kept = []; // the text branch's maps of the last run that was not frozen, by step and layer

async function unpacked(name, told = () => {}) {
  const answer = await fetch(new URL(name, here));
  if (!answer.ok) throw new Error(`${name} is missing (${answer.status})`);
  let seen = 0;
  const counted = new TransformStream({ transform(chunk, out) { seen += chunk.length; told(seen); out.enqueue(chunk); } });
  const stream = answer.body.pipeThrough(counted).pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function facts() {
  known ??= await (await fetch(new URL("engine.json", here))).json();
  return known;
}

/** The graphs and pictures, once; the latest `told` is called with the share that has come. */
function models(told) {
  telling = told;
  loading ??= (async () => {
    const runtime = "../vendor/ort/ort-wasm-simd-threaded.wasm.gz";
    const files = { [runtime]: 3.7, ...(await facts()).megabytes };
    const all = Object.values(files).reduce((a, b) => a + b), come = {};
    const got = {};
    await Promise.all(Object.keys(files).map(async (name) => {
      got[name] = await unpacked(name, (seen) => {
        come[name] = seen / 1e6;
        telling(Math.min(0.95, Object.values(come).reduce((a, b) => a + b) / all));
      });
    }));
    // threads share memory, which a host has to allow by two headers (`_headers`); GitHub Pages sends none
    ort.env.wasm.numThreads = self.crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency || 1) : 1;
    ort.env.wasm.wasmBinary = got[runtime].buffer;
    const session = (name) => ort.InferenceSession.create(got[name], { executionProviders: ["wasm"] });
    const made = { text: await session("text.onnx.gz"), unet: await session("unet.onnx.gz"), decoder: await session("decoder.onnx.gz") };
    made.pictures = new Float32Array(got["pictures.f32.gz"].buffer);
    telling(1);
    return made;
  })();
  loading.catch(() => { loading = null; });
  return loading;
}

// ---- words: CLIP's byte-level BPE

const PATTERN = /<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+/gu;
const BYTES = (() => {
  const plain = [];
  for (let i = 33; i <= 126; i++) plain.push(i);
  for (let i = 161; i <= 172; i++) plain.push(i);
  for (let i = 174; i <= 255; i++) plain.push(i);
  const table = {};
  let more = 0;
  for (let i = 0; i < 256; i++) table[i] = String.fromCharCode(plain.includes(i) ? i : 256 + more++);
  return table;
})();

function pieces(word) {
  known.ranks ??= new Map(known.merges.map((pair, i) => [pair.join(" "), i]));
  let parts = [...new TextEncoder().encode(word)].map((byte) => BYTES[byte]);
  parts[parts.length - 1] += "</w>";
  while (parts.length > 1) {
    let best = null, rank = Infinity;
    for (let i = 0; i + 1 < parts.length; i++) {
      const own = known.ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
      if (own < rank) { rank = own; best = i; }
    }
    if (best == null) break;
    const [a, b] = [parts[best], parts[best + 1]], next = [];
    for (let i = 0; i < parts.length; i++) {
      if (i + 1 < parts.length && parts[i] === a && parts[i + 1] === b) { next.push(a + b); i++; } else next.push(parts[i]);
    }
    parts = next;
  }
  return parts;
}

function tokenized(text) {
  if (!/[\p{L}\p{N}]/u.test(text)) throw new Error(`the instruction “${text}” has no word`);
  const found = (text.normalize("NFC").toLowerCase().match(PATTERN) ?? []).flatMap(pieces);
  if (found.length + 2 > known.length) throw new Error(`the instruction has ${found.length + 2} tokens; the model takes ${known.length}`);
  const ids = [known.begin, ...found.map((piece) => known.vocabulary[piece] ?? known.end), known.end];
  return { ids, names: ["begin", ...found.map((piece) => piece.replace("</w>", "")), "end", "padding"] };
}

const unfamiliar = (text) => text.split(/\s+/).map((word) => word.replace(/^[.,'!?]+|[.,'!?]+$/g, "").toLowerCase())
  .filter((word) => word && !(`${word}</w>` in known.vocabulary));

// ---- pictures and regions

/** A square mask by latent cell: a cell may change if any of its pixels may. */
function cells(region, side) {
  const pixels = Math.sqrt(region.length), each = pixels / side, found = new Float32Array(side * side);
  for (let y = 0; y < pixels; y++) for (let x = 0; x < pixels; x++)
    if (region[y * pixels + x] === "1") found[Math.floor(y / each) * side + Math.floor(x / each)] = 1;
  return found;
}

/** The mask on a coarser grid, as torch's antialiased bilinear interpolation makes it. */
function coarser(mask, side, target) {
  if (side === target) return mask;
  const scale = side / target;
  const weights = Array.from({ length: target }, (_, i) => {
    const centre = (i + 0.5) * scale;
    const own = Array.from({ length: side }, (_, j) => Math.max(0, 1 - Math.abs(j + 0.5 - centre) / scale));
    const sum = own.reduce((a, b) => a + b);
    return own.map((weight) => weight / sum);
  });
  const found = new Float32Array(target * target);
  for (let y = 0; y < target; y++) for (let x = 0; x < target; x++) {
    let sum = 0;
    for (let j = 0; j < side; j++) if (weights[y][j]) for (let i = 0; i < side; i++) sum += weights[y][j] * weights[x][i] * mask[j * side + i];
    found[y * target + x] = sum;
  }
  return found;
}

/** Planar 0..1 floats to bytes of RGBA. */
function pixels(data, size) {
  const found = new Uint8ClampedArray(4 * size * size);
  for (let i = 0; i < size * size; i++) {
    for (let c = 0; c < 3; c++) found[4 * i + c] = Math.round(255 * data[c * size * size + i]);
    found[4 * i + 3] = 255;
  }
  return found;
}

async function png(bytes, size) {
  const canvas = new OffscreenCanvas(size, size);
  canvas.getContext("2d").putImageData(new ImageData(bytes, size, size), 0, 0);
  return new Uint8Array(await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer());
}

// ---- one run

const tensor = (data, dims) => new ort.Tensor("float32", data, dims);

async function run(request, extra, mine) {
  const got = await models((share) => postMessage({ kind: "loading", share }));
  if (left(mine)) return;
  const { side, channels, length } = known, cell = side * side, count = channels * cell;
  const { ids, names } = tokenized(request.instruction);
  const whole = known.timesteps[request.steps], noised = request.strength > 0;
  const timesteps = whole && whole.slice(noised ? whole.length - Math.floor(request.steps * request.strength) : 0);
  const place = known.items.find((one) => one.id === request.item);
  if (!place || !timesteps || request.seed >= known.seeds) throw new Error(`the page has ${known.seeds} seeds and up to ${Object.keys(known.timesteps).length} steps`);
  const at = (number) => got.pictures.subarray((place.offset + number) * count, (place.offset + number + 1) * count);
  const source = at(0), noise = at(1 + request.seed);
  const hold = request.region ? cells(request.region, side) : null;
  const freeze = request.freeze ?? [];
  if (freeze.length && !kept.length) throw new Error("no run before to freeze maps to; run once without, then again");
  if (freeze.length && kept.length !== timesteps.length) throw new Error(`the run before had ${kept.length} steps; freezing ${timesteps.length} needs as many`);
  if (!hold && (request.keep || request.gate || request.hold || request.paste)) throw new Error("no region; paint one, or take the true one, before holding to it");
  if (!timesteps.length) throw new Error(`strength ${request.strength} of ${request.steps} steps leaves no step; raise one`);
  postMessage({ kind: "begin", tokens: names, steps: timesteps.length });

  const states = async (row) => {
    const padded = BigInt64Array.from({ length }, (_, i) => BigInt(row[i] ?? known.pad));
    return (await got.text.run({ tokens: new ort.Tensor("int64", padded, [1, length]) })).states.data;
  };
  const [told, empty] = [await states(ids), await states([known.begin, known.end])];
  const width = told.length / length, context = new Float32Array(3 * told.length);
  context.set(told); context.set(empty, told.length); context.set(empty, 2 * told.length);
  const weights = new Float32Array(length).fill(1);
  for (const [position, factor] of Object.entries(request.factors ?? {})) weights[position] = factor;
  const order = BigInt64Array.from({ length }, (_, i) => BigInt(i));
  if (request.swap) { const [a, b] = request.swap; [order[a], order[b]] = [order[b], order[a]]; }
  const feeds = { states: tensor(context, [3, length, width]), weights: tensor(weights, [length]), order: new ort.Tensor("int64", order, [length]) };
  for (const grid of known.grids) {
    const inside = hold && request.keep ? coarser(hold, side, Math.sqrt(grid)) : new Float32Array(grid).fill(1);
    feeds[`inside${grid}`] = tensor(inside, [grid]);
  }
  const frozen = new Float32Array(known.layers.length);
  for (const layer of freeze) frozen[layer] = 1;
  feeds.frozen = tensor(frozen, [frozen.length]);
  const own = []; // this run's maps, for another one to be frozen to
  const text = known.layers.map((one) => one.heads * one.rows * one.columns * length);
  const nothing = text.map((count) => new Float32Array(count));
  const decoded = async (latents) => (await got.decoder.run({ latents: tensor(latents, [1, channels, side, side]) })).picture;

  let latents = Float32Array.from(noise);
  if (noised) { // the noisy input: the source as the schedule noises it, and nothing beside
    const level = known.alphas[timesteps[0]];
    latents = latents.map((value, i) => Math.sqrt(level) * source[i] * known.scaling + Math.sqrt(1 - level) * value);
  }
  for (const [step, t] of timesteps.entries()) {
    await new Promise((go) => setTimeout(go)); // let a cancel in
    if (left(mine)) return;
    const x = new Float32Array(6 * count);
    for (let row = 0; row < 3; row++) {
      x.set(latents, 2 * row * count);
      if (row < 2 && !noised) x.set(source, (2 * row + 1) * count);
    }
    known.layers.forEach((one, i) => {
      const before = freeze.length ? kept[step][i] : nothing[i];
      feeds[`before${i}`] = tensor(before, [one.heads, one.rows * one.columns, length]);
    });
    const out = await got.unet.run({ ...feeds, x: tensor(x, [3, 2 * channels, side, side]), t: tensor(new Float32Array([t]), []) });
    const v = out.velocity.data, guided = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      const image = v[count + i], neither = v[2 * count + i];
      const text = request.gate ? image + hold[i % cell] * (v[i] - image) : v[i];
      guided[i] = neither + request.image_scale * (image - neither) + request.text_scale * (text - image);
    }
    const before = t - Math.floor(1000 / request.steps);
    const now = known.alphas[t], then = before >= 0 ? known.alphas[before] : known.final;
    const clean = new Float32Array(count), next = new Float32Array(count);
    for (let i = 0; i < count; i++) {
      clean[i] = Math.sqrt(now) * latents[i] - Math.sqrt(1 - now) * guided[i];
      const eps = Math.sqrt(now) * guided[i] + Math.sqrt(1 - now) * latents[i];
      next[i] = Math.sqrt(then) * clean[i] + Math.sqrt(1 - then) * eps;
    }
    if (hold && request.hold) {
      const level = step + 1 < timesteps.length ? known.alphas[timesteps[step + 1]] : 1;
      for (let i = 0; i < count; i++) {
        const inside = hold[i % cell];
        const kept = Math.sqrt(level) * source[i] * known.scaling + Math.sqrt(1 - level) * noise[i];
        next[i] = inside * next[i] + (1 - inside) * kept;
      }
    }
    latents = next;
    if (!freeze.length) own.push(known.layers.map((_, i) => Float32Array.from(out[`map${i}`].data.subarray(0, text[i]))));
    const maps = known.layers.map((one, i) => {
      const given = out[`map${i}`].data, grid = one.rows * one.columns, rows = one.branches * one.heads;
      const found = new Float32Array(rows * names.length * grid);
      for (let row = 0; row < rows; row++) for (let c = 0; c < grid; c++) for (let n = 0; n < length; n++) // padding is one
        found[(row * names.length + Math.min(n, names.length - 1)) * grid + c] += given[(row * grid + c) * length + n];
      return found;
    });
    const data = new Float32Array(maps.reduce((sum, one) => sum + one.length, 0));
    maps.reduce((offset, one) => { data.set(one, offset); return offset + one.length; }, 0);
    const picture = await decoded(clean), size = picture.dims[2];
    postMessage({ kind: "step", step, steps: timesteps.length, layers: known.shown, buffers: [new Uint8Array(data.buffer), await png(pixels(picture.data, size), size)] });
  }
  if (!freeze.length) kept = own;
  const last = await decoded(latents), size = last.dims[2], edited = pixels(last.data, size);
  const original = extra.pixels;
  if (request.paste) for (let i = 0; i < size * size; i++) if (request.region[i] !== "1") edited.set(original.subarray(4 * i, 4 * i + 4), 4 * i);
  const trip = pixels((await decoded(Float32Array.from(source, (value) => value * known.scaling))).data, size);
  const apart = (picture, where) => {
    let sum = 0, area = 0;
    for (let i = 0; i < size * size; i++) if (where[i] === "1") {
      area++;
      for (let c = 0; c < 3; c++) sum += Math.abs(picture[4 * i + c] - original[4 * i + c]) / 765;
    }
    return area ? sum / area : null;
  };
  const outside = extra.outside && apart(edited, extra.outside);
  postMessage({
    kind: "done", buffers: [await png(edited, size)],
    scores: {
      "excess outside change (L1)": outside == null ? null : outside - apart(trip, extra.outside),
      "change inside (L1)": extra.mask ? apart(edited, extra.mask) : null,
    },
  });
}

// Runs are numbered. The newest one counts: those before it are left without a word, so that
// clicks on Run never pile up; one that was cancelled says so.
let newest = 0, stopped = 0, queue = Promise.resolve();

function left(mine) {
  if (mine < newest) return true;
  if (mine > stopped) return false;
  postMessage({ kind: "cancelled" });
  return true;
}

async function answered(work) {
  try {
    await facts();
    await work();
  } catch (error) {
    postMessage({ kind: "error", text: String(error.message ?? error).slice(0, 300) });
  }
}

onmessage = ({ data: { kind, request, extra } }) => {
  if (kind === "cancel") stopped = newest;
  if (kind === "warm") models(() => {}).catch(() => {}); // a run says what is wrong
  if (kind === "tokens") answered(() => postMessage({ kind, tokens: tokenized(request.instruction).names, unknown: unfamiliar(request.instruction) }));
  if (kind === "run") {
    const mine = ++newest;
    queue = queue.then(() => (mine < newest ? null : answered(() => run(request, extra, mine))));
  }
};
