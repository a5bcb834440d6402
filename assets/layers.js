// Several layers at once, after assets/microscope.js in the same module: those of `data.layers` under
// one scale, or a walk through all of `data.tour`, whose maps are aligned. Both light the same images.

const TOP = `
<div class="top"><b class="where"></b>
  <span class="scale"><span class="unit"></span>
  <button data-b="play" aria-label="Play"></button>
  <button data-b="full" aria-label="Full screen" title="Full screen">${icon("M2 6V2h4M10 2h4v4M14 10v4h-4M6 14H2v-4")}</button></span>
</div>
<input type="range" min="0" max="${STEPS}" step="any">`;
const CHOSEN = `
<div class="chosen"><label>Light <select data-s="light"></select></label><p></p><div class="strip"></div></div>
<div role="status" class="spoken"></div>`;
const UNITS = `<label>ε <select data-s="unit">
  <option value="relative">relative to each layer's largest distance</option><option value="common">the same for all layers</option>
</select></label>`;
const EXTRA = `
.live .where { font-size: 1.15em; color: var(--text); overflow-wrap: anywhere; }
.live .panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 200px), 1fr)); gap: 8px 18px; }
.live .panels section { min-width: 0; }
.live .panels h3 { font: 600 1em var(--font); margin: 6px 0 0; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.live .panel :is(.scale, .chosen, .small figure:nth-child(2), .small figure:nth-child(4)), .live .panel > [type=range], .live .panel > .spoken { display: none; }
.live.tour .map canvas { height: min(46vh, calc(330px * var(--scale))); }
.live [data-s=light] { max-width: 100%; }
`;
const PER_LAYER = 1.2; // seconds of a tour from a layer to the next

/** What a scale of the slider is in a layer: a share of its largest distance, or the same in all. */
export function scaleOf(cloud, unit, value) {
  return unit === "relative" ? value * cloud.diameter : value;
}

/** The ends of the slider, and the events of all layers between them. */
export function span(clouds, unit) {
  const shares = clouds.map((cloud) => (unit === "relative" ? 1 / (cloud.diameter || 1) : 1));
  const all = (name) => clouds.map((cloud, k) => cloud[name] * shares[k]);
  const events = new Set(clouds.flatMap((cloud, k) => cloud.events.map((scale) => scale * shares[k])));
  return {
    low: Math.min(...all("low")),
    high: Math.max(...all("high")),
    events: [...events].sort((a, b) => a - b),
  };
}

/** Where the images are between two layers of a tour. */
export function between({ points, count }, place) {
  const before = Math.floor(place);
  const after = Math.min(before + 1, points.length / (2 * count) - 1);
  const part = place - before;
  return Float32Array.from({ length: 2 * count }, (_, k) => {
    const [a, b] = [points[2 * count * before + k], points[2 * count * after + k]];
    return a + part * (b - a);
  });
}

/** The mean distance between some images, as a share of that between all; NaN for fewer than two. */
export function spread(points, images) {
  const mean = (some) => {
    let sum = 0;
    for (const i of some) for (const j of some) sum += Math.hypot(points[2 * i] - points[2 * j], points[2 * i + 1] - points[2 * j + 1]);
    return sum / (some.length * (some.length - 1));
  };
  return mean(images) / mean(Array.from({ length: points.length / 2 }, (_, k) => k));
}

/** Shared by both: which images are lit, chosen on a map or from a list. */
class Layers extends Player {
  constructor(parent, middle) {
    super();
    this.build(parent, TOP + middle + CHOSEN);
    this.root.previousSibling.textContent += EXTRA;
    this.listenToScale();
    this.find("[data-s=light]").onchange = (event) => this.chooseFrom(event.target.value);
  }

  start(data) {
    this.shown = JSON.stringify([data.id, data.look]);
    this.setLook(data);
    const { classes, names, labelled } = data;
    const groups = labelled ? [...new Set(classes)].sort() : [];
    this.find("[data-s=light]").replaceChildren(
      new Option("nothing", ""),
      new Option("what is chosen on a map", "map"),
      ...groups.map((name) => new Option(`class ${name}`, `class ${name}`)),
      ...names.map((name, image) => new Option(name, image)),
    );
    this.find("[data-s=light] [value=map]").hidden = true;
  }

  /** Light what a value of the list says, or several images in a link: their places, with commas. */
  chooseFrom(value) {
    const { classes, labelled } = this.cloud;
    const all = [...classes.keys()];
    const listed = new Set(value.split(","));
    const images = all.filter((i) => (labelled && value === `class ${classes[i]}`) || listed.has(String(i)));
    this.chooseImages(images, "chosen", images.length && listed.size > 1 ? "map" : value);
  }

