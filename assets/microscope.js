// The live microscope: every view of one cloud, driven by one scale ε, in the browser.
//
// `export default` takes Streamlit's component arguments; a page of its own calls it with
// { data, parentElement }. `data` is plain JSON, which app/components/shared/live_microscope.py
// describes. No build step, no other file.

const STEPS = 240; // of the slider, and of the arrow keys
const SECONDS = 14; // to play from one end to the other
const PAUSE = 900; // ms between two events where motion is reduced
const SNAPSHOTS = 12; // at least, where there are many lines
const LINES = 3000; // at most from one to the next
const SLICE = 10; // ms of a frame to find triangles in
const REST = 400; // ms without a movement until the link has the scale
const CELLS = 150; // across the map, to find the triangles that show

// ---- numbers ---------------------------------------------------------------------------------

export function floats(base64) {
  return new Float32Array(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer);
}

/** How many of the ascending values are no larger than `limit`. */
export function upTo(values, limit) {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= limit) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The range of some scales, with a margin. */
function around(scales) {
  const [low, high] = [Math.min(...scales), Math.max(...scales)];
  const margin = 0.05 * (high - low) || 0.05 * high;
  return [Math.max(0, low - margin), high + margin];
}

/** Everything that the views need of `data`. */
export function read(data) {
  return cloudOf({
    ...data,
    points: floats(data.points),
    pairs: floats(data.loops),
    merges: floats(data.merges),
    radii: floats(data.radii),
    ...edgesOf(floats(data.distances), data.count),
  });
}

/** A cloud with what follows from its loops and merges. */
function cloudOf(cloud) {
  const { pairs, merges } = cloud;
  const loops = [];
  for (let k = 0; k < pairs.length / 2; k++) {
    const [birth, death] = [pairs[2 * k], pairs[2 * k + 1]];
    loops.push({ birth, death, cycle: cloud.cycles[k], fills: cloud.fills[k], counts: death - birth > cloud.least });
  }
  loops.sort((a, b) => a.birth - b.birth || a.death - b.death);
  const counted = loops.filter((loop) => loop.counts);
  const ends = [...merges, ...pairs].filter((scale) => scale > 0);
  // Where points can be moved, the axes stay as they are, unless something happens beyond them.
  const range = cloud.reach && [0, Math.max(cloud.reach, 1.05 * Math.max(0, ...ends))];
  const [low, high] = range ?? (ends.length ? around(ends) : [0, 1]);
  return {
    ...cloud,
    loops,
    births: Float32Array.from(counted, (loop) => loop.birth).sort(),
    deaths: Float32Array.from(counted, (loop) => loop.death).sort(),
    zoomed: range ?? (loops.length ? around(pairs) : [low, high]),
    low,
    high,
    events: [...new Set(ends)].sort((a, b) => a - b),
  };
}

/** The cloud with other points: its numbers are found here until the server's come. */
export function moved(cloud, points) {
  const count = points.length / 2;
  const distances = new Float32Array((count * (count - 1)) / 2);
  for (let i = 0, k = 0; i < count; i++)
    for (let j = i + 1; j < count; j++, k++)
      distances[k] = Math.hypot(points[2 * i] - points[2 * j], points[2 * i + 1] - points[2 * j + 1]);
  const edges = edgesOf(distances, count);
  const found = persistence({ count, ...edges });
  const names = Array.from({ length: count }, (_, place) => `point ${place + 1}`);
  return cloudOf({
    ...cloud,
    ...edges,
    count,
    points,
    pairs: found.loops.flat(),
    merges: found.merges,
    pieces: count && found.merges.length + 1,
    cycles: [],
    fills: [],
    names,
    classes: names,
    colours: names.map(() => 0),
  });
}

/** The loops of the Vietoris-Rips complex, and at which scales its pieces merge, as Ripser finds them.
 *
 * The boundary matrix of the triangles modulo 2 is reduced column by column. */
export function persistence({ count, ends, place, lengths }) {
  const root = forest(count);
  const columns = new Map(); // the reduced ones, by their longest edge: the one that a loop is born with
  const [merges, loops] = [[], []];
  let open = 0; // loops that no triangle has filled
  lengths.forEach((length, rank) => {
    const [a, b] = [ends[2 * rank], ends[2 * rank + 1]];
    if (root.join(a, b)) {
      if (length > 0) merges.push(length);
      return;
    }
    open += 1;
    for (let c = 0; c < count && open; c++) {
      const others = [place[a * count + c], place[b * count + c]];
      if (c === a || c === b || Math.max(...others) >= rank) continue;
      let column = [rank, Math.max(...others), Math.min(...others)];
      while (column.length && columns.has(column[0])) column = unshared(column, columns.get(column[0]));
      if (!column.length) continue;
      columns.set(column[0], column);
      open -= 1;
      if (lengths[column[0]] < length) loops.push([lengths[column[0]], length]);
    }
  });
  return { loops, merges };
}

/** What is in one of two descending lists, but not in both. */
function unshared(first, second) {
  const result = [];
  for (let i = 0, j = 0; i < first.length || j < second.length; ) {
    if (first[i] === second[j]) [i, j] = [i + 1, j + 1];
    else if (j >= second.length || first[i] > second[j]) result.push(first[i++]);
    else result.push(second[j++]);
  }
  return result;
}

/** Trees of points: the root of each, and joining two, which says whether they were apart. */
function forest(count) {
  const parent = Uint16Array.from({ length: count }, (_, i) => i);
  const root = (i) => {
    while (parent[i] !== i) i = parent[i] = parent[parent[i]];
    return i;
  };
  root.join = (a, b) => {
    const [first, second] = [root(a), root(b)];
    parent[first] = second;
    return first !== second;
  };
  return root;
}

/** β₀, β₁ and the number of clusters at a scale: Ripser's and DBSCAN's. */
export function at(cloud, scale) {
  const step = upTo(cloud.radii, scale) - 1;
  return {
    pieces: cloud.pieces - upTo(cloud.merges, scale),
    loops: upTo(cloud.births, scale) - upTo(cloud.deaths, scale),
    clusters: step < 0 ? 0 : cloud.clusters[step],
    edges: upTo(cloud.lengths, scale),
  };
}

/** The edges by length, and the place of each pair in that order. */
function edgesOf(distances, count) {
  const order = Uint32Array.from(distances, (_, k) => k).sort((a, b) => distances[a] - distances[b] || a - b);
  const from = new Uint16Array(order.length);
  const to = new Uint16Array(order.length);
  for (let i = 0, k = 0; i < count; i++)
    for (let j = i + 1; j < count; j++, k++) [from[k], to[k]] = [i, j];
  const place = new Uint32Array(count * count);
  const ends = new Uint16Array(2 * order.length);
  order.forEach((k, rank) => {
    ends[2 * rank] = from[k];
    ends[2 * rank + 1] = to[k];
    place[from[k] * count + to[k]] = place[to[k] * count + from[k]] = rank;
  });
  return { ends, place, lengths: distances.map((_, rank) => distances[order[rank]]) };
}

