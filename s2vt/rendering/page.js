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

/** The evidence of the words at these positions, summed, as a kind of map shows it. evidence: T arrays. */
function ofPhrase(kind, evidence, words) {
  return shown(maps[kind], evidence, words);
}

function shown({ content, of_sum, of_change }, evidence, words) {
  const said = of_change && changeOf(words);
  if (!said) return ofSum[of_sum](phraseSum(evidence, summed(content, words)));
  const subject = said.subject.length ? said.subject : words;
  return ofSum[of_change](phraseSum(evidence, summed(content, subject)), said.direction);
}

/** Those of a phrase's words whose evidence is summed: `Evidence.content`. */
function summed(content, words) {
  const kept = content ? words.filter((t) => content.includes(t)) : words;
  return kept.length ? kept : words;
}

/** What the first verb of change among these words says: { subject, direction }; undefined if there is none. */
function changeOf(words) {
  return words.map((t) => page.of_change[t]).find(Boolean);
}

function unitOf(kind, words) {
  const { of_sum, of_change, unit } = maps[kind];
  return of_sum === "change" || (of_change && changeOf(words)) ? "nats a frame" : unit;
}

/** Whether these words have a second curve over time: `drawing.second_curves`. */
function hasBeside(kind, words) {
  const { frames, beside, of_sum } = maps[kind];
  return Boolean(page.over_time && frames && beside && (of_sum === "change" || changeOf(words)));
}

/** e of the second curve (m); null if there is none. */
function besideOf(kind, words) {
  if (!hasBeside(kind, words)) return null;
  return scale(overTime(shown(maps[kind].beside, maps[kind].frames, words)));
}

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

/** The mean of each frame's cells: m values. */
function meanOverCells(e) {
  return Float64Array.from(page.times, (_, i) => e.subarray(i * G * G, (i + 1) * G * G).reduce((a, b) => a + b) / (G * G));
}

/** Smoothing over the sampled frames. */
function overTime(values) {
  const [low] = range(values), length = values.length; // smoothing the rest keeps equal values equal
  return values.map((_, i) => values.reduce((sum, value, k) => sum + smoothing[i * length + k] * (value - low), low));
}

/** e normalised to sum 1, uniform where all are equal. */
function temporalAlpha(e) {
  const sum = e.reduce((a, b) => a + b);
  return e.map((value) => (sum > 0 ? value / sum : 1 / e.length));
}

