"use strict";
// The script of the page that `page.py` writes. Functions bear the names of their Python counterparts in heatmaps.py; the
// matrices of interpolation and of smoothing over time come from there, with the page's data.
// Letters: T words, m sampled frames, G x G grid, width x height pixels of the map. Evidence: larger = more salient.

// --- from evidence on the grid to a map (Eq. 8, 9, receptive fields) -------------------------------------------------

/** Sum of the evidence of the words at these positions (Eq. 9). evidence: T arrays. */
function phraseSum(evidence, words) {
  const sum = new Float64Array(evidence[0].length);
  for (const t of words) evidence[t].forEach((value, i) => { sum[i] += value; });
  return sum;
}

/** What a kind of map shows of the words' summed evidence of m frames, each with values.length / m values: `sums.py`. */
const ofSum = {
  evidence_itself: (evidence) => evidence,

  /** exp(evidence), normalised to sum 1 over the cells of each frame, or over the frames. */
  likelihood(evidence) {
    const size = evidence.length / (evidence.length > m ? m : 1), shares = new Float64Array(evidence.length);
    for (let start = 0; start < evidence.length; start += size) {
      const part = evidence.subarray(start, start + size), [, largest] = range(part);
      const sum = part.reduce((total, value) => total + Math.exp(value - largest), 0);
      part.forEach((value, k) => { shares[start + k] = Math.exp(value - largest) / sum; });
    }
    return shares;
  },

  /** The likelihood of 10 times the evidence. */
  sharpened: (evidence) => ofSum.likelihood(evidence.map((value) => 10 * value)),

  /** What speaks for the words: max(sum, 0). */
  positive_part: (evidence) => evidence.map((value) => Math.max(value, 0)),

  /** Difference of the frames after and before, halved: its size, or its rise (1) or fall (-1) alone. Edge values are
   * repeated. */
  change(evidence, direction = 0) {
    const size = evidence.length / m, at = (i, k) => evidence[Math.min(Math.max(i, 0), m - 1) * size + k];
    const rise = evidence.map((_, j) => (at(Math.floor(j / size) + 1, j % size) - at(Math.floor(j / size) - 1, j % size)) / 2);
    return rise.map((value) => (direction ? Math.max(direction * value, 0) : Math.abs(value)));
  },
};

/** e = (evidence - min) / (max - min), 0 everywhere if all are equal (Eq. 8). */
function scale(evidence) {
  const [smallest, largest] = range(evidence);
  const span = largest > smallest ? largest - smallest : 1;
  return evidence.map((value) => (value - smallest) / span);
}

function range(values) {
  return [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];
}

/** The part of a word's e over the clip (Eq. 8) above its mean, as `release.time_normalization`. */
function timeNormalization(evidence) {
  const e = scale(evidence), mean = e.reduce((a, b) => a + b) / e.length;
  return e.map((value) => Math.max(value - mean, 0));
}

/** Gaussian along one axis of `length` values, `stride` apart, reflected at the ends; weights[d] at a distance d. */
function gaussian(values, length, stride, weights) {
  const reflected = (k) => { const at = ((k % (2 * length)) + 2 * length) % (2 * length); return Math.min(at, 2 * length - 1 - at); };
  return values.map((_, i) => {
    const at = Math.floor(i / stride) % length;
    let sum = 0;
    for (let d = 1 - weights.length; d < weights.length; d++)
      sum += weights[Math.abs(d)] * values[i + (reflected(at + d) - at) * stride];
    return sum;
  });
}

/** e normalised to sum 1, uniform where all are equal. */
function temporalAlpha(e) {
  const sum = e.reduce((a, b) => a + b);
  return e.map((value) => (sum > 0 ? value / sum : 1 / e.length));
}

/** The sampled frame before a time and how far on towards the next: {before, share}. */
function between(times, time) {
  let before = times.findLastIndex((sampled) => sampled <= time);
  if (before < 0) return { before: 0, share: 0 };
  if (before === times.length - 1) return { before, share: 0 };
  return { before, share: (time - times[before]) / (times[before + 1] - times[before]) };
}

/** `count` values from `start` on, linear in time between two sampled frames. */
function atTime(values, count, { before, share }) {
  const next = Math.min(before + 1, values.length / count - 1);
  return Array.from({ length: count }, (_, k) =>
    (1 - share) * values[before * count + k] + share * values[next * count + k]);
}

// --- what the page holds --------------------------------------------------------------------------------------------

const $ = (id) => document.getElementById(id);
const page = JSON.parse($("data").textContent);
const T = page.words.length, m = page.times.length;
const moving = page.medium.type.startsWith("video/");
const palettes = Object.fromEntries(Object.entries(page.colour_maps).map(([name, text]) => [name, bytes(text)]));

function floats(base64) {
  return new Float32Array(bytes(base64).buffer);
}