/** The clusters of DBSCAN at a radius: a number for each image, -1 for noise. */
export function dbscan(cloud, scale) {
  const { count, ends, lengths } = cloud;
  const edges = upTo(lengths, scale);
  const near = new Uint16Array(count).fill(1);
  for (let e = 0; e < 2 * edges; e++) near[ends[e]] += 1;
  const core = near.map((number) => number >= cloud.minSamples);
  const root = forest(count);
  for (let e = 0; e < edges; e++) if (core[ends[2 * e]] && core[ends[2 * e + 1]]) root.join(ends[2 * e], ends[2 * e + 1]);
  const numbers = new Map();
  const labels = new Int16Array(count).fill(-1);
  for (let i = 0; i < count; i++)
    if (core[i]) {
      if (!numbers.has(root(i))) numbers.set(root(i), numbers.size);
      labels[i] = numbers.get(root(i));
    }
  for (let e = 0; e < edges; e++) // an image at the edge of two clusters goes to the nearer
    for (const [a, b] of [[ends[2 * e], ends[2 * e + 1]], [ends[2 * e + 1], ends[2 * e]]])
      if (labels[a] < 0 && core[b]) labels[a] = numbers.get(root(b));
  return labels;
}

/** The triangles in the order in which they appear: how many, and which of them show on the map. */
class Triangles {
  constructor(cloud, place, width, height) {
    Object.assign(this, { cloud, edges: 0, corners: [], ranks: [], totals: [0] });
    this.cell = Math.max(width, height) / CELLS || 1;
    this.wide = Math.ceil(width / this.cell) + 2;
    this.places = Float32Array.from(place, (value) => value / this.cell);
    this.x = new Float64Array(3); // of the triangle in hand
    this.y = new Float64Array(3);
    // In each row of cells, where the next one lies that no triangle covers yet.
    this.free = Int32Array.from({ length: this.wide * (Math.ceil(height / this.cell) + 2) }, (_, k) => k);
  }

  /** Include the triangles whose edges are among the first `edges`; whether there was time for all. */
  reach(edges) {
    const { count, place, ends } = this.cloud;
    const end = performance.now() + SLICE;
    for (; this.edges < edges; this.edges++) {
      if (performance.now() > end) return false;
      const rank = this.edges;
      const [a, b] = [ends[2 * rank], ends[2 * rank + 1]];
      let total = this.totals[rank];
      for (let c = 0; c < count; c++) {
        if (c === a || c === b || place[a * count + c] >= rank || place[b * count + c] >= rank) continue;
        total += 1;
        if (this.covers(a, b, c)) {
          this.corners.push(a, b, c);
          this.ranks.push(rank);
        }
      }
      this.totals.push(total);
    }
    return true;
  }

  /** Whether the triangle covers a cell that none before it does. */
  covers(...corners) {
    const { x, y, places } = this;
    for (let e = 0; e < 3; e++) [x[e], y[e]] = [places[2 * corners[e]], places[2 * corners[e] + 1]];
    const last = Math.max(y[0], y[1], y[2]);
    let fresh = false;
    for (let row = Math.ceil(Math.min(y[0], y[1], y[2])); row <= last; row++) {
      let left = Infinity;
      let right = -Infinity;
      for (let e = 0; e < 3; e++) {
        const f = e === 2 ? 0 : e + 1;
        if (y[e] === y[f] || (row < y[e] && row < y[f]) || (row > y[e] && row > y[f])) continue;
        const crossing = x[e] + ((row - y[e]) / (y[f] - y[e])) * (x[f] - x[e]);
        if (crossing < left) left = crossing;
        if (crossing > right) right = crossing;
      }
      const end = row * this.wide + Math.floor(right);
      for (let k = this.next(row * this.wide + Math.ceil(left)); k <= end; k = this.next(k)) {
        this.free[k] = k + 1;
        fresh = true;
      }
    }
    return fresh;
  }

  next(k) {
    while (this.free[k] !== k) {
      this.free[k] = this.free[this.free[k]];
      k = this.free[k];
    }
    return k;
  }
}

/** A picture of the first items of a list, from snapshots: moving either way draws few of them. */
class Trail {
  constructor(canvas, total, draw) {
    Object.assign(this, { canvas, draw, step: Math.min(Math.max(200, Math.ceil(total / SNAPSHOTS)), LINES), taken: [] });
    this.taken.push(this.blank());
    this.work = this.blank();
  }

  blank() {
    return Object.assign(document.createElement("canvas"), {
      width: this.canvas.width,
      height: this.canvas.height,
    });
  }

  upTo(count) {
    const wanted = Math.floor(count / this.step);
    while (this.taken.length <= wanted) {
      const next = this.blank();
      const done = this.taken.length;
      next.getContext("2d").drawImage(this.taken[done - 1], 0, 0);
      this.draw(next.getContext("2d"), (done - 1) * this.step, done * this.step);
      this.taken.push(next);
    }
    const context = this.work.getContext("2d");
    context.clearRect(0, 0, this.work.width, this.work.height);
    context.drawImage(this.taken[wanted], 0, 0);
    this.draw(context, wanted * this.step, count);
    return this.work;
  }
}

// ---- the page --------------------------------------------------------------------------------

const icon = (path) =>
  `<svg viewBox="0 0 16 16" width="12" height="12" aria-hidden="true"><path d="${path}" fill="none" stroke="currentColor" stroke-width="2"/></svg>`;
const PLAY = icon("M4 2.5 12.5 8 4 13.5z");
const PAUSE_ICON = icon("M5 2v12M11 2v12");

const TEMPLATE = `
<div class="top">
  <div class="number" title="β₀: pieces, within which edges of length ε or less lead everywhere"><b data-n="pieces"></b>β₀ <span></span></div>
  <div class="number" title="β₁: loops that are born and not yet filled at ε"><b data-n="loops"></b>β₁ <span></span></div>
  <div class="number" title="Clusters that DBSCAN finds at the radius ε"><b data-n="clusters"></b><span></span></div>
  <span class="scale"><label>ε <input type="number" step="any" aria-label="Scale ε"></label>
  <button data-b="play" aria-label="Play"></button>
  <button data-b="full" aria-label="Full screen" title="Full screen">${icon("M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4")}</button></span>
</div>
<input type="range" min="0" max="${STEPS}" step="any" aria-label="Scale ε">
<div class="views">
  <figure class="map"><canvas data-v="map" role="img"></canvas>
    <figcaption><span></span><label>Show <select data-s="marks"><option>classes</option><option value="clusters">clusters at ε</option><option>images</option></select></label></figcaption>
    <figcaption class="legend"></figcaption></figure>
  <div class="small">
    <figure><figcaption>Diagram: birth across, death up</figcaption><canvas data-v="diagram" role="img"></canvas></figure>
    <figure><figcaption>Barcode: one bar for each loop</figcaption><canvas data-v="bars" role="img"></canvas></figure>
    <figure><figcaption>Betti curve: loops alive</figcaption><canvas data-v="betti" role="img"></canvas></figure>
    <figure><figcaption>Clusters of DBSCAN</figcaption><canvas data-v="clusters" role="img"></canvas></figure>
  </div>
</div>
<div class="edit" hidden>
  <label>Point <input type="number" min="1" value="1" data-e="point"></label>
  <label>x <input type="number" step="0.1" data-e="x"></label>
  <label>y <input type="number" step="0.1" data-e="y"></label>
  <button data-b="add">Add</button><button data-b="remove">Remove</button><button data-b="clear">Clear</button>
</div>
<div class="chosen"><select data-s="loop" aria-label="Loop"></select><p></p><div class="strip"></div></div>
<div role="status" class="spoken"></div>`;

