// Learning curves: accuracy and loss side by side. The configuration under the pointer, or the one that was clicked,
// shows the band of its runs and its training beside its validation.
const TITLES = { loss: "loss", val: "validation", train: "training", epochs: "epoch", seconds: "training seconds" };
const LINE = 13, WIDE = 6.2;  // height of a label, width of a character

function ticksOf(low, high, most, smallest) {
  const power = 10 ** Math.floor(Math.log10((high - low) / most));
  const step = Math.max(smallest, [1, 2, 5, 10].find((factor) => (high - low) / (factor * power) <= most) * power);
  const first = Math.ceil(low / step - 1e-9);
  const values = [];
  for (let tick = first; tick * step <= high + step * 1e-9; tick += 1) values.push(Number((tick * step).toPrecision(12)));
  return values;
}

function startCurves(section, { curves, loss_limit: lossLimit, measured }) {
  const boxes = all(".chart", section), readout = one(".curves-readout", section), buttons = all(".lines button", section);
  const hint = readout.textContent, on = new Set(buttons.flatMap((button, index) => (button.ariaPressed === "true" ? [index] : [])));
  let x = "epochs", part = "val", active = null, pinned = null, at = 0, panels = [];

  const titleOf = (name, kind) => (kind === "acc" ? measured[name] : TITLES[kind]);

  // The curves that a panel draws of a configuration.
  function partsOf(index, kind) {
    const known = ["val", "train"].filter((name) => curves[index][`${name}_${kind}`]);
    const wanted = known.filter((name) => part === "both" || name === part);
    return wanted.length ? wanted : known;  // older records have less
  }

  function spans(kind) {
    const shown = [...on].map((index) => curves[index]);
    const xs = shown.flatMap((curve) => curve[x]);
    const ys = [...on].flatMap((index) => partsOf(index, kind).flatMap((name) => curves[index][`${name}_${kind}`].mean));
    const extent = (values) => values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
    let [left, right] = xs.length ? extent(xs) : [0, 1], [bottom, top] = ys.length ? extent(ys) : [0, 1];
    if (x === "seconds") left = 0;
    if (left === right) [left, right] = x === "epochs" ? [left - 1, right + 1] : [0, right || 1];
    if (kind === "loss") [bottom, top] = [0, Math.min(top, lossLimit ?? Infinity) * 1.05 || 1];
    else [bottom, top] = [Math.max(0, bottom - 0.02), Math.min(1.005, top + 0.02)];
    return { left, right, bottom, top };
  }

  function drawPanel(box, kind) {
    const width = Math.max(280, box.clientWidth), height = Math.round(Math.min(380, Math.max(250, width * 0.62)));
    const longest = Math.max(0, ...[...on].map((index) => nameOf(index).length));
    const isNarrow = 24 + WIDE * longest > width * 0.45;  // then the names are numbers, those of the buttons
    const labelWidth = isNarrow ? 40 : 24 + WIDE * longest, plot = { left: 46, right: width - labelWidth, top: 24, bottom: height - 36 };
    const span = spans(kind);
    const toX = (value) => plot.left + ((value - span.left) / (span.right - span.left)) * (plot.right - plot.left);
    const toY = (value) => plot.bottom - ((value - span.bottom) / (span.top - span.bottom)) * (plot.bottom - plot.top);
    const title = part === "both" ? [...new Set(["val", "train"].map((name) => titleOf(name, kind)))].join(", ") : `${TITLES[part]} ${titleOf(part, kind)}`;
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title} by ${TITLES[x]}, ${on.size} of ${curves.length} configurations drawn` });
    for (const value of ticksOf(span.left, span.right, Math.max(3, width / 110), x === "epochs" ? 1 : 0)) {
      svg.append(element("line", { class: "grid", x1: toX(value), x2: toX(value), y1: plot.top, y2: plot.bottom }));
      svg.append(element("text", { class: "small", x: toX(value), y: plot.bottom + 16, "text-anchor": "middle" }, value));
    }
    for (const value of ticksOf(span.bottom, span.top, 6, 0)) {
      svg.append(element("line", { class: "grid", x1: plot.left, x2: plot.right, y1: toY(value), y2: toY(value) }));
      svg.append(element("text", { class: "small", x: plot.left - 6, y: toY(value) + 4, "text-anchor": "end" }, value));
    }
    svg.append(element("text", { class: "small", x: plot.right, y: height - 5, "text-anchor": "end" }, TITLES[x]));
    svg.append(element("text", { x: 4, y: 13 }, title + (kind === "loss" && lossLimit !== null && span.top > lossLimit ? `, cut at ${lossLimit}` : "")));
    const name = `clip-${kind}-${section.id}`, clip = element("clipPath", { id: name });
    clip.append(element("rect", { x: plot.left - 6, y: plot.top - 6, width: plot.right - plot.left + 12, height: plot.bottom - plot.top + 12 }));
    const lines = element("g", { "clip-path": `url(#${name})` });
    svg.append(clip, lines);
    const drawn = new Map(), order = [...on].sort((a, b) => b - a);  // the best in front
    for (const index of order) {
      const group = element("g", { class: `series c${index % 7} d${index % 4}`, "data-index": index });
      const points = new Map();
      for (const own of partsOf(index, kind)) points.set(own, drawLine(group, index, `${own}_${kind}`, toX, toY));
      const main = points.get(part === "train" ? "train" : "val") ?? [...points.values()][0];
      if (!main) continue;
      const ring = kind === "acc" && part !== "train" ? between(curves[index], main) : null;
      if (ring) group.append(element("circle", { class: "ring", cx: ring[0], cy: ring[1], r: 5 }));
      lines.append(group);
      drawn.set(index, { points: main, group });
    }
    const ends = label(svg, drawn, plot, height, isNarrow);
    const cursor = element("circle", { r: 5, class: "cursor", visibility: "hidden" });
    const overlay = element("g", {});
    lines.append(overlay);
    svg.append(cursor);
    box.replaceChildren(svg);
    return { svg, kind, plot, toX, toY, drawn, overlay, cursor, ends };
  }

  // Of the active configuration: the bands of its runs, and the other one of validation and training.
  function drawActive({ kind, plot, toX, toY, overlay }) {
    overlay.replaceChildren();
    if (active === null || !on.has(active)) return;
    const group = element("g", { class: `series active c${active % 7} d${active % 4}`, "data-active": active });
    for (const name of ["val", "train"].filter((own) => curves[active][`${own}_${kind}`])) {
      const { low, high } = curves[active][`${name}_${kind}`];
      if (low) group.append(element("polygon", { class: "band", points: `${text(place(active, high, toX, toY))} ${text(place(active, low, toX, toY).reverse())}` }));
      if (partsOf(active, kind).includes(name)) continue;
      const points = drawLine(group, active, `${name}_${kind}`, toX, toY);
      const inside = points.find(([, cy]) => cy <= plot.bottom && cy >= plot.top);
      if (inside) group.append(element("text", { class: "small halo", x: inside[0] + 8, y: inside[1] + 4 }, TITLES[name]));
    }
    overlay.append(group);
  }

  function place(index, values, toX, toY) {
    return curves[index][x].map((value, epoch) => [toX(value), toY(values[epoch])]);
  }

  function text(points) {
    return points.map((point) => point.map((value) => value.toFixed(1)).join(",")).join(" ");
  }

  function drawLine(group, index, name, toX, toY) {
    const part = element("g", { class: name.startsWith("train") ? "training" : "validation" });
    const points = place(index, curves[index][name].mean, toX, toY);
    part.append(element("polyline", { class: "curve", points: text(points) }));
    if (points.length <= 12 && !name.startsWith("train")) for (const [cx, cy] of points) part.append(element("circle", { class: "dot", cx, cy, r: 2.5 }));
    group.append(part);
    return points;
  }

  // The names at the ends of the lines, apart from each other.
  function label(svg, drawn, plot, height, isNarrow) {
    const most = Math.floor((height - 10) / LINE);
    const ends = [...drawn].sort(([a], [b]) => a - b).slice(0, most).map(([index, { points }]) => ({ index, end: points.at(-1) }));
    ends.sort((a, b) => a.end[1] - b.end[1]);
    let y = 0;
    for (const item of ends) y = item.y = Math.max(item.end[1], y + LINE, 10);
    let limit = height - 6;
    for (const item of [...ends].reverse()) limit = (item.y = Math.min(item.y, limit)) - LINE;
    for (const item of ends) {
      const start = plot.right + 14;
      svg.append(element("line", { class: `tie c${item.index % 7}`, x1: Math.min(item.end[0] + 3, plot.right), y1: Math.max(item.end[1], plot.top - 6), x2: start - 3, y2: item.y }));
      item.text = element("text", { class: "end small", x: start, y: item.y + 4 }, isNarrow ? item.index + 1 : nameOf(item.index));
      item.text.addEventListener("pointerenter", () => activate(item.index, curves[item.index].epochs.length - 1));
      item.text.addEventListener("click", () => pin(item.index));
      svg.append(item.text);
    }
    return ends;
  }

  // The values in which a configuration differs from the others that are drawn.
  function nameOf(index) {
    const parts = curves[index].parts.filter((part, at) => part && [...on].some((other) => curves[other].parts[at] !== part));
    return `${index + 1} ${parts.join(", ")}`;
  }

  function draw() {
    panels = [drawPanel(boxes[0], "acc"), drawPanel(boxes[1], "loss")];
    show();
  }

  function between(curve, points) {  // the point of a mean convergence epoch
    const epoch = curve.convergence_epoch, after = curve.epochs.findIndex((value) => value >= epoch);
    if (epoch === null || after < 0) return null;
    if (after === 0 || curve.epochs[after] === epoch) return points[after];
    const share = (epoch - curve.epochs[after - 1]) / (curve.epochs[after] - curve.epochs[after - 1]);
    return points[after].map((value, axis) => points[after - 1][axis] + share * (value - points[after - 1][axis]));
  }

  function show() {
    for (const panel of panels) {
      const { drawn, cursor, ends } = panel;
      drawActive(panel);
      const isFaded = (index) => active !== null && index !== active && drawn.has(active);
      for (const [index, { group }] of drawn) {
        group.classList.toggle("active", index === active);
        group.classList.toggle("faded", isFaded(index));
      }
      for (const { index, text } of ends) {
        text.classList.toggle("active", index === active);
        text.classList.toggle("faded", isFaded(index));
      }
      const shown = drawn.get(active);
      cursor.setAttribute("visibility", shown ? "visible" : "hidden");
      if (!shown) continue;
      cursor.setAttribute("cx", shown.points[at][0]);
      cursor.setAttribute("cy", shown.points[at][1]);
      cursor.setAttribute("class", `cursor c${active % 7}`);
    }
    readout.textContent = active === null ? hint : values(curves[active]);
  }

  function values(curve) {
    const band = (name) => {
      const [first, second] = name.split("_"), { mean, low, high } = curve[name];
      return `${TITLES[first]} ${titleOf(first, second)} ${mean[at]}` + (low && curve.runs[at] > 1 ? ` (${low[at]} to ${high[at]} over ${curve.runs[at]} runs)` : "");
    };
    const known = ["val_acc", "train_acc", "val_loss", "train_loss"].filter((name) => curve[name]).map(band).join(", ");
    const converged = curve.convergence_epoch === null ? "" : `; convergence epoch ${curve.convergence_epoch}`;
    return `${curve.name} (${curve.state}): epoch ${curve.epochs[at]}, ${curve.seconds[at]} s, ${known}${converged}`;
  }

  function activate(index, point = 0) {
    const next = index ?? pinned;
    active = next;
    at = next === null ? 0 : Math.max(0, Math.min(curves[next].epochs.length - 1, index === null ? curves[next].epochs.length - 1 : point));
    show();
  }

  function pin(index) {
    pinned = pinned === index ? null : index;
    activate(index === null ? null : index, at);
  }

  function set(index, pressed) {
    buttons[index].ariaPressed = String(pressed);
    if (pressed) on.add(index);
    else on.delete(index);
    if (!pressed && pinned === index) pinned = null;
  }

  function nearest({ svg, drawn }, event) {
    const [px, py] = within(svg, event);
    let found = [null, 0], distance = 40;
    for (const [index, { points }] of drawn) {
      points.forEach(([cx, cy], point) => {
        const away = Math.hypot(cx - px, cy - py);
        if (away < distance) [found, distance] = [[index, point], away];
      });
    }
    if (found[0] === null && event.target.closest(".end")) return;
    if (found[0] !== active || found[1] !== at) activate(...found);
  }

  boxes.forEach((box, panel) => {
    box.addEventListener("pointermove", (event) => nearest(panels[panel], event));
    box.addEventListener("pointerleave", () => activate(null));
    box.addEventListener("click", (event) => {
      if (event.target.closest(".end")) return;
      nearest(panels[panel], event);  // what had the focus has lost it
      pin(active);
    });
  });
  buttons.forEach((button, index) => {
    const last = curves[index].epochs.length - 1;
    for (const name of ["pointerenter", "focus"]) button.addEventListener(name, () => activate(index, last));
    for (const name of ["pointerleave", "blur"]) button.addEventListener(name, () => activate(null));
    button.addEventListener("click", () => {
      set(index, !on.has(index));
      draw();
    });
    button.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      activate(index, at + step);
    });
  });
  for (const button of all("[data-first]", section)) {
    button.addEventListener("click", () => {
      buttons.forEach((_, index) => set(index, index < Number(button.dataset.first)));
      draw();
    });
  }
  for (const radio of all(".curves input[type=radio]", section)) {
    radio.checked = radio.defaultChecked;
    radio.addEventListener("change", () => {
      if (radio.dataset.of === "x") x = radio.value;
      else part = radio.value;
      draw();
    });
  }
  redrawOnResize(boxes[0], draw);
  draw();
}
for (const section of all(".dataset")) {
  const found = content(section, ".curves-data");
  if (found !== null) startCurves(section, found);
}