function bytes(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** 16-bit codes -> an array of evidence for each word, or for each other word: low + step code. */
function numbers({ low, step, codes }) {
  const all = new Uint16Array(bytes(codes).buffer), length = all.length / low.length;
  return low.map((start, t) => Float64Array.from(all.subarray(t * length, (t + 1) * length), (c) => start + step[t] * c));
}

// --- what a captioner finds -------------------------------------------------------------------------------------------

/** A captioner's evidence of every kind, on its own grid, and what it would have said instead. */
class Captioner {
  constructor({ name, evidence, maps, grid, interpolation, over_time, ...kept }) {
    Object.assign(this, kept, { name, G: grid, ranges: {}, moments: {} });
    const read = Object.fromEntries(Object.entries(evidence).map(([loss, { cells, frames }]) =>
      [loss, { cells: cells && numbers(cells), frames: frames && numbers(frames) }]));
    this.maps = Object.fromEntries(Object.entries(maps).map(([kind, map]) => [kind, { ...map, ...read[map.of] }]));
    this.smoothing = over_time && floats(over_time);
    [this.geometry, this.coarse] = ["drawn", "coarse"].map((size) => { // size and matrices at which maps are made
      const [x, y] = interpolation[size].map(floats);
      return { x, y, width: x.length / grid, height: y.length / grid };
    });
  }

  /** The evidence of the words at these positions, summed, as a kind of map shows it. evidence: T arrays. */
  ofPhrase(kind, evidence, words) {
    return this.shown(this.maps[kind], evidence, words);
  }

  shown({ content, of_sum, of_change }, evidence, words) {
    const said = of_change && this.changeOf(words);
    if (!said) return ofSum[of_sum](phraseSum(evidence, summed(content, words)));
    const subject = said.subject.length ? said.subject : words;
    return ofSum[of_change](phraseSum(evidence, summed(content, subject)), said.direction);
  }

  /** What the first verb of change among these words says: { subject, direction }; undefined if there is none. */
  changeOf(words) {
    return words.map((t) => this.of_change[t]).find(Boolean);
  }

  unitOf(kind, words) {
    const { of_sum, of_change, unit } = this.maps[kind];
    return of_sum === "change" || (of_change && this.changeOf(words)) ? "nats a frame" : unit;
  }

  /** Whether these words have a second curve over time: `drawing.second_curves`. */
  hasBeside(kind, words) {
    const { frames, beside, of_sum } = this.maps[kind];
    return Boolean(this.smoothing && frames && beside && (of_sum === "change" || this.changeOf(words)));
  }

  /** e of the second curve (m); null if there is none. */
  besideOf(kind, words) {
    if (!this.hasBeside(kind, words)) return null;
    return scale(this.overTime(this.shown(this.maps[kind].beside, this.maps[kind].frames, words)));
  }

  /** The mean of each frame's cells: m values. */
  meanOverCells(e) {
    return Float64Array.from(page.times, (_, i) => this.frame(e, i).reduce((a, b) => a + b) / (this.G * this.G));
  }

  /** Smoothing over the sampled frames. */
  overTime(values) {
    const [low] = range(values), length = values.length; // smoothing the rest keeps equal values equal
    return values.map((_, i) => values.reduce((sum, value, k) => sum + this.smoothing[i * length + k] * (value - low), low));
  }

  /** Values on the grid (G G) -> a map over the pixels, row by row (height width): min + A_y (cells - min) A_x^T. */
  upsample(cells, { x, y, width, height }) {
    const { G } = this, [low] = range(cells); // rows of the release's A sum to less than 1: beyond the grid is a ring of its minimum
    const map = new Float32Array(width * height).fill(low), row = new Float64Array(G);
    for (let j = 0, pixel = 0; j < height; j++) {
      row.fill(0);
      for (let k = 0; k < G; k++) for (let l = 0; l < G; l++) row[l] += y[j * G + k] * (cells[k * G + l] - low);
      for (let i = 0; i < width; i++, pixel++)
        for (let l = 0; l < G; l++) map[pixel] += x[i * G + l] * row[l];
    }
    return map;
  }

  /** One frame's values of all cells (m G G): (G G). */
  frame(e, i) {
    return e.subarray(i * this.G * this.G, (i + 1) * this.G * this.G);
  }

  /** Whether the page has log q(word t) - log q(other) of this captioner. */
  knows({ t, other }) {
    return Boolean(this.odds[t]?.others.includes(other));
  }

  /** The scene of log-odds: as `odds.OddsLook`, in [-1, 1], zero stays zero. */
  oddsScene({ t, other }) {
    const { others, cells, frames } = this.odds[t], row = others.indexOf(other);
    const d = numbers(cells)[row], sides = this.drawnRanges(d).map((pair) => Math.max(...pair.map(Math.abs)));
    const whole = Math.max(...sides), limits = state.normalize === "frame" ? sides : sides.map(() => whole);
    const over = frames ? this.overTime(numbers(frames)[row]) : Float64Array.of(0), top = Math.max(...over.map(Math.abs));
    const ends = [other, page.words[t]].map((word, side) => `${side ? "+" : "−"}${
      state.normalize === "frame" ? "" : `${whole.toFixed(2)} nats: `}“${word}”`);
    return {
      signed: true, words: [t], beside: null, ends,
      e: d.map((value, k) => value / (limits[Math.floor(k / (this.G * this.G))] || 1)),
      frames: over.map((value) => value / (top || 1)), alpha: over,
    };
  }

  /** The scene of words under a kind of map: e of all cells (m G G), e and alpha of the frames (m), meaning of the scale's ends. */
  sceneOf(kind, words) {
    const drawn = this.maps[kind].cells ? this.saliency(kind, words) : { e: null, ends: ["", ""] };
    const e = this.momentsOf(kind, words, drawn.e);
    return { words, frames: e, beside: this.besideOf(kind, words), alpha: temporalAlpha(e), ...drawn };
  }

  /** When the words have their evidence: e of the frames (m); of the release's maps, the mean of each. */
  momentsOf(kind, words, e) {
    if (state.normalize === "release") return scale(this.meanOverCells(e));
    const { frames } = this.maps[kind];
    return frames ? scale(this.overTime(this.ofPhrase(kind, frames, words))) : Float64Array.of(1);
  }

  /** `momentsOf` each word by itself. */
  momentOfWords(kind) {
    return this.moments[kind] ??= page.words.map((_, t) =>
      this.momentsOf(kind, [t], state.normalize === "release" && this.releaseSaliency(kind, [t])));
  }

  /** The words' maps: scaled as `drawing.e_to_draw` does, the drawn values from 0 to 1; or the release's. */
  saliency(kind, words) {
    const unit = this.unitOf(kind, words);
    if (state.normalize === "release") {
      const ends = ["no evidence above the word’s mean", "most evidence for any word in the frame, before the Gaussian"];
      return { ends, e: this.releaseSaliency(kind, words) };
    }
    const evidence = this.ofPhrase(kind, this.maps[kind].cells, words), e = scale(evidence), drawn = this.drawnRanges(e);
    let limits = drawn, ends = ["the frame’s least evidence", "the frame’s most evidence"];
    if (state.normalize === "clip") {
      const limit = range(drawn.flat()), [smallest, largest] = range(evidence);
      limits = drawn.map(() => limit);
      ends = limit.map((value) => described(smallest + value * (largest - smallest), unit, kind));
    }
    return { ends, e: e.map((value, k) => {
      const [low, high] = limits[Math.floor(k / (this.G * this.G))];
      return high - low > 1e-6 ? (value - low) / (high - low) : 0;
    }) };
  }

  /** Smallest and largest value that is drawn of each frame: m pairs. */
  drawnRanges(e) {
    return page.times.map((_, i) => range(this.upsample(this.frame(e, i), this.coarse)));
  }

  /** The words' maps in the steps of the 2017 release (`Evidence.of_release`): summed words count as one word. */
  releaseSaliency(kind, words) {
    const { G } = this, others = this.frameRanges(kind).filter((_, t) => !words.includes(t));
    const above = timeNormalization(this.ofPhrase(kind, this.maps[kind].cells, words));
    const limits = this.rangesOfFrames(above).map((pair, i) => range([...pair, ...others.flatMap((word) => word[i])]));
    const e = above.map((value, k) => {
      const [low, high] = limits[Math.floor(k / (G * G))];
      return high > low ? (value - low) / (high - low) : 0;
    });
    const { frames, cells } = this.gaussian;
    return gaussian(gaussian(gaussian(e, m, G * G, frames), G, G, cells), G, 1, cells);
  }

  /** Smallest and largest value of each frame: m pairs. */
  rangesOfFrames(e) {
    return page.times.map((_, i) => range(this.frame(e, i)));
  }

  /** `rangesOfFrames` of each word after the release's first normalisation. */
  frameRanges(kind) {
    return this.ranges[kind] ??= page.words.map((_, t) =>
      this.rangesOfFrames(timeNormalization(this.ofPhrase(kind, this.maps[kind].cells, [t]))));
  }
}

/** Those of a phrase's words whose evidence is summed: `Evidence.content`. */
function summed(content, words) {
  const kept = content ? words.filter((t) => content.includes(t)) : words;
  return kept.length ? kept : words;
}

/** Evidence in words: a loss in nats, its change, a gain, or a share of a frame's likelihood or of the attention. */
function described(evidence, unit, kind) {
  return {
    nats: `${(-evidence).toFixed(2)} nats lost`,
    "nats of others": `${(-evidence).toFixed(2)} nats lost beyond other words`,
    "nats gained": `${evidence.toFixed(2)} nats gained`,
    "nats a frame": `${evidence.toFixed(2)} nats a sampled frame`,
    probability: `${evidence.toFixed(3)} probability, summed over the words`,
    "share won": `${(100 * evidence).toFixed(1)} % of the winning probability`,
    share: `${(100 * evidence).toFixed(1)} % of the ${kind}`,
  }[unit];
}

// --- the state, and what follows from it ----------------------------------------------------------------------------

const captioners = page.captioners.map((kept) => new Captioner(kept));
const state = {
  chosen: new Set(page.chosen), // words
  pointed: null, // the word under the mouse, shown while it is there
  current: page.chosen.at(-1), // the word whose alternatives are listed; the keyboard's place in the sentence
  anchor: page.chosen[0], // where a range of words starts
  instead: null, // { t, other }: the log-odds of word t against another one are shown
  normalize: page.normalize, cmap: page.cmap, opacity: page.overlay.tint, time: 0,
};
if (page.instead) insteadOf(...page.instead);

function wordsShown() {
  return state.pointed === null ? [...state.chosen].sort((a, b) => a - b) : [state.pointed];
}

/** Shows log q(word t) - log q(other), if a captioner of the page has it; not if it is shown already. */
function insteadOf(t, other) {
  const same = state.instead && state.instead.t === t && state.instead.other === other;
  state.instead = same || !captioners.some((captioner) => captioner.knows({ t, other })) ? null : { t, other };
  if (!state.instead) return;
  [state.chosen, state.current, state.anchor] = [new Set([t]), t, t];
}

function oddsName() {
  return `log q(${page.words[state.instead.t]}) − log q(${state.instead.other})`;
}

/** The frame with the most evidence, of all panels together. */
function peakFrame() {
  const height = page.times.map((_, t) => panels.reduce((sum, { scene }) => sum + Math.abs(scene.frames[t]), 0));
  return height.indexOf(range(height)[1]);
}

// --- panels -----------------------------------------------------------------------------------------------------------

const several = page.panels.length > 1;
const named = new Set(captioners.map(({ name }) => name)).size > 1; // panels need their captioners' names

/** One of the maps that stand side by side: a captioner, a kind of map, and where they are drawn. */
class Panel {
  constructor({ captioner, kind }, index) {
    Object.assign(this, { captioner: captioners[captioner], kind, index, scene: null });
    this.figure = this.makeFigure();
    this.canvas = this.figure.querySelector("canvas.map");
    const scale = several ? this.figure : $("legend");
    this.scale = [".bar", ".ends"].map((part) => scale.querySelector(part));
    [this.canvas.width, this.canvas.height] = [page.width, page.height];
    const curves = document.querySelector("#curve g");
    this.curve = index ? curves.parentNode.appendChild(curves.cloneNode(true)) : curves;
    for (const element of [this.figure, this.curve]) element.style.setProperty("--colour", this.colour);
  }

  /** What tells it from the others now: its captioner, its kind of map, or both. */
  get title() {
    const kinds = new Set(panels.map(({ kind }) => kind));
    return [...(named ? [this.captioner.name] : []), ...(named && kinds.size === 1 ? [] : [this.kind])].join(", ");
  }

  get colour() {
    return `var(--panel-${this.index})`;
  }

  /** The first panel's figure is part of the page; the others are copies of it, with a copy of the medium. */
  makeFigure() {
    const first = document.querySelector(".panel");
    if (!several) return first;
    const figure = this.index ? document.createElement("figure") : first;
    if (this.index) {
      const stage = document.createElement("div"), copy = document.createElement("canvas");
      const map = Object.assign(document.createElement("canvas"), { className: "map" });
      map.setAttribute("role", "img");
      Object.assign(copy, { className: "copy", width: page.width, height: page.height });
      [figure.className, stage.className] = ["panel", "stage"];
      stage.append(copy, map);
      figure.append(stage);
      first.parentNode.append(figure);
    }
    const caption = document.createElement("figcaption"), name = document.createElement("strong");
    name.textContent = named ? this.captioner.name : "";
    caption.append(Object.assign(document.createElement("i"), { className: "swatch" }), name, this.kindMenu());
    figure.prepend(caption);
    const scale = document.querySelector(".scale");
    figure.append(this.index ? scale.cloneNode(true) : scale);
    for (const element of this.index ? figure.querySelectorAll("[id]") : []) element.removeAttribute("id");
    return figure;
  }

  /** A menu of the captioner's kinds of map. */
  kindMenu() {
    const menu = document.createElement("select");
    menu.setAttribute("aria-label", `Kind of map, ${named ? this.captioner.name : `panel ${this.index + 1}`}`);
    for (const [kind, { title }] of Object.entries(this.captioner.maps))
      menu.append(new Option(`${kind} ${title.replace(`${kind} `, "")}`, kind, false, kind === this.kind));
    menu.addEventListener("change", () => { [this.kind, state.instead] = [menu.value, null]; drawAll(); });
    return menu;
  }

  /** Of the words shown: their log-odds if these are asked for and the captioner knows both words, else their maps. */
  makeScene() {
    const odds = state.pointed === null && state.instead && this.captioner.knows(state.instead);
    this.scene = odds ? this.captioner.oddsScene(state.instead) : this.captioner.sceneOf(this.kind, wordsShown());
  }

  /** The current map, height x width, row by row; null where the kind of map has no values in space. */
  mapNow() {
    const { captioner, scene } = this, count = captioner.G * captioner.G;
    return scene.e && captioner.upsample(atTime(scene.e, count, between(page.times, state.time)), captioner.geometry);
  }

  /** The colours of 256 levels of e over a picture, dimmed where e is small and tinted where it is large; of log-odds,
   * from -1 to 1, by their size. */
  layerColours() {
    const { signed } = this.scene, colours = new Uint8ClampedArray(4 * 256);
    const palette = signed ? bytes(page.diverging) : palettes[state.cmap];
    const { dimmed, tint: full, tint_power: power } = page.overlay, strength = state.opacity / full;
    for (let level = 0; level < 256; level++) {
      const e = signed ? Math.abs(2 * level / 255 - 1) : level / 255, tint = state.opacity * e ** power, light = 1 - (1 - dimmed) * strength * (1 - e);
      const alpha = 1 - (1 - tint) * light; // picture -> tint colour + (1 - tint) light picture
      for (let c = 0; c < 3; c++) colours[4 * level + c] = alpha > 0 ? palette[3 * level + c] * tint / alpha : 0;
      colours[4 * level + 3] = 255 * alpha;
    }
    return colours;
  }

  drawMap() {
    const map = this.mapNow();
    if (map) paint(this.canvas, this.scene.signed ? map.map((d) => (d + 1) / 2) : map, this.layerColours());
    else this.canvas.getContext("2d").clearRect(0, 0, page.width, page.height);
  }

  /** Scale, description and curve. */
  drawScene(phrase) {
    const { scene } = this, [bar, ends] = this.scale;
    paint(bar.querySelector("canvas"), Float32Array.from({ length: 256 }, (_, level) => level / 255), this.layerColours());
    bar.hidden = ends.hidden = !scene.e;
    const texts = scene.signed ? scene.ends : scene.ends.map((end, e) => `e = ${e}: ${end}`);
    [...ends.children].forEach((end, side) => { end.textContent = texts[side]; });
    this.canvas.setAttribute("aria-label", `${several ? `${this.title}: ` : ""}${this.description(phrase)}`);
    if (!moving) return;
    const zero = scene.signed ? 50 : 100, yOf = (e) => zero - zero * e;
    const pointsOf = (e) => page.times.map((time, t) => `${1000 * time / lastTime()} ${yOf(e[t])}`).join(" L ");
    const points = pointsOf(scene.frames);
    const [first, last] = [page.times[0], page.times[m - 1]].map((time) => 1000 * time / lastTime());
    this.curve.querySelector(".line").setAttribute("d", `M ${points}`);
    this.curve.querySelector(".area").setAttribute("d", `M ${first} ${zero} L ${points} L ${last} ${zero} Z`);
    this.curve.querySelector(".beside").setAttribute("d", scene.beside ? `M ${pointsOf(scene.beside)}` : "");
  }

  /** What its curve is at the sampled frame that is nearest. */
  reading(nearest) {
    const alpha = this.scene.alpha[nearest].toFixed(3);
    return this.scene.signed ? `${oddsName()} = ${alpha} nats` : `α ${alpha}`;
  }

  /** A description for screen readers: when and where the evidence is strongest. */
  description(phrase) {
    const { captioner, scene } = this, height = scene.frames.map(Math.abs);
    const frame = moving ? height.indexOf(range(height)[1]) : 0;
    const when = moving ? ` at ${(page.times[frame] + page.start).toFixed(1)} seconds` : "";
    if (scene.signed) return `Map of ${oddsName()}`;
    if (!scene.e) return `Saliency of “${phrase}” over time: strongest${when}`;
    const map = captioner.upsample(Array.from(captioner.frame(scene.e, frame)), captioner.geometry);
    const pixel = map.indexOf(range(map)[1]), third = (share, names) => names[Math.floor(3 * share)];
    const vertical = third(Math.floor(pixel / page.width) / page.height, ["upper", "middle", "lower"]);
    const horizontal = third((pixel % page.width) / page.width, ["left", "centre", "right"]);
    return `Saliency map of “${phrase}”: strongest${when}, ${vertical} ${horizontal}`;
  }
}

const panels = page.panels.map((panel, index) => new Panel(panel, index));

// --- drawing --------------------------------------------------------------------------------------------------------

function paint(canvas, values, colours) {
  const context = canvas.getContext("2d"), layer = context.createImageData(canvas.width, canvas.height);
  const from = new Uint32Array(colours.buffer), to = new Uint32Array(layer.data.buffer);
  values.forEach((e, pixel) => { to[pixel] = from[Math.round(255 * Math.min(Math.max(e, 0), 1))]; });
  context.putImageData(layer, 0, 0);
}

/** Everything that changes with time. */
function drawMoment() {
  for (const panel of panels) panel.drawMap();
  if (!moving) return;
  const position = between(page.times, state.time), nearest = position.before + Math.round(position.share);
  const seconds = (state.time + page.start).toFixed(2), [first] = panels;
  $("cursor").style.left = `${100 * state.time / lastTime()}%`;
  $("time").value = state.time;
  $("time").setAttribute("aria-valuetext", `${seconds} seconds, alpha ${panels.map((p) => p.scene.alpha[nearest].toFixed(3)).join(", ")}`);
  const share = panels.some((panel) => !panel.scene.signed) ? ` (even share ${(1 / m).toFixed(3)})` : "";
  if (several) $("readout").replaceChildren(`${seconds} s`, ...panels.map((panel) => legendOf(panel, nearest)), share);
  else $("readout").textContent = `${seconds} s · ${first.reading(nearest)}${share}`;
  wordElements.forEach((element, t) => panels.forEach(({ captioner, kind }, k) =>
    element.style.setProperty(`--e${k}`, atTime(captioner.momentOfWords(kind)[t], 1, position)[0])));
}

/** The name of a panel's curve, its colour, and its value at a sampled frame. */
function legendOf(panel, nearest) {
  const element = document.createElement("span");
  element.append(Object.assign(document.createElement("i"), { className: "swatch" }), `${panel.title}: ${panel.reading(nearest)}`);
  element.style.setProperty("--colour", panel.colour);
  return element;
}

/** Everything that changes with the words and the kind of map. */
function drawWords() {
  for (const panel of panels) panel.makeScene();
  const { words } = panels[0].scene, phrase = words.map((t) => page.words[t]).join(" ");
  wordElements.forEach((element, t) => {
    element.setAttribute("aria-selected", state.chosen.has(t));
    element.classList.toggle("shown", words.includes(t));
    element.tabIndex = t === state.current ? 0 : -1;
  });
  for (const panel of panels) panel.drawScene(phrase);
  const flat = panels.filter(({ scene }) => !scene.e).map(({ captioner, kind }) => captioner.maps[kind].title);
  $("shown").textContent = (panels.some(({ scene }) => scene.signed) ? `${oddsName()} of each cell alone, after the same words${unknowing()}`
    : `Evidence for “${phrase}”` + (words.length > 1 ? `, ${words.length} words summed` : ""))
    + [...new Set(flat)].map((title) => `; no map: ${title} has values in time only`).join("");
  if (moving) {
    const beside = ({ captioner, kind }) => captioner.hasBeside(kind, [...page.words.keys()]);
    $("beside-note").hidden = !panels.some(beside);
    // its place is kept: words do not move when pointed at
    $("beside-note").style.visibility = panels.some(({ scene }) => scene.beside) ? "visible" : "hidden";
    const titles = panels.map(({ captioner, kind }) => captioner.maps[kind].beside?.title).filter(Boolean);
    $("beside-title").textContent = [...new Set(titles)].join("; ");
    [...$("samples").children].forEach((dot, t) => dot.classList.toggle("peak", t === peakFrame()));
  }
  drawAlternatives();
  drawMoment();
}

/** Which captioners do not know the other word, whose panels show their usual maps. */
function unknowing() {
  const names = captioners.filter((captioner) => !captioner.knows(state.instead)).map(({ name }) => name);
  return names.length ? `; “${state.instead.other}” is no word of ${names.join(", ")}, whose evidence for “${page.words[state.instead.t]}” is shown` : "";
}

/** The captioners' lists of what they would have said: of each one, however many maps it has. */
const lists = captioners.filter(({ name }, k) => captioners.findIndex((other) => other.name === name) === k).map((captioner, k) => {
  const list = k ? $("alternatives").cloneNode() : $("alternatives");
  if (k) {
    list.removeAttribute("id");
    $("choose-other").before(list);
  }
  return { captioner, list };
});
if (lists.length > 1)
  for (const { captioner, list } of lists) list.before(Object.assign(document.createElement("h3"), { textContent: captioner.name }));

function drawAlternatives() {
  const t = state.pointed ?? state.current;
  $("instead-title").textContent = `Instead of “${page.words[t]}”`;
  $("context").textContent = `Most probable after “${["", ...page.words.slice(0, t)].join(" ").trim() || "(start)"}”:`;
  for (const { captioner, list } of lists)
    list.replaceChildren(...(captioner.alternatives?.[t] ?? []).map((said) => alternative(captioner, t, said)));
}

/** An entry of a list of what a captioner would have said at position t. */
function alternative(captioner, t, { word, probability, rank }) {
  const item = document.createElement("li"), name = document.createElement("span"), share = document.createElement("span");
  item.style.setProperty("--p", probability);
  item.classList.toggle("said", word === page.words[t]);
  name.textContent = `${rank}. ${word}`;
  share.textContent = percent(probability);
  item.append(name, share);
  if (!captioner.knows({ t, other: word })) return item;
  Object.assign(item, { className: "other", tabIndex: 0, title: `Why “${page.words[t]}” and not “${word}”` });
  item.setAttribute("role", "button");
  item.setAttribute("aria-pressed", state.instead?.t === t && state.instead.other === word);
  item.dataset.word = word;
  return item;
}

function percent(probability) {
  return probability < 0.001 ? "< 0.1 %" : `${(100 * probability).toFixed(1)} %`;
}

function drawAll() {
  $("normalization").textContent = page.normalizations[state.normalize][1];
  drawWords();
}

// --- choosing words -------------------------------------------------------------------------------------------------

const wordElements = page.words.map((word, t) => {
  const element = document.createElement("span");
  element.className = "word";
  element.setAttribute("role", "option");
  element.textContent = word;
  element.dataset.position = t;
  for (const { index, colour } of panels) { // a bar for each panel: its evidence at this moment
    const bar = element.appendChild(document.createElement("i"));
    bar.style.setProperty("--e", `var(--e${index}, 0)`);
    if (several) for (const [name, value] of [["--colour", colour], ["--row", index]]) bar.style.setProperty(name, value);
  }
  return element;
});
function choose(words, current) {
  if (words.length === 0) return; // something is always shown
  state.chosen = new Set(words);
  state.current = current;
  state.pointed = state.instead = null;
  drawWords();
  tell();
}

/** Tells screen readers what is shown. */
function tell() {
  $("spoken").textContent = panels.map(({ canvas }) => canvas.getAttribute("aria-label")).join("; ");
}

function chooseRange(from, to) {
  const start = Math.min(from, to);
  choose(Array.from({ length: Math.abs(to - from) + 1 }, (_, k) => start + k), to);
}

function toggle(t) {
  const words = new Set(state.chosen);
  if (!words.delete(t)) words.add(t);
  choose([...words], t);
}

function wordAt(event) {
  const element = document.elementFromPoint(event.clientX, event.clientY)?.closest(".word");
  return element ? Number(element.dataset.position) : null;
}

function listenToWords() {
  const sentence = $("sentence");
  let dragging = false;
  let resting = -1; // the word on which a choice ended: no pointing until the mouse leaves it
  sentence.addEventListener("pointerdown", (event) => {
    const t = wordAt(event);
    if (t === null || event.button !== 0) return;
    resting = t;
    if (event.ctrlKey || event.metaKey) {
      state.anchor = t;
      toggle(t);
    } else {
      dragging = true;
      if (!event.shiftKey) state.anchor = t;
      chooseRange(state.anchor, t);
    }
    wordElements[t].focus({ preventScroll: true });
    event.preventDefault();
  });
  window.addEventListener("pointermove", (event) => {
    const t = wordAt(event);
    if (dragging) {
      if (t === null || t === state.current) return;
      resting = t;
      chooseRange(state.anchor, t);
    } else if (event.pointerType === "mouse" && t !== resting) {
      resting = -1;
      if (t === state.pointed) return;
      state.pointed = t;
      drawWords();
    }
  });
  for (const kind of ["pointerup", "pointercancel"]) window.addEventListener(kind, () => { dragging = false; });
  sentence.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1, Home: -T, End: T }[event.key];
    const control = event.ctrlKey || event.metaKey;
    if (step) {
      const t = Math.min(Math.max(state.current + step, 0), T - 1);
      if (!event.shiftKey) state.anchor = t;
      if (control) choose([...state.chosen], t);
      else chooseRange(state.anchor, t);
      wordElements[t].focus();
    } else if (event.key === " " || event.key === "Enter") {
      toggle(state.current);
    } else if (control && event.key === "a") {
      choose(page.words.map((_, t) => t), state.current);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  });
  sentence.append(...wordElements);
}