const STYLE = `
.live { container-type: inline-size; font: calc(13px * var(--scale)) var(--font); color: var(--text); background: var(--surface); outline-offset: 2px; }
.live * { box-sizing: border-box; }
.live .top { display: flex; flex-wrap: wrap; gap: 2px 11px; align-items: baseline; color: var(--secondary); }
.live .number b { font-size: 2em; line-height: 1.1; color: var(--text); margin-right: 4px; display: inline-block; min-width: 1.1ch; font-variant-numeric: tabular-nums; }
.live .number:nth-child(2) b { color: var(--accent); }
.live .scale { margin-left: auto; display: flex; gap: 6px; align-items: center; }
.live input, .live button, .live select { font: inherit; color: inherit; accent-color: var(--accent); }
.live input[type=number], .live button, .live select { background: var(--panel); border: 1px solid var(--border); border-radius: 5px; padding: 2px 6px; }
.live input[type=number] { width: 5.6em; }
.live button { min-width: 2em; cursor: pointer; }
.live :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.live input[type=range] { width: 100%; margin: 4px 0; display: block; }
.live figure { margin: 0; min-width: 0; }
.live.quiet :is(.number, .small, .chosen), .live:is(.toy, .short) :is(.number:nth-child(3), .small figure:nth-child(4)) { display: none; }
.live .edit { display: flex; flex-wrap: wrap; gap: 4px 8px; margin-top: 4px; color: var(--secondary); }
.live .edit input { width: 4.4em; }
.live.movable [data-v=map] { touch-action: none; cursor: crosshair; }
.live.movable .map { background: var(--panel); border-radius: 6px; }
.live figcaption { color: var(--secondary); font-size: 0.87em; display: flex; flex-wrap: wrap; justify-content: space-between; }
.live canvas { display: block; width: 100%; touch-action: pan-y; }
.live .map canvas { height: calc(215px * var(--scale)); }
.live .small { display: grid; grid-template-columns: 1fr 1fr; gap: 4px 10px; margin-top: 4px; }
.live .small canvas { height: calc(104px * var(--scale)); cursor: ew-resize; }
.live figcaption.legend { justify-content: start; gap: 0 10px; }
.live .legend i { display: inline-block; width: 8px; height: 8px; border-radius: 50%; margin-right: 4px; }
.live .chosen { margin-top: 6px; }
.live .chosen select { max-width: 100%; }
.live:is(.toy, .short):not(.quiet) .chosen { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 10px; }
.live:is(.toy, .short) .chosen p { flex: 1 1 24em; order: 1; } /* beside the choice, or below the images */
.live .chosen p { margin: 3px 0; color: var(--secondary); font-size: 0.92em; }
.live .strip { display: flex; flex-wrap: wrap; gap: 3px; max-height: 170px; overflow-y: auto; }
.live [hidden] { display: none; }
.live .strip i { width: var(--side); height: var(--side); background-image: var(--sprite); }
.live .strip i[data-c]::after { content: attr(data-c); display: block; width: fit-content; max-width: 100%; overflow: hidden; white-space: nowrap; text-overflow: ellipsis; padding: 0 3px; font: 10px var(--font); color: var(--text); background: var(--surface); opacity: 0.85; }
.live .spoken { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@container (max-width: 400px) {
  .live .top { column-gap: 6px; }
  .live .number b { font-size: 1.7em; margin-right: 2px; }
  .live input[type=number] { width: 4.6em; padding: 2px 3px; }
}
@container (max-width: 300px) { .live .small { grid-template-columns: 1fr; } }
@container (min-width: 760px) {
  .live .views { display: grid; grid-template-columns: 3fr 2fr; gap: 14px; }
  .live .map canvas { height: min(62vh, 560px); }
  .live .small { grid-template-columns: 1fr; align-content: start; margin: 0; }
  .live .small canvas { height: max(90px, min(13vh, 120px)); }
  .live.toy .map canvas { height: min(48vh, 520px); }
  .live.short .map canvas { height: min(38vh - (var(--scale) - 1) * 7.5vh, 520px); } /* below it all grows */
  .live.short .small canvas { height: max(72px, min(10vh, 120px)); }
  .live.quiet .views { grid-template-columns: 1fr; }
}
.live:fullscreen { padding: 16px 24px; overflow-y: auto; font-size: calc(17px * var(--scale)); }
`;

const round = (value) => Number(value.toPrecision(4));
const many = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;

/** What a slider, the keys and a button move: the `scale` between the ends of the `cloud`. */
class Player {
  seconds = SECONDS;

  /** The elements of `template` in `parent`, with the style of them all. */
  build(parent, template) {
    const style = document.createElement("style");
    style.textContent = STYLE;
    this.root = document.createElement("div");
    this.root.className = "live";
    this.root.tabIndex = -1;
    this.root.microscope = this;
    this.root.innerHTML = template;
    parent.append(style, this.root);
    this.find = (selector) => this.root.querySelector(selector);
    this.slider = this.find("[type=range]");
    this.resized = new ResizeObserver(() => this.resize());
    this.onLit = ({ detail }) => this.cloud?.group && detail.group === this.cloud.group && this.light(detail);
    addEventListener("images-lit", this.onLit);
  }

  listenToScale() {
    this.slider.oninput = () => this.set(this.ofShare(this.slider.value / STEPS));
    this.find("[data-b=play]").onclick = () => (this.playing ? this.stop() : this.play());
    const full = this.find("[data-b=full]");
    full.hidden = !document.fullscreenEnabled;
    full.onclick = () => (document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen());
    this.root.onkeydown = (event) => this.press(event);
  }

  close() {
    this.stop();
    clearTimeout(this.noted);
    this.resized.disconnect();
    removeEventListener("images-lit", this.onLit);
  }

  /** Light images in every view of this cloud on the page. */
  announce(chosen) {
    const { group, title } = this.cloud;
    const text = title && chosen ? `${title}: ${chosen.text}` : chosen?.text;
    if (group) dispatchEvent(new CustomEvent("images-lit", { detail: { ...chosen, text, group, from: this } }));
  }

  setLook(data) {
    for (const [name, value] of Object.entries(data.look)) this.root.style.setProperty(`--${name}`, value);
    this.root.style.setProperty("--side", `${data.side}px`);
    this.root.style.setProperty("--sprite", data.sprite ? `url(${data.sprite})` : "none");
    this.sprite = new Image();
    this.sprite.onload = () => this.request();
    this.sprite.src = data.sprite;
  }