/** Values on the grid (G G) -> a map over the pixels, row by row (height width): min + A_y (cells - min) A_x^T. */
function upsample(cells, { x, y, width, height }) {
  const [low] = range(cells); // rows of the release's A sum to less than 1: beyond the grid is a ring of its minimum
  const map = new Float32Array(width * height).fill(low), row = new Float64Array(G);
  for (let j = 0, pixel = 0; j < height; j++) {
    row.fill(0);
    for (let k = 0; k < G; k++) for (let l = 0; l < G; l++) row[l] += y[j * G + k] * (cells[k * G + l] - low);
    for (let i = 0; i < width; i++, pixel++)
      for (let l = 0; l < G; l++) map[pixel] += x[i * G + l] * row[l];
  }
  return map;
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
const T = page.words.length, m = page.times.length, G = page.grid;
const moving = page.medium.type.startsWith("video/");
const evidence = Object.fromEntries(Object.entries(page.evidence).map(([name, { cells, frames }]) =>
  [name, { cells: cells && numbers(cells), frames: frames && numbers(frames) }]));
const maps = Object.fromEntries(Object.entries(page.maps).map(([kind, map]) => [kind, { ...map, ...evidence[map.of] }]));
const palettes = Object.fromEntries(Object.entries(page.colour_maps).map(([name, text]) => [name, bytes(text)]));
const smoothing = page.over_time && floats(page.over_time);
const geometry = interpolation("drawn"), coarse = interpolation("coarse");

/** Size and matrices of one of the two sizes at which maps are made. */
function interpolation(name) {
  const [x, y] = page.interpolation[name].map(floats);
  return { x, y, width: x.length / G, height: y.length / G };
}

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

// --- the state, and what follows from it ----------------------------------------------------------------------------

const state = {
  chosen: new Set(page.chosen), // words
  pointed: null, // the word under the mouse, shown while it is there
  current: page.chosen.at(-1), // the word whose alternatives are listed; the keyboard's place in the sentence
  anchor: page.chosen[0], // where a range of words starts
  instead: null, // { t, other }: the log-odds of word t against another one are shown
  kind: page.kind, normalize: page.normalize, cmap: page.cmap, opacity: page.overlay.tint, time: 0,
};
if (page.instead) insteadOf(...page.instead);
let scene; // of the words shown: e of all cells (m G G), e and alpha of the frames (m), meaning of the scale's ends

function wordsShown() {
  return state.pointed === null ? [...state.chosen].sort((a, b) => a - b) : [state.pointed];
}

/** Shows log q(word t) - log q(other), if the page has it; not if it is shown already. */
function insteadOf(t, other) {
  const same = state.instead && state.instead.t === t && state.instead.other === other;
  state.instead = same || !page.odds[t]?.others.includes(other) ? null : { t, other };
  if (!state.instead) return;
  [state.chosen, state.current, state.anchor] = [new Set([t]), t, t];
}

/** The scene of log-odds: as `odds.OddsLook`, in [-1, 1], zero stays zero. */
function oddsScene({ t, other }) {
  const { others, cells, frames } = page.odds[t], row = others.indexOf(other);
  const d = numbers(cells)[row], sides = drawnRanges(d).map((pair) => Math.max(...pair.map(Math.abs)));
  const whole = Math.max(...sides), limits = state.normalize === "frame" ? sides : sides.map(() => whole);
  const over = frames ? overTime(numbers(frames)[row]) : Float64Array.of(0), top = Math.max(...over.map(Math.abs));
  const ends = [other, page.words[t]].map((word, side) => `${side ? "+" : "−"}${
    state.normalize === "frame" ? "" : `${whole.toFixed(2)} nats: `}“${word}”`);
  return {
    signed: true, words: [t], beside: null, ends,
    e: d.map((value, k) => value / (limits[Math.floor(k / (G * G))] || 1)),
    frames: over.map((value) => value / (top || 1)), alpha: over,
  };
}

function makeScene() {
  if (state.instead && state.pointed === null) return oddsScene(state.instead);
  const words = wordsShown();
  const drawn = maps[state.kind].cells ? saliency(state.kind, words) : { e: null, ends: ["", ""] };
  const e = momentsOf(state.kind, words, drawn.e);
  return { words, frames: e, beside: besideOf(state.kind, words), alpha: temporalAlpha(e), ...drawn };
}

/** When the words have their evidence: e of the frames (m); of the release's maps, the mean of each. */
function momentsOf(kind, words, e) {
  if (state.normalize === "release") return scale(meanOverCells(e));
  const { frames } = maps[kind];
  return frames ? scale(overTime(ofPhrase(kind, frames, words))) : Float64Array.of(1);
}

/** The words' maps: scaled as `drawing.e_to_draw` does, the drawn values from 0 to 1; or the release's. */
function saliency(kind, words) {
  const unit = unitOf(kind, words);
  if (state.normalize === "release") {
    const ends = ["no evidence above the word’s mean", "most evidence for any word in the frame, before the Gaussian"];
    return { ends, e: releaseSaliency(kind, words) };
  }
  const evidence = ofPhrase(kind, maps[kind].cells, words), e = scale(evidence), drawn = drawnRanges(e);
  let limits = drawn, ends = ["the frame’s least evidence", "the frame’s most evidence"];
  if (state.normalize === "clip") {
    const limit = range(drawn.flat()), [smallest, largest] = range(evidence);
    limits = drawn.map(() => limit);
    ends = limit.map((value) => described(smallest + value * (largest - smallest), unit));
  }
  return { ends, e: e.map((value, k) => {
    const [low, high] = limits[Math.floor(k / (G * G))];
    return high - low > 1e-6 ? (value - low) / (high - low) : 0;
  }) };
}

/** Evidence in words: a loss in nats, its change, a gain, or a share of a frame's likelihood or of the attention. */
function described(evidence, unit) {
  return {
    nats: `${(-evidence).toFixed(2)} nats lost`,
    "nats of others": `${(-evidence).toFixed(2)} nats lost beyond other words`,
    "nats gained": `${evidence.toFixed(2)} nats gained`,
    "nats a frame": `${evidence.toFixed(2)} nats a sampled frame`,
    probability: `${evidence.toFixed(3)} probability, summed over the words`,
    "share won": `${(100 * evidence).toFixed(1)} % of the winning probability`,
    share: `${(100 * evidence).toFixed(1)} % of the ${state.kind}`,
  }[unit];
}

/** Smallest and largest value that is drawn of each frame: m pairs. */
function drawnRanges(e) {
  return page.times.map((_, i) => range(upsample(e.subarray(i * G * G, (i + 1) * G * G), coarse)));
}

/** The words' maps in the steps of the 2017 release (`Evidence.of_release`): summed words count as one word. */
function releaseSaliency(kind, words) {
  const others = frameRanges(kind).filter((_, t) => !words.includes(t));
  const above = timeNormalization(ofPhrase(kind, maps[kind].cells, words));
  const limits = rangesOfFrames(above).map((pair, i) => range([...pair, ...others.flatMap((word) => word[i])]));
  const e = above.map((value, k) => {
    const [low, high] = limits[Math.floor(k / (G * G))];
    return high > low ? (value - low) / (high - low) : 0;
  });
  const { frames, cells } = page.gaussian;
  return gaussian(gaussian(gaussian(e, m, G * G, frames), G, G, cells), G, 1, cells);
}

/** Smallest and largest value of each frame: m pairs. */
function rangesOfFrames(e) {
  return page.times.map((_, i) => range(e.subarray(i * G * G, (i + 1) * G * G)));
}

const kept = {};
/** `rangesOfFrames` of each word after the release's first normalisation. */
function frameRanges(kind) {
  return kept[kind] ??= page.words.map((_, t) => rangesOfFrames(timeNormalization(ofPhrase(kind, maps[kind].cells, [t]))));
}

/** The current map, height x width, row by row; null where the kind of map has no values in space. */
function mapNow() {
  return scene.e && upsample(atTime(scene.e, G * G, between(page.times, state.time)), geometry);
}

function peakFrame() {
  const height = scene.frames.map(Math.abs);
  return height.indexOf(range(height)[1]);
}

// --- drawing --------------------------------------------------------------------------------------------------------

/** The colours of 256 levels of e over a picture, dimmed where e is small and tinted where it is large; of log-odds,
 * from -1 to 1, by their size. */
function layerColours() {
  const palette = scene.signed ? bytes(page.diverging) : palettes[state.cmap], colours = new Uint8ClampedArray(4 * 256);
  const { dimmed, tint: full, tint_power: power } = page.overlay, strength = state.opacity / full;
  for (let level = 0; level < 256; level++) {
    const e = scene.signed ? Math.abs(2 * level / 255 - 1) : level / 255, tint = state.opacity * e ** power, light = 1 - (1 - dimmed) * strength * (1 - e);
    const alpha = 1 - (1 - tint) * light; // picture -> tint colour + (1 - tint) light picture
    for (let c = 0; c < 3; c++) colours[4 * level + c] = alpha > 0 ? palette[3 * level + c] * tint / alpha : 0;
    colours[4 * level + 3] = 255 * alpha;
  }
  return colours;
}

function paint(canvas, values, colours) {
  const context = canvas.getContext("2d"), layer = context.createImageData(canvas.width, canvas.height);
  const from = new Uint32Array(colours.buffer), to = new Uint32Array(layer.data.buffer);
  values.forEach((e, pixel) => { to[pixel] = from[Math.round(255 * Math.min(Math.max(e, 0), 1))]; });
  context.putImageData(layer, 0, 0);
}

/** Everything that changes with time. */
function drawMoment() {
  const map = mapNow();
  if (map) paint($("map"), scene.signed ? map.map((d) => (d + 1) / 2) : map, layerColours());
  else $("map").getContext("2d").clearRect(0, 0, page.width, page.height);
  if (!moving) return;
  const position = between(page.times, state.time), nearest = position.before + Math.round(position.share);
  const seconds = (state.time + page.start).toFixed(2), alpha = scene.alpha[nearest].toFixed(3);
  $("cursor").style.left = `${100 * state.time / lastTime()}%`;
  $("time").value = state.time;
  $("time").setAttribute("aria-valuetext", `${seconds} seconds, alpha ${alpha}`);
  $("readout").textContent = scene.signed ? `${seconds} s · ${oddsName()} = ${alpha} nats`
    : `${seconds} s · α ${alpha} (even share ${(1 / m).toFixed(3)})`;
  wordElements.forEach((element, t) => element.style.setProperty("--e", atTime(momentOfWord[state.kind][t], 1, position)[0]));
}

function oddsName() {
  return `log q(${page.words[state.instead.t]}) − log q(${state.instead.other})`;
}

/** Everything that changes with the words and the kind of map. */
function drawWords() {
  scene = makeScene();
  paint($("scale"), Float32Array.from({ length: 256 }, (_, level) => level / 255), layerColours());
  const { words, frames, beside, ends } = scene, phrase = words.map((t) => page.words[t]).join(" ");
  wordElements.forEach((element, t) => {
    element.setAttribute("aria-selected", state.chosen.has(t));
    element.classList.toggle("shown", words.includes(t));
    element.tabIndex = t === state.current ? 0 : -1;
  });
  $("shown").textContent = scene.signed ? `${oddsName()} of each cell alone, after the same words`
    : `Evidence for “${phrase}”` + (words.length > 1 ? `, ${words.length} words summed` : "")
    + (scene.e ? "" : `; no map: ${maps[state.kind].title} has values in time only`);
  for (const element of document.querySelectorAll("#legend .bar, #legend .ends")) element.hidden = !scene.e;
  [$("least").textContent, $("most").textContent] = scene.signed ? ends : ends.map((end, e) => `e = ${e}: ${end}`);
  $("map").setAttribute("aria-label", description(phrase));
  if (moving) {
    const zero = scene.signed ? 50 : 100, yOf = (e) => zero - zero * e;
    const pointsOf = (e) => page.times.map((time, t) => `${1000 * time / lastTime()} ${yOf(e[t])}`).join(" L ");
    const points = pointsOf(frames);
    const [first, last] = [page.times[0], page.times[m - 1]].map((time) => 1000 * time / lastTime());
    $("curve").querySelector(".line").setAttribute("d", `M ${points}`);
    $("curve").querySelector(".area").setAttribute("d", `M ${first} ${zero} L ${points} L ${last} ${zero} Z`);
    $("curve").querySelector(".beside").setAttribute("d", beside ? `M ${pointsOf(beside)}` : "");
    $("beside-note").hidden = !hasBeside(state.kind, [...page.words.keys()]);
    $("beside-note").style.visibility = beside ? "visible" : "hidden"; // its place is kept: words do not move when pointed at
    $("beside-title").textContent = maps[state.kind].beside?.title ?? "";
    [...$("samples").children].forEach((dot, t) => dot.classList.toggle("peak", t === peakFrame()));
  }
  drawAlternatives();
  drawMoment();
}

/** A description for screen readers: when and where the evidence is strongest. */
function description(phrase) {
  const frame = moving ? peakFrame() : 0;
  const when = moving ? ` at ${(page.times[frame] + page.start).toFixed(1)} seconds` : "";
  if (scene.signed) return `Map of ${oddsName()}`;
  if (!scene.e) return `Saliency of “${phrase}” over time: strongest${when}`;
  const map = upsample(Array.from(scene.e.subarray(frame * G * G, (frame + 1) * G * G)), geometry);
  const pixel = map.indexOf(range(map)[1]), third = (share, names) => names[Math.floor(3 * share)];
  const vertical = third(Math.floor(pixel / page.width) / page.height, ["upper", "middle", "lower"]);
  const horizontal = third((pixel % page.width) / page.width, ["left", "centre", "right"]);
  return `Saliency map of “${phrase}”: strongest${when}, ${vertical} ${horizontal}`;
}

function drawAlternatives() {
  if (!page.alternatives) return;
  const t = state.pointed ?? state.current;
  $("instead-title").textContent = `Instead of “${page.words[t]}”`;
  $("context").textContent = `Most probable after “${["", ...page.words.slice(0, t)].join(" ").trim() || "(start)"}”:`;
  $("alternatives").replaceChildren(...page.alternatives[t].map(({ word, probability, rank }) => {
    const item = document.createElement("li"), name = document.createElement("span"), share = document.createElement("span");
    item.style.setProperty("--p", probability);
    item.classList.toggle("said", word === page.words[t]);
    name.textContent = `${rank}. ${word}`;
    share.textContent = percent(probability);
    item.append(name, share);
    if (!page.odds[t]?.others.includes(word)) return item;
    Object.assign(item, { className: "other", tabIndex: 0, title: `Why “${page.words[t]}” and not “${word}”` });
    item.setAttribute("role", "button");
    item.setAttribute("aria-pressed", state.instead?.t === t && state.instead.other === word);
    item.dataset.word = word;
    return item;
  }));
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
  return element;
});
const momentOfWord = Object.fromEntries(Object.keys(maps).map((kind) => [kind, page.words.map((_, t) =>
  momentsOf(kind, [t], state.normalize === "release" && releaseSaliency(kind, [t])))]));