// --- time -----------------------------------------------------------------------------------------------------------

const video = $("video");
/** The end of the time line: when the last frame starts, or the last sampled one, which --stride may leave out; not 0. */
const lastTime = () => Math.max(page.duration - 1 / page.frame_rate, page.times[m - 1]) || 1;

/** Shows another moment. The video follows as fast as it can; the map is there at once. */
function goTo(time) {
  state.time = Math.min(Math.max(time, 0), lastTime());
  seek();
  drawMoment();
}

function seek() {
  const target = Math.min(state.time + 0.25 / page.frame_rate, page.duration - 0.5 / page.frame_rate); // well inside the frame
  if (!video.seeking && Math.abs(video.currentTime - target) > 1e-3) video.currentTime = target;
}

function play() {
  if (video.error) return;
  if (video.paused) video.play().catch(() => {});
  else video.pause();
}

function drawPlaying() {
  if (video.paused) return;
  state.time = Math.min(video.currentTime, lastTime());
  copyMedium();
  drawMoment();
  requestAnimationFrame(drawPlaying);
}

function showPlaying() {
  $("play").setAttribute("aria-label", video.paused ? "Play" : "Pause");
  $("play").querySelector("path").setAttribute("d", video.paused ? "M3 1 15 8 3 15Z" : "M3 1h4v14H3ZM9 1h4v14H9Z");
  if (!video.paused) requestAnimationFrame(drawPlaying);
}