  nearestImage(event) {
    const { count } = this.cloud;
    let [nearest, best] = [-1, 14 ** 2];
    for (let i = 0; i < count; i++) {
      const far = (this.places[2 * i] - event.offsetX) ** 2 + (this.places[2 * i + 1] - event.offsetY) ** 2;
      if (far < best) [nearest, best] = [i, far];
    }
    return nearest;
  }

  /** The images as pictures with their classes. */
  fillStrip(images) {
    const { across, side, names, classes, labelled, sprite } = this.cloud;
    const strip = this.find(":scope > .chosen .strip");
    strip.hidden = !sprite;
    strip.replaceChildren(
      ...images.map((image) => {
        const picture = document.createElement("i");
        picture.title = names[image];
        if (labelled) picture.dataset.c = classes[image];
        picture.style.backgroundPosition = `${-side * (image % across)}px ${-side * Math.floor(image / across)}px`;
        return picture;
      }),
    );
    strip.setAttribute("role", "img");
    strip.setAttribute("aria-label", images.map((image) => names[image]).join(", "));
  }

  press(event) {
    const kind = event.target.type ?? event.target.tagName;
    if (this.leader) return; // which the key reaches next
    if (event.ctrlKey || event.metaKey || event.altKey || kind === "number" || /select/i.test(kind)) return;
    const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (way && event.shiftKey) this.toEvent(way);
    else if (way) this.set(this.scale + way * this.stride());
    else if (event.key === " " && kind !== "button") this.find("[data-b=play]").click();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Put what is shown into the link once it rests; the server is not asked. */
  note() {
    if (!this.cloud.link) return;
    clearTimeout(this.noted);
    this.noted = setTimeout(() => {
      const link = new URL(location.href);
      for (const [name, value] of Object.entries(this.linkState())) {
        if (value === "") link.searchParams.delete(name);
        else link.searchParams.set(name, value);
      }
      history.replaceState(history.state, "", link);
    }, REST);
  }

  /** As far as an arrow key goes. */
  stride() {
    return (this.cloud.high - this.cloud.low) / STEPS;
  }

  /** Go to the next birth, death or merge. */
  toEvent(way) {
    const { events } = this.cloud;
    const next = way > 0 ? upTo(events, this.scale) : events.findLastIndex((scale) => scale < this.scale);
    if (events[next] !== undefined) this.set(events[next]);
    return events[next] !== undefined;
  }

  ofShare(share) {
    return this.cloud.low + share * (this.cloud.high - this.cloud.low);
  }

  set(scale) {
    if (this.leader) return this.leader.follow(this, scale);
    this.note();
    this.scale = Math.min(Math.max(scale, this.cloud.low), this.cloud.high);
    this.request();
  }

  request() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.draw();
    });
  }

  play() {
    const { low, high } = this.cloud;
    if (this.scale >= high) this.scale = low;
    this.showButton("Pause", PAUSE_ICON);
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      const step = () => this.toEvent(1) || this.set(high);
      this.playing = setInterval(() => (this.scale >= high ? this.stop() : step()), PAUSE);
      step();
      return;
    }
    let before = performance.now();
    const step = (now) => {
      this.set(this.scale + ((now - before) / 1000 / this.seconds) * (high - low));
      before = now;
      if (this.scale >= high) this.stop();
      else this.playing = requestAnimationFrame(step);
    };
    this.playing = requestAnimationFrame(step);
    this.request();
  }

  stop() {
    clearInterval(this.playing);
    cancelAnimationFrame(this.playing);
    this.playing = null;
    this.showButton("Play", PLAY);
    if (this.cloud) this.request();
  }

  showButton(label, picture) {
    const button = this.find("[data-b=play]");
    button.innerHTML = picture;
    button.setAttribute("aria-label", label);
    button.title = `${label} (space)`;
  }
}

/** What the page's link says, or "". */
function inLink(name) {
  return new URL(location.href).searchParams.get(name) ?? "";
}

/** The scale that the page's link says, or 0. */
function scaleInLink(name) {
  const scale = Number(inLink(name));
  return Number.isFinite(scale) ? Math.max(0, scale) : 0;
}

/** So many images, and of which classes they are. */
export function wordsOf({ classes, labelled, what: thing }, images, what) {
  const size = `${many(images.length, thing)} ${what}`;
  if (!labelled) return `${size}.`;
  const counts = new Map();
  for (const image of images) counts.set(classes[image], (counts.get(classes[image]) ?? 0) + 1);
  const [[first, most]] = [...counts].sort((a, b) => b[1] - a[1]);
  const share = Math.round((100 * most) / images.length);
  return `${size}, of ${counts.size === 1 ? "1 class" : `${counts.size} classes`}: ${share} % are “${first}”.`;
}

/** The images whose places lie within a line that was drawn round them. */
export function within(places, line) {
  const inside = [];
  for (let i = 0; i < places.length / 2; i++) {
    const [x, y] = [places[2 * i], places[2 * i + 1]];
    let odd = false;
    line.forEach(([x1, y1], k) => {
      const [x2, y2] = line[(k + 1) % line.length];
      if (y1 > y !== y2 > y && x < x1 + ((y - y1) / (y2 - y1)) * (x2 - x1)) odd = !odd;
    });
    if (odd) inside.push(i);
  }
  return inside;
}

/** A drag round images chooses them, and a click one; `view` has their `places`. */
function listenToLasso(map, view, click) {
  map.addEventListener("pointerdown", (event) => {
    if (view.cloud.movable || event.button) return;
    map.setPointerCapture(event.pointerId);
    view.drawn = [[event.offsetX, event.offsetY]];
  });
  map.addEventListener("pointermove", (event) => {
    if (!view.drawn) return;
    view.drawn.push([event.offsetX, event.offsetY]);
    const [x, y] = view.drawn[0];
    if (Math.hypot(event.offsetX - x, event.offsetY - y) > 6) view.lasso = view.drawn;
    if (view.lasso) view.request();
  });
  const end = (event) => {
    const { lasso, drawn } = view;
    view.lasso = view.drawn = null;
    if (!drawn || event.type === "pointercancel") view.request();
    else if (lasso) view.chooseImages(within(view.places, lasso));
    else click(view.nearestImage(event));
  };
  map.addEventListener("pointerup", end);
  map.addEventListener("pointercancel", end);
}

function drawLasso(context, line, look) {
  Object.assign(context, { strokeStyle: look.warning, lineWidth: 1.5 });
  context.beginPath();
  for (const place of line) context.lineTo(...place);
  context.closePath();
  context.stroke();
}

function drawRing(context, x, y, color) {
  Object.assign(context, { strokeStyle: color, lineWidth: 2 });
  context.beginPath();
  context.arc(x, y, 10, 0, 2 * Math.PI);
  context.stroke();
}