function choose(words, current) {
  if (words.length === 0) return; // something is always shown
  state.chosen = new Set(words);
  state.current = current;
  state.pointed = state.instead = null;
  drawWords();
  $("spoken").textContent = $("map").getAttribute("aria-label");
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
const lastTime = () => page.duration - 1 / page.frame_rate || 1; // when the last frame starts

/** Shows another moment. The video follows as fast as it can; the map is there at once. */
function goTo(time) {
  state.time = Math.min(Math.max(time, 0), lastTime());
  seek();
  drawMoment();
}

function seek() {
  const target = state.time + 0.25 / page.frame_rate; // well inside the frame
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

function stepFrames(count) {
  video.pause();
  goTo((Math.round(state.time * page.frame_rate) + count) / page.frame_rate);
}

/** A radio button that chooses a kind of map. */
function kindButton(kind, title) {
  const label = document.createElement("label"), button = document.createElement("input");
  const name = document.createElement("span"), small = document.createElement("small");
  Object.assign(button, { type: "radio", name: "kind", value: kind, checked: kind === state.kind });
  button.addEventListener("change", () => { [state.kind, state.instead] = [button.value, null]; drawAll(); });
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
  element.src = URL.createObjectURL(new Blob([bytes(page.medium.data)], { type: page.medium.type }));
  element.hidden = false;
  $("viewer").style.setProperty("--aspect", page.width / page.height);
  $("viewer").classList.toggle("portrait", page.height >= page.width);
  $("map").width = page.width;
  $("map").height = page.height;
}

/** Words that would have been said instead: a click, or Enter, shows why the sentence's word is not one of them. */
function listenToAlternatives() {
  const press = (event) => {
    const word = event.target.closest("[data-word]")?.dataset.word;
    if (word === undefined) return;
    insteadOf(state.pointed ?? state.current, word);
    state.pointed = null;
    drawWords();
    $("spoken").textContent = $("map").getAttribute("aria-label");
    [...$("alternatives").children].find((item) => item.dataset.word === word)?.focus();
    event.preventDefault();
  };
  $("alternatives").addEventListener("click", press);
  $("alternatives").addEventListener("keydown", (event) => {
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
  $("kinds").append(...Object.entries(maps).map(([kind, { title }]) => kindButton(kind, title)));
  $("kinds").hidden = Object.keys(maps).length < 2;
  $("instead").hidden = !page.alternatives;
  $("choose-other").hidden = !Object.keys(page.odds).length;
  $("player").hidden = $("curve-note").hidden = !moving;
  for (const element of document.querySelectorAll(".moving")) element.hidden = !moving;
  $("scaled").hidden = Object.keys(page.normalizations).length < 2;
  $("placement").textContent = page.placement;
  $("smoothing").textContent = page.smoothing;
  $("error").textContent = `Evidence is kept here in 16 bits, off by at most ${page.error.toExponential(0)}.`;
  if (moving) {
    listenToTime();
    showPlaying();
    scene = makeScene();
    state.time = page.times[peakFrame()];
  }
  drawAll();
}

start();