function goToPeak() {
  video.pause();
  goTo(page.times[peakFrame()]);
}

function listenToTime() {
  $("time").max = lastTime();
  $("samples").append(...page.times.map((time) => {
    const dot = document.createElement("i");
    dot.style.left = `${100 * time / lastTime()}%`;
    return dot;
  }));
  $("play").addEventListener("click", play);
  $("peak").addEventListener("click", goToPeak);
  $("time").addEventListener("input", () => {
    video.pause();
    goTo(Number($("time").value));
  });
  $("time").addEventListener("keydown", (event) => { // a range of any step would move by a hundredth
    const step = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
    if (!step) return;
    event.preventDefault();
    stepFrames(step);
  });
  for (const kind of ["play", "pause"]) video.addEventListener(kind, showPlaying);
  for (const kind of ["seeked", "loadeddata"]) video.addEventListener(kind, copyMedium);
  video.addEventListener("seeked", () => { if (video.paused) seek(); });
  video.addEventListener("loadedmetadata", seek);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select")) return;
    const action = {
      k: play, p: goToPeak, ",": () => stepFrames(-1), ".": () => stepFrames(1),
      " ": event.target === document.body ? play : null,
    }[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  });
}

/** The medium of all panels but the first, which has the medium itself: there is one clock. */
function copyMedium() {
  for (const copy of document.querySelectorAll(".copy"))
    copy.getContext("2d").drawImage(moving ? video : $("picture"), 0, 0, page.width, page.height);
}