/** An image as the name of its class, if that is short, or as a dot in the colour of its label. */
function drawMark(context, { look, toy }, x, y, label, name, large) {
  context.fillStyle = label < 0 ? look.noise : look.clusters[label % look.clusters.length];
  if (name && name.length <= 2) {
    context.font = `600 ${(large ? 15 : 12) * look.scale}px ${look.font}`;
    Object.assign(context, { strokeStyle: look.surface, lineWidth: 3 });
    context.strokeText(name, x, y);
    context.fillText(name, x, y);
    return;
  }
  context.beginPath();
  context.arc(x, y, (large ? 5.5 : 3.5) * (toy ? 1.3 : 1), 0, 2 * Math.PI);
  if (label < look.clusters.length) return context.fill();
  // The colours have run out: they come again as rings.
  Object.assign(context, { strokeStyle: context.fillStyle, lineWidth: 2 });
  context.stroke();
}

class Microscope extends Player {
  /** `send` takes where points are now, and how often they were moved. */
  constructor(parent, send) {
    super();
    this.send = send;
    this.reports = 0;
    this.build(parent, TEMPLATE);
    this.typed = this.find("[type=number]");
    this.views = Object.fromEntries([...this.root.querySelectorAll("canvas")].map((c) => [c.dataset.v, c]));
    this.listen();
    this.stop();
    this.resized.observe(this.root);
  }

  /** Show other data, unless it is the same. */
  show(data) {
    const text = JSON.stringify([data.id, data.version, data.quiet, data.followed, data.look, data.clicks]);
    if (text === this.shown || data.report < this.reports) return; // of points that were moved since
    const same = this.cloud?.id === data.id;
    this.shown = text;
    this.cloud = read(data);
    for (const name of ["quiet", "toy", "short", "movable"]) this.root.classList.toggle(name, !!data[name]);
    this.find(".edit").hidden = !data.movable;
    this.setLook(data);
    if (!same) {
      this.stop();
      const longest = this.byLength()[0];
      const middle = longest ? (longest.birth + longest.death) / 2 : (this.cloud.low + this.cloud.high) / 2;
      this.scale = (data.link && !this.linked && scaleInLink("scale")) || (data.start ?? middle);
      this.linked = true; // a layer that is opened later has a scale of its own
    }
    if (data.clicks && data.clicks !== this.clicks) {
      this.stop();
      this.set(data.scale);
    }
    this.clicks = data.clicks;
    this.note();
    if (!same || data.movable) {
      this.chooseLongest();
      this.fillLegend();
    }
    this.fillEdit();
    this.resize();
    this.describeChoice();
  }

  linkState() {
    return { scale: round(this.scale) };
  }

  byLength() {
    return [...this.cloud.loops].sort((a, b) => b.death - b.birth - (a.death - a.birth));
  }

  chooseLongest() {
    this.loop = this.cloud.loops.indexOf(this.byLength()[0]);
    this.cluster = null;
    this.fillSelect();
  }

  fillSelect() {
    const options = this.byLength().map((loop, place) => {
      const text = `Loop ${place + 1}: ${round(loop.birth)} to ${round(loop.death)}`;
      return new Option(loop.counts ? text : `${text}, too short to count`, this.cloud.loops.indexOf(loop));
    });
    const select = this.find("[data-s=loop]");
    select.replaceChildren(...options);
    select.value = this.loop;
    select.hidden = !options.length;
  }

  /** The choice of marks, and the colours of classes whose names do not fit on the map. */
  fillLegend() {
    const { look, labelled, classes, colours, sprite } = this.cloud;
    const marks = this.find("[data-s=marks]");
    [...marks.options].forEach((option) => {
      option.hidden = option.disabled = { classes: !labelled, images: !sprite }[option.value] ?? false;
    });
    if (marks.selectedOptions[0]?.disabled) marks.value = "clusters";
    marks.parentElement.hidden = !labelled && !sprite; // there is no choice
    const names = new Map(classes.map((name, image) => [name, colours[image]]));
    const long = marks.value === "classes" && classes.some((name) => name.length > 2) && names.size <= look.clusters.length * 2;
    const entries = [...(long ? names : [])].sort().map(([name, label]) => {
      const [entry, dot] = [document.createElement("span"), document.createElement("i")];
      const color = look.clusters[label % look.clusters.length];
      dot.style.border = `2px solid ${color}`;
      if (label < look.clusters.length) dot.style.background = color;
      entry.append(dot, name);
      return entry;
    });
    this.find(".legend").replaceChildren(...entries);
  }

  // ---- control

  listen() {
    this.listenToScale();
    this.typed.onchange = () => this.typed.value && this.set(Number(this.typed.value));
    this.find("[data-s=marks]").onchange = () => {
      this.fillLegend();
      this.resize();
    };
    this.find("[data-s=loop]").onchange = (event) => this.choose(Number(event.target.value));
    for (const name of ["diagram", "bars", "betti", "clusters"]) this.listenTo(name);
    const map = this.views.map;
    map.onpointermove = (event) => this.hover(this.nearestImage(event));
    map.onpointerleave = () => this.hover(-1);
    listenToLasso(map, this, (image) => this.chooseCluster(image));
    this.listenToPoints(map);
  }

  /** Points that may be moved: by the pointer, which also draws new ones, and by typing. */
  listenToPoints(map) {
    map.onpointerdown = (event) => {
      if (!this.cloud.movable) return;
      map.setPointerCapture(event.pointerId);
      const near = this.nearestImage(event);
      if (near < 0) this.add(...this.pointAt(event));
      else this.edited = near;
      this.fillEdit();
    };
    map.addEventListener("pointermove", (event) => {
      if (this.cloud.movable && map.hasPointerCapture(event.pointerId)) this.move(this.pointAt(event));
    });
    map.onpointerup = () => this.cloud.movable && this.report();
    const [point, x, y] = ["point", "x", "y"].map((name) => this.find(`[data-e=${name}]`));
    point.onchange = () => {
      this.edited = Math.min(Math.max(1, Number(point.value)), this.cloud.count) - 1;
      this.fillEdit();
      this.request();
    };
    x.onchange = y.onchange = () => {
      this.move([Number(x.value), Number(y.value)]);
      this.report();
    };
    const after = (act) => () => {
      act();
      this.report();
    };
    this.find("[data-b=add]").onclick = after(() => this.add(Number(x.value), Number(y.value)));
    this.find("[data-b=remove]").onclick = after(() => this.take(this.cloud.points.filter((_, k) => k >> 1 !== this.edited)));
    this.find("[data-b=clear]").onclick = after(() => this.take(new Float32Array()));
  }

  pointAt(event) {
    const { frame } = this.cloud;
    const view = this.views.map;
    return [
      (frame[0] + frame[1]) / 2 + (event.offsetX - view.clientWidth / 2) / this.zoom,
      (frame[2] + frame[3]) / 2 - (event.offsetY - view.clientHeight / 2) / this.zoom,
    ];
  }

  add(x, y) {
    if (this.cloud.count >= this.cloud.most) return;
    this.edited = this.cloud.count;
    this.take(Float32Array.from([...this.cloud.points, 0, 0]));
    this.move([x, y]);
  }