  /** Light what the page's link says. */
  lightFromLink() {
    if (this.cloud.link && inLink("lit")) this.chooseFrom(inLink("lit"));
  }

  linkState() {
    const value = this.find("[data-s=light]").value;
    return { lit: value.startsWith("class ") ? value : (this.lit?.images ?? []).join(",") };
  }

  chooseImages(images, what = "chosen", value = images.length ? "map" : "") {
    const chosen = images.length ? { images, text: wordsOf(this.cloud, images, what) } : null;
    this.light(chosen, value);
    this.announce(chosen);
  }

  light(chosen, value = chosen?.images ? "map" : "") {
    if (chosen?.from === this) return;
    this.lit = chosen?.images ? chosen : null;
    this.find("[data-s=light]").value = value;
    this.find(":scope > .chosen p").textContent = this.lit?.text ?? this.cloud.hint;
    this.fillStrip(this.lit?.images ?? []);
    this.note();
    this.request();
  }

  resize() {
    if (this.cloud) this.request();
  }

  say(text) {
    clearTimeout(this.speech);
    this.speech = setTimeout(() => (this.find(":scope > .spoken").textContent = text), 500);
  }
}

class Together extends Layers {
  constructor(parent) {
    super(parent, '<div class="panels"></div>');
    this.panels = [];
    this.find(".unit").innerHTML = UNITS;
    this.find("[data-s=unit]").onchange = (event) => this.measure(event.target.value);
    this.slider.setAttribute("aria-label", "Scale ε of all layers");
    this.stop();
  }

  close() {
    super.close();
    for (const panel of this.panels) panel.close();
  }

  show(data) {
    if (JSON.stringify([data.id, data.look]) === this.shown) return;
    const { layers, link, ...shared } = data; // a panel's scale is not that of the link
    const first = !this.cloud;
    const [share, lit] = [this.share(), this.cloud?.group === data.group ? this.lit : null];
    for (const panel of this.panels) panel.close();
    const sections = layers.map((layer) => {
      const section = document.createElement("section");
      const title = document.createElement("h3");
      title.textContent = title.title = layer.title;
      const where = document.createElement("span");
      section.append(title, where);
      return section;
    });
    this.find(".panels").replaceChildren(...sections);
    this.panels = layers.map((layer, k) => {
      const panel = new Microscope(sections[k]);
      panel.root.classList.add("panel");
      panel.where = sections[k].children[1];
      panel.show({ ...shared, ...layer });
      panel.leader = this;
      return panel;
    });
    this.start(data);
    this.cloud = { ...shared, link, hint: "Click an image for its cluster, or draw a line round some: they light up in every layer." };
    const unit = this.find("[data-s=unit]");
    if (first && link && inLink("pins_unit") === "common") unit.value = "common";
    this.measure(unit.value, share ?? 0.5);
    if (lit) this.announce(lit);
    this.light(lit);
    if (!first || !link) return;
    if (scaleInLink("pins_scale")) this.set(scaleInLink("pins_scale"));
    this.lightFromLink();
  }

  linkState() {
    return { ...super.linkState(), pins_scale: round(this.scale), pins_unit: this.unit };
  }

  share() {
    return this.cloud && (this.scale - this.cloud.low) / (this.cloud.high - this.cloud.low);
  }

  /** Take the scale in another unit, at the same share of the slider. */
  measure(unit, share = this.share()) {
    this.unit = unit;
    Object.assign(this.cloud, span(this.panels.map((panel) => panel.cloud), unit));
    this.set(this.ofShare(share));
  }

  /** A panel was moved: all follow. */
  follow(panel, scale) {
    this.stop();
    this.set(this.unit === "relative" ? scale / (panel.cloud.diameter || 1) : scale);
  }

  draw() {
    const { low, high } = this.cloud;
    this.slider.value = (STEPS * (this.scale - low)) / (high - low);
    const text = this.unit === "relative" ? `${(100 * this.scale).toFixed(1)} %` : `${round(this.scale)}`;
    this.find(".where").textContent = `ε = ${text}`;
    this.slider.setAttribute("aria-valuetext", text);
    const words = this.panels.map((panel) => {
      panel.scale = scaleOf(panel.cloud, this.unit, this.scale);
      panel.where.textContent = `ε = ${round(panel.scale)}`;
      panel.draw();
      const { pieces, loops } = at(panel.cloud, panel.scale);
      return `${panel.cloud.title}: ${many(pieces, "piece")}, ${many(loops, "loop")}`;
    });
    this.say(`ε ${text}. ${words.join("; ")}.`);
    this.root.dataset.frames = Number(this.root.dataset.frames ?? 0) + 1;
  }
}