function stepFrames(count) {
  video.pause();
  goTo((Math.round(state.time * page.frame_rate) + count) / page.frame_rate);
}

/** A radio button that chooses a kind of map. */
function kindButton(kind, title) {
  const label = document.createElement("label"), button = document.createElement("input");
  const name = document.createElement("span"), small = document.createElement("small"), [panel] = panels;
  Object.assign(button, { type: "radio", name: "kind", value: kind, checked: kind === panel.kind });
  button.addEventListener("change", () => { [panel.kind, state.instead] = [button.value, null]; drawAll(); });
  small.textContent = title.replace(`${kind} `, ""); // "attention (Eq. 5)" names its kind
  name.append(`${kind} `, small);
  label.append(button, name);
  return label;
}

// --- start ----------------------------------------------------------------------------------------------------------

function showMedium() {
  const element = moving ? video : $("picture");
  element.addEventListener("error", () => {
    $("trouble").textContent = `This browser cannot show ${page.medium.type}; the maps are drawn without it.`;
    $("trouble").hidden = false;
  });
  if (!moving) element.addEventListener("load", copyMedium);
  element.src = URL.createObjectURL(new Blob([bytes(page.medium.data)], { type: page.medium.type }));
  element.hidden = false;
  $("viewer").style.setProperty("--aspect", page.width / page.height);
  $("viewer").classList.toggle("portrait", page.height >= page.width && !several);
  document.body.classList.toggle("several", several);
}