  move([x, y]) {
    const { points, frame } = this.cloud;
    if (2 * this.edited >= points.length) return;
    const next = Float32Array.from(points);
    next[2 * this.edited] = Math.min(Math.max(x, frame[0]), frame[1]);
    next[2 * this.edited + 1] = Math.min(Math.max(y, frame[2]), frame[3]);
    this.take(next);
  }

  take(points) {
    this.cloud = moved(this.cloud, points);
    this.edited = Math.max(0, Math.min(this.edited, this.cloud.count - 1));
    this.chooseLongest();
    this.fillEdit();
    this.arrange();
    this.describeChoice();
    this.request();
  }

  /** Say to the server where the points are. */
  report() {
    const { points } = this.cloud;
    const pairs = [];
    for (let k = 0; k < points.length; k += 2) pairs.push([points[k], points[k + 1]].map((value) => Number(value.toFixed(3))));
    this.reports += 1;
    this.send?.({ points: pairs, report: this.reports });
  }

  fillEdit() {
    const { points, count, movable, most } = this.cloud;
    if (!movable) return;
    this.edited = Math.min(this.edited ?? 0, Math.max(0, count - 1));
    const values = { point: Math.min(count, this.edited + 1), x: points[2 * this.edited] ?? 0, y: points[2 * this.edited + 1] ?? 0 };
    for (const [name, value] of Object.entries(values)) this.find(`[data-e=${name}]`).value = Number(value.toFixed(2));
    this.find("[data-e=point]").max = count;
    this.find("[data-b=add]").disabled = count >= most;
    this.find("[data-b=remove]").disabled = this.find("[data-b=clear]").disabled = !count;
  }

  listenTo(name) {
    const view = this.views[name];
    view.onpointerdown = (event) => {
      view.setPointerCapture(event.pointerId);
      this.dragged = false;
      this.from = event.offsetX;
      this.stop();
    };
    view.onpointermove = (event) => {
      if (!view.hasPointerCapture(event.pointerId)) return;
      this.dragged ||= Math.abs(event.offsetX - this.from) > 3;
      if (this.dragged) this.set(this.axes(name).scale(event.offsetX));
    };
    view.onpointerup = (event) => {
      if (this.dragged) return;
      const loop = this.nearestLoop(name, event);
      if (loop >= 0) this.choose(loop);
      else this.set(this.axes(name).scale(event.offsetX));
    };
  }

  choose(place) {
    const { birth, death } = this.cloud.loops[place];
    this.loop = place;
    this.cluster = null;
    this.find("[data-s=loop]").value = place;
    if (this.scale < birth || this.scale >= death) this.set(birth);
    this.describeChoice();
    this.request();
  }

  chooseCluster(image) {
    if (image < 0) return this.chooseImages([]);
    const labels = dbscan(this.cloud, this.scale);
    const images = [...labels.keys()].filter((i) => labels[i] === labels[image]);
    this.chooseImages(images, `${labels[image] < 0 ? "in no cluster" : "in this cluster"} at ε = ${round(this.scale)}`);
  }

  /** Choose images here, and light them in the other views of this cloud. */
  chooseImages(images, what = "chosen") {
    const chosen = images.length ? { images, text: wordsOf(this.cloud, images, what) } : null;
    this.light(chosen);
    this.announce(chosen);
  }

  light(chosen) {
    if (chosen?.from === this) return;
    this.cluster = chosen?.images ? { ...chosen, lit: new Set(chosen.images) } : null;
    this.describeChoice();
    this.request();
  }

  hover(image) {
    if (image === this.under) return;
    this.under = image;
    this.request();
  }

  // ---- words

  /** The images of the chosen loop or cluster, in words and as pictures. */
  describeChoice() {
    const { loops } = this.cloud;
    const loop = loops[this.loop];
    let images = loop?.cycle ?? [];
    let text = this.cloud.toy ? "No loops." : "No loops in this layer.";
    if (this.cluster) {
      images = this.cluster.images;
      text = this.cluster.text;
    } else if (loop && !loop.cycle) 
      text = this.cloud.movable ? "A cycle round it comes with the next answer of the server." : "The cycles of the longest loops only are known.";
    else if (loop)
      text =
        `${many(images.length, this.cloud.what)} in order round the loop, where it is born. ` +
        `Other cycles go round the same hole too.${loop.fills ? "" : " It ends when it joins an older loop."}`;
    this.find(".chosen p").textContent = text;
    this.fillStrip(images);
  }

  /** What each view shows now, for those who cannot see it. */
  describe(now) {
    const scale = round(this.scale);
    const numbers = this.cloud.quiet ? "" : `, ${many(now.pieces, "piece")}, ${many(now.loops, "loop")}`;
    const texts = {
      map: `Map of ${many(this.cloud.count, this.cloud.what)} at ε = ${scale}: ${many(now.edges, "edge")}, ${many(now.triangles, "triangle")}${numbers}.`,
      diagram: `Persistence diagram: ${many(this.cloud.births.length, "loop")}, of which ${now.loops} alive at ${scale}.`,
      bars: `Barcode: ${many(this.cloud.births.length, "bar")}; the line at ${scale} crosses ${now.loops}.`,
      betti: `Betti curve: ${many(now.loops, "loop")} at ${scale}.`,
      clusters: `DBSCAN finds ${many(now.clusters, "cluster")} at the radius ${scale}.`,
    };
    for (const [name, text] of Object.entries(texts)) this.views[name].setAttribute("aria-label", text);
    clearTimeout(this.speech);
    this.speech = setTimeout(() => {
      this.find("[role=status]").textContent = `ε ${scale}${numbers}${this.cloud.toy ? "" : `, ${many(now.clusters, "cluster")}`}`;
    }, 500);
  }

  // ---- drawing

  resize() {
    if (!this.cloud || !this.root.clientWidth) return;
    for (const view of Object.values(this.views)) {
      const [width, height] = [view.clientWidth, view.clientHeight].map((s) => Math.round(s * devicePixelRatio));
      if (view.width !== width || view.height !== height) Object.assign(view, { width, height });
    }
    this.arrange();
    this.draw();
  }