class Tour extends Layers {
  constructor(parent) {
    super(parent, '<figure class="map"><canvas data-v="map" role="img"></canvas></figure>');
    this.root.classList.add("tour");
    this.map = this.find("canvas");
    this.slider.setAttribute("aria-label", "Layer");
    listenToLasso(this.map, this, (image) => this.chooseImages(image < 0 ? [] : [image], "chosen", image < 0 ? "" : String(image)));
    this.stop();
    this.resized.observe(this.root);
  }

  show(data) {
    if (JSON.stringify([data.id, data.look]) === this.shown) return;
    const [first, same] = [!this.cloud, this.cloud?.id === data.id];
    const [layers, points] = [data.tour, floats(data.points)];
    const events = layers.map((_, place) => place);
    this.start(data);
    const hint = "Choose a class or an image, or draw a line round some, and play.";
    this.cloud = { ...data, points, layers, low: 0, high: layers.length - 1, events, hint };
    this.reach = Math.max(1e-9, ...points.map(Math.abs));
    this.seconds = PER_LAYER * layers.length;
    const linked = first && data.link && layers.includes(inLink("tour")) ? inLink("tour") : data.open;
    this.set(same ? this.scale : Math.max(0, layers.indexOf(linked)));
    this.light(same ? this.lit : null, this.find("[data-s=light]").value);
    if (first) this.lightFromLink();
  }

  linkState() {
    return { ...super.linkState(), tour: this.cloud.layers[Math.round(this.scale)] };
  }

  stride() {
    return 1;
  }

  set(scale) {
    super.set(this.playing ? scale : Math.round(scale)); // only a tour rests between two layers
  }

  draw() {
    const { cloud, map, scale } = this;
    const [width, height] = [map.clientWidth, map.clientHeight];
    if (!cloud || !width) return;
    const sizes = [width, height].map((side) => Math.round(side * devicePixelRatio));
    if (map.width !== sizes[0] || map.height !== sizes[1]) [map.width, map.height] = sizes;
    const context = map.getContext("2d");
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, width, height);
    Object.assign(context, { textAlign: "center", textBaseline: "middle" });
    const zoom = (Math.min(width, height) / 2 - 14) / this.reach;
    const placed = (points) => points.map((value, k) => (k % 2 ? height / 2 - zoom * value : width / 2 + zoom * value));
    const points = between(cloud, scale);
    this.places = placed(points);
    const lit = new Set(this.lit?.images);
    this.drawPaths(context, lit, placed);
    for (let i = 0; i < cloud.count; i++) {
      const [x, y] = [this.places[2 * i], this.places[2 * i + 1]];
      context.globalAlpha = !lit.size || lit.has(i) ? 1 : 0.3;
      drawMark(context, cloud, x, y, cloud.colours[i], cloud.labelled && cloud.classes[i], lit.has(i));
      if (lit.has(i)) drawRing(context, x, y, cloud.look.warning);
    }
    context.globalAlpha = 1;
    if (this.lasso) drawLasso(context, this.lasso, cloud.look);
    this.describe(points);
  }

  /** The way of the lit images through the last three layers. */
  drawPaths(context, lit, placed) {
    const from = Math.max(0, Math.ceil(this.scale) - 3);
    const steps = [];
    for (let place = from; place < this.scale; place++) steps.push(placed(between(this.cloud, place)));
    steps.push(this.places);
    Object.assign(context, { strokeStyle: this.cloud.look.warning, lineWidth: 1, globalAlpha: 0.5 });
    for (const i of lit) {
      context.beginPath();
      for (const places of steps) context.lineTo(places[2 * i], places[2 * i + 1]);
      context.stroke();
    }
  }

  describe(points) {
    const { layers, count, what } = this.cloud;
    const place = Math.round(this.scale);
    const where = `${layers[place]}, layer ${place + 1} of ${layers.length}`;
    const lit = this.lit?.images.length ?? 0;
    const share = lit > 1 ? spread(points, this.lit.images) : NaN;
    const far = Number.isFinite(share) ? ` Here they are ${share.toFixed(2)} times as far apart as all ${what}s are.` : "";
    this.find(".where").textContent = where;
    this.slider.value = (STEPS * this.scale) / (layers.length - 1 || 1);
    this.slider.setAttribute("aria-valuetext", where);
    this.find(":scope > .chosen p").textContent = (this.lit?.text ?? this.cloud.hint) + far;
    this.map.setAttribute("aria-label", `Map of ${many(count, what)} in ${where}; ${lit} lit.${far}`);
    this.say(`${where}.${far}`);
    this.root.dataset.frames = Number(this.root.dataset.frames ?? 0) + 1;
  }
}

export default function layers(component) {
  const { data, parentElement } = component;
  return mount(component, () => (data.tour ? new Tour(parentElement) : new Together(parentElement)));
}