/** Words that would have been said instead: a click, or Enter, shows why the sentence's word is not one of them. */
function listenToAlternatives() {
  const press = (event) => {
    const item = event.target.closest("[data-word]"), word = item?.dataset.word, list = item?.parentNode;
    if (word === undefined) return;
    insteadOf(state.pointed ?? state.current, word);
    state.pointed = null;
    drawWords();
    tell();
    [...list.children].find((entry) => entry.dataset.word === word)?.focus();
    event.preventDefault();
  };
  $("instead").addEventListener("click", press);
  $("instead").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    press(event);
    event.stopPropagation();
  });
}

function start() {
  showMedium();
  listenToAlternatives();
  listenToWords();
  for (const [how, text] of Object.entries(page.normalizations))
    $("normalize").append(new Option(text[0], how, false, how === state.normalize));
  $("normalize").addEventListener("change", () => { state.normalize = $("normalize").value; drawAll(); });
  for (const name of Object.keys(palettes)) $("cmap").append(new Option(name, name, false, name === state.cmap));
  $("cmap").addEventListener("change", () => { state.cmap = $("cmap").value; drawAll(); });
  $("opacity").value = state.opacity;
  $("opacity").addEventListener("input", () => { state.opacity = Number($("opacity").value); drawAll(); });
  const { maps } = captioners[0];
  if (!several) $("kinds").append(...Object.entries(maps).map(([kind, { title }]) => kindButton(kind, title)));
  $("kinds").hidden = several || Object.keys(maps).length < 2;
  $("instead").hidden = !captioners.some(({ alternatives }) => alternatives);
  $("choose-other").hidden = !captioners.some(({ odds }) => Object.keys(odds).length);
  $("player").hidden = $("curve-note").hidden = !moving;
  for (const element of document.querySelectorAll(".moving")) element.hidden = !moving;
  $("scaled").hidden = Object.keys(page.normalizations).length < 2;
  $("placement").textContent = page.placement;
  $("smoothing").textContent = page.smoothing;
  $("error").textContent = `Evidence is kept here in 16 bits, off by at most ${page.error.toExponential(0)}.`;
  if (moving) {
    listenToTime();
    showPlaying();
    for (const panel of panels) panel.makeScene();
    state.time = page.times[peakFrame()];
  }
  drawAll();
}

start();