  /** Where the images are on the map, and what must be drawn anew there. */
  arrange() {
    const { points, count, look, frame } = this.cloud;
    const view = this.views.map;
    const [width, height, pad] = [view.clientWidth, view.clientHeight, 16];
    const ends = [0, 1].map((axis) => {
      if (frame) return frame.slice(2 * axis, 2 * axis + 2);
      const values = points.filter((_, k) => k % 2 === axis);
      return [Math.min(...values), Math.max(...values)];
    });
    const spans = ends.map(([low, high]) => high - low);
    const zoom = Math.min((width - 2 * pad) / (spans[0] || 1e-9), (height - 2 * pad) / (spans[1] || 1e-9));
    this.zoom = Number.isFinite(zoom) && spans[0] + spans[1] ? zoom : 0;
    this.places = points.map((value, k) => {
      const [low, high] = ends[k % 2];
      const shift = (value - (low + high) / 2) * this.zoom;
      return k % 2 ? height / 2 - shift : width / 2 + shift;
    });
    const at = (image) => [this.places[2 * image], this.places[2 * image + 1]];
    this.triangles = new Triangles(this.cloud, this.places, width, height);
    const ratio = devicePixelRatio;
    const start = (context, style) => {
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      Object.assign(context, style);
      context.beginPath();
    };
    this.filled = new Trail(view, count * 8, (context, from, to) => {
      const { corners } = this.triangles;
      for (let t = from; t < to; t++) {
        start(context, { fillStyle: look.accent });
        for (let c = 0; c < 3; c++) context.lineTo(...at(corners[3 * t + c]));
        context.fill();
      }
    });
    this.discs = this.filled.blank();
    this.lines = new Trail(view, this.cloud.lengths.length, (context, from, to) => {
      const { ends: pairs } = this.cloud;
      start(context, { strokeStyle: look.ink, lineWidth: 0.7 });
      for (let e = from; e < to; e++) {
        context.moveTo(...at(pairs[2 * e]));
        context.lineTo(...at(pairs[2 * e + 1]));
      }
      context.stroke();
    });
  }

  draw() {
    if (!this.cloud || !this.triangles) return;
    const now = at(this.cloud, this.scale);
    if (!this.triangles.reach(now.edges)) this.request(); // the rest in the next frames
    now.triangles = this.triangles.totals[now.edges] ?? "…";
    this.drawMap(now);
    this.drawDiagram();
    this.drawBars();
    this.drawCurve("betti", this.bettiSteps(), now.loops);
    this.drawCurve("clusters", { from: this.cloud.radii, values: this.cloud.clusters }, now.clusters);
    for (const name of ["pieces", "loops", "clusters"]) {
      const number = this.find(`[data-n=${name}]`);
      number.textContent = now[name];
      number.nextElementSibling.textContent = now[name] === 1 ? name.slice(0, -1) : name;
    }
    this.find(".map span").textContent = `${many(now.edges, "edge")}, ${many(now.triangles, "triangle")}`;
    this.slider.value = (STEPS * (this.scale - this.cloud.low)) / (this.cloud.high - this.cloud.low);
    this.slider.setAttribute("aria-valuetext", `${round(this.scale)}`);
    if (this.typed.getRootNode().activeElement !== this.typed || this.playing) this.typed.value = round(this.scale);
    this.describe(now);
    this.root.dataset.frames = Number(this.root.dataset.frames ?? 0) + 1;
  }

  context(name) {
    const view = this.views[name];
    const context = view.getContext("2d");
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, view.clientWidth, view.clientHeight);
    return context;
  }

  drawMap(now) {
    const { count, look, classes } = this.cloud;
    const view = this.views.map;
    const context = this.context("map");
    const at = (image) => [this.places[2 * image], this.places[2 * image + 1]];
    this.drawDiscs(at, (this.scale / 2) * this.zoom);
    context.globalAlpha = 0.07;
    context.drawImage(this.discs, 0, 0, view.clientWidth, view.clientHeight);
    const layer = (trail, number, alpha) => {
      context.globalAlpha = alpha;
      context.drawImage(trail.upTo(number), 0, 0, view.clientWidth, view.clientHeight);
    };
    layer(this.filled, upTo(this.triangles.ranks, now.edges - 1), 0.22);
    layer(this.lines, now.edges, Math.max(0.25, 0.6 - now.edges / 4000));
    context.globalAlpha = 1;
    const cycle = this.cluster || this.cloud.quiet ? null : this.cloud.loops[this.loop]?.cycle;
    if (cycle) this.drawCycle(context, cycle.map(at));
    const shown = new Set(this.cluster?.images ?? cycle ?? []);
    const marks = this.find("[data-s=marks]").value;
    const labels = marks === "clusters" ? dbscan(this.cloud, this.scale) : this.cloud.colours;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let i = 0; i < count; i++) {
      const [x, y] = at(i);
      if (marks === "images") {
        this.drawPicture(context, i, x, y, shown.has(i) ? 24 : 16);
        continue;
      }
      drawMark(context, this.cloud, x, y, labels[i], marks === "classes" && classes[i], shown.has(i));
      if (this.cluster && shown.has(i)) drawRing(context, x, y, look.warning);
    }
    const marked = this.cloud.movable ? this.edited : this.cloud.followed;
    if (marked < count) {
      context.beginPath();
      context.arc(...at(marked), 9, 0, 2 * Math.PI);
      Object.assign(context, { strokeStyle: look.text, lineWidth: 1 });
      context.stroke();
    }
    if (this.lasso) drawLasso(context, this.lasso, look);
    if (this.under >= 0) this.drawUnder(context, ...at(this.under), view.clientWidth);
  }

  /** All discs in one colour on a canvas of their own: one path of many is far slower. */
  drawDiscs(at, radius) {
    const context = this.discs.getContext("2d");
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.discs.width, this.discs.height);
    context.fillStyle = this.cloud.look.noise;
    for (let i = 0; i < this.cloud.count; i++) {
      context.beginPath();
      context.arc(...at(i), radius, 0, 2 * Math.PI);
      context.fill();
    }
  }

  drawCycle(context, places) {
    const { look, loops } = this.cloud;
    context.beginPath();
    for (const place of places) context.lineTo(...place);
    context.closePath();
    const alive = this.scale >= loops[this.loop].birth && this.scale < loops[this.loop].death;
    Object.assign(context, { strokeStyle: look.warning, lineWidth: 2.5 * look.scale });
    context.setLineDash(alive ? [] : [5, 4]);
    context.stroke();
    context.setLineDash([]);
  }

  drawPicture(context, image, x, y, size) {
    const { side, across } = this.cloud;
    const [left, top] = [side * (image % across), side * Math.floor(image / across)];
    if (this.sprite.complete && this.sprite.naturalWidth)
      context.drawImage(this.sprite, left, top, side, side, x - size / 2, y - size / 2, size, size);
  }

  /** The image under the pointer, large, with its name. */
  drawUnder(context, x, y, width) {
    const { look, names, side } = this.cloud;
    const text = names[this.under];
    if (this.cloud.toy) return;
    context.font = `${12 * look.scale}px ${look.font}`;
    const wide = Math.max(side, context.measureText(text).width) + 10;
    const left = Math.min(Math.max(x + 12, 0), width - wide - 2);
    const top = y > side + 40 ? y - side - 34 : y + 12;
    Object.assign(context, { fillStyle: look.panel, strokeStyle: look.border, lineWidth: 1 });
    context.fillRect(left, top, wide, side + 26);
    context.strokeRect(left, top, wide, side + 26);
    this.drawPicture(context, this.under, left + wide / 2, top + side / 2 + 4, side);
    context.fillStyle = look.text;
    context.fillText(text, left + wide / 2, top + side + 15);
  }

  /** The scales of a small view: those of loops show where loops are, not all of ε's range. */
  axes(name) {
    const view = this.views[name];
    const { look, zoomed } = this.cloud;
    const [first, last] = name === "clusters" ? [this.cloud.low, this.cloud.high] : zoomed;
    const [left, right, top, bottom] = [30 * look.scale, view.clientWidth - 8, 5, view.clientHeight - 16 * look.scale];
    return {
      first, last, left, right, top, bottom,
      x: (scale) => left + ((scale - first) / (last - first)) * (right - left),
      y: (share) => bottom - share * (bottom - top),
      scale: (x) => first + ((x - left) / (right - left)) * (last - first),
    };
  }

  /** Draw the frame of a small view, and its moving line. */
  drawFrame(name) {
    const { look } = this.cloud;
    const axes = this.axes(name);
    const { first, last } = axes;
    const context = this.context(name);
    Object.assign(context, { strokeStyle: look.border, lineWidth: 1, fillStyle: look.secondary });
    context.font = `${11 * look.scale}px ${look.font}`;
    context.strokeRect(axes.left + 0.5, axes.top + 0.5, axes.right - axes.left, axes.bottom - axes.top);
    context.textBaseline = "top";
    for (const [share, align] of [[0.04, "left"], [0.5, "center"], [0.96, "right"]]) {
      const scale = first + share * (last - first);
      context.textAlign = align;
      context.fillText(Number(scale.toPrecision(3)), axes.x(scale), axes.bottom + 3);
    }
    context.textAlign = "right";
    context.textBaseline = "middle";
    return { context, ...axes };
  }

  drawLine({ context, x, top, bottom, first, last }) {
    if (this.scale < first || this.scale > last) return;
    Object.assign(context, { strokeStyle: this.cloud.look.text, lineWidth: 1.25 });
    context.beginPath();
    context.moveTo(x(this.scale), top);
    context.lineTo(x(this.scale), bottom);
    context.stroke();
  }

  color(loop, place) {
    const { look } = this.cloud;
    if (this.cluster ? loop.cycle?.some((image) => this.cluster.lit.has(image)) : place === this.loop) return look.warning;
    if (!loop.counts) return look.muted;
    return loop.birth <= this.scale && this.scale < loop.death ? look.accent : look.noise;
  }

  drawDiagram() {
    const frame = this.drawFrame("diagram");
    const { context, x, y, left, top, right, bottom, first, last } = frame;
    const { loops, look } = this.cloud;
    const up = (scale) => y((scale - first) / (last - first));
    if (this.saysEmpty(frame)) return;
    const corner = Math.min(Math.max(this.scale, first), last);
    context.fillStyle = look.band;
    context.fillRect(left + 1, top + 1, x(corner) - left, up(corner) - top);
    Object.assign(context, { strokeStyle: look.text, lineWidth: 1.25 });
    context.beginPath();
    context.moveTo(x(corner), top);
    context.lineTo(x(corner), up(corner));
    context.lineTo(left, up(corner));
    context.stroke();
    Object.assign(context, { strokeStyle: look.noise, lineWidth: 1 });
    context.beginPath();
    context.moveTo(left, bottom);
    context.lineTo(right, top);
    context.stroke();
    this.dots = loops.map((loop, place) => {
      const dot = [x(loop.birth), up(loop.death)];
      context.fillStyle = this.color(loop, place);
      context.beginPath();
      context.arc(...dot, (place === this.loop ? 4.5 : 3) * look.scale, 0, 2 * Math.PI);
      context.fill();
      return dot;
    });
  }

  drawBars() {
    const frame = this.drawFrame("bars");
    const { context, x, top, bottom } = frame;
    const { loops } = this.cloud;
    if (this.saysEmpty(frame)) return;
    this.row = Math.min(9, (bottom - top - 4) / Math.max(1, loops.length));
    loops.forEach((loop, place) => {
      context.fillStyle = this.color(loop, place);
      const height = Math.max(1, 0.7 * this.row) + (place === this.loop && this.row < 3 ? 1.5 : 0);
      context.fillRect(x(loop.birth), bottom - 2 - this.row * (place + 1), Math.max(1, x(loop.death) - x(loop.birth)), height);
    });
    this.drawLine(frame);
  }

  bettiSteps() {
    const { births, deaths } = this.cloud;
    const from = Float32Array.from([0, ...births, ...deaths]).sort();
    return { from, values: Array.from(from, (scale) => upTo(births, scale) - upTo(deaths, scale)) };
  }

  drawCurve(name, { from, values }, number) {
    const frame = this.drawFrame(name);
    const { context, x, y, left, right, top, bottom } = frame;
    const { look } = this.cloud;
    const most = Math.max(1, ...values);
    const height = (value) => y((0.92 * value) / most);
    context.fillStyle = look.secondary;
    context.fillText(most, left - 4, height(most) + 2);
    context.fillText(0, left - 4, bottom - 3);
    context.save();
    context.beginPath();
    context.rect(left, top, right - left, bottom - top + 1);
    context.clip();
    Object.assign(context, { strokeStyle: look.accent, lineWidth: 1.75 });
    context.beginPath();
    from.forEach((scale, k) => {
      context.lineTo(x(scale), height(values[k]));
      context.lineTo(x(from[k + 1] ?? frame.last), height(values[k]));
    });
    context.stroke();
    context.restore();
    this.drawLine(frame);
    if (this.scale < frame.first || this.scale > frame.last) return;
    context.fillStyle = look.warning;
    context.beginPath();
    context.arc(x(this.scale), height(number), 4 * look.scale, 0, 2 * Math.PI);
    context.fill();
  }

  saysEmpty({ context, left, right, top, bottom }) {
    if (this.cloud.loops.length) return false;
    context.textAlign = "center";
    context.fillStyle = this.cloud.look.secondary;
    context.fillText("No loops", (left + right) / 2, (top + bottom) / 2);
    return true;
  }

  // ---- what the pointer is on

  nearestLoop(name, event) {
    if (name === "bars") {
      const { x, bottom } = this.axes(name);
      const place = Math.floor((bottom - 2 - event.offsetY) / this.row);
      const loop = this.cloud.loops[place];
      const on = loop && event.offsetX >= x(loop.birth) - 6 && event.offsetX <= x(loop.death) + 6;
      return on ? place : -1;
    }
    if (name !== "diagram") return -1;
    let [nearest, best] = [-1, 12 ** 2];
    this.dots?.forEach(([x, y], place) => {
      const far = (x - event.offsetX) ** 2 + (y - event.offsetY) ** 2;
      if (far < best) [nearest, best] = [place, far];
    });
    return nearest;
  }
}

const open = new WeakMap();

/** Show data with `make()` in an element, which keeps what it shows between calls. */
function mount({ data, parentElement }, make) {
  if (!open.has(parentElement)) open.set(parentElement, make());
  const shown = open.get(parentElement);
  shown.show(data);
  return () => {
    shown.close();
    shown.root.previousSibling?.remove();
    shown.root.remove();
    open.delete(parentElement);
  };
}

export default function microscope(component) {
  const send = (points) => component.setTriggerValue?.("moved", points);
  return mount(component, () => new Microscope(component.parentElement, send));
}
