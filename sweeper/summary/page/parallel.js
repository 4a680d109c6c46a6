// Parallel coordinates: a line for each configuration. Dragging on an axis, or moving its handles with the arrow keys,
// selects; what is not selected is faded, and left out of the table of results.
const SNAP = 0.02;  // of an axis: positions that count as equal

function startParallel(section, { axes, rows, names }) {
  const box = one(".axes", section), readout = one(".axes-readout", section), hint = readout.textContent;
  const ranges = axes.map(() => [0, 1]);
  const stops = axes.map(({ ticks, steps }) => (steps ? ticks.map(([place]) => place) : null));
  const last = axes.length - 1, known = rows.filter((places) => places[last] !== null);
  const byRank = [...known].sort((a, b) => a[last] - b[last]).map((places) => places[last]);
  const shadeOf = (place) => (place === null ? 0 : Math.min(4, Math.floor((5 * byRank.indexOf(place)) / Math.max(1, byRank.length - 1))));
  let lines = [], active = null, marks = [], geometry = null;

  const isOpen = ([low, high]) => low <= 0 && high >= 1;
  const isSelected = (row) => ranges.every((range, axis) => {
    const place = rows[row][axis];
    return isOpen(range) || (place !== null && place >= range[0] - SNAP && place <= range[1] + SNAP);
  });
  const selection = () => rows.map((_, row) => row).filter(isSelected);

  function draw() {
    const width = Math.max(box.clientWidth, axes.length * 92 + 60), height = 300;
    const left = 52, right = width - 70, top = 46, bottom = height - 16;
    const toX = (axis) => left + (axis * (right - left)) / (axes.length - 1);
    const toY = (place) => bottom - place * (bottom - top);
    geometry = { toX, toY, fromY: (y) => Math.max(0, Math.min(1, (bottom - y) / (bottom - top))) };
    const svg = element("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": `Parallel coordinates of ${rows.length} configurations` });
    lines = rows.map((places, row) => {
      const points = places.flatMap((place, axis) => (place === null ? [] : [`${toX(axis).toFixed(1)},${toY(place).toFixed(1)}`]));
      return element("polyline", { class: `row q${shadeOf(places[last])}`, points: points.join(" "), "data-row": row });
    });
    svg.append(...[...lines].reverse());  // the best in front
    marks = axes.map((axis, index) => drawAxis(svg, axis, index, top, bottom));
    box.replaceChildren(svg);
    svg.addEventListener("pointermove", (event) => hover(svg, event));
    svg.addEventListener("pointerleave", () => activate(null));
    show();
  }

  function drawAxis(svg, axis, index, top, bottom) {
    const x = geometry.toX(index), isLast = index === last;
    svg.append(element("line", { class: "axis", x1: x, x2: x, y1: top, y2: bottom }));
    const title = element("text", { class: "title", x, y: index % 2 ? 12 : 28, "text-anchor": index === 0 ? "start" : isLast ? "end" : "middle" }, axis.name);
    if (index === 0) title.setAttribute("x", 4);
    if (isLast) title.setAttribute("x", x + 66);
    svg.append(title);
    for (const [place, text] of axis.ticks) {
      svg.append(element("line", { class: "axis", x1: x - 3, x2: x + 3, y1: geometry.toY(place), y2: geometry.toY(place) }));
      svg.append(element("text", { class: "small halo", x: x + 7, y: geometry.toY(place) + 4 }, text));
    }
    const brush = element("rect", { class: "brush", x: x - 6, width: 12, visibility: "hidden" });
    const hit = element("rect", { class: "hit", x: x - 16, width: 32, y: top - 10, height: bottom - top + 20 });
    svg.append(brush, hit);
    startDrag(svg, hit, index);
    const handles = [0, 1].map((end) => {
      const handle = element("g", { class: "handle", role: "slider", tabindex: 0, "aria-orientation": "vertical", "aria-label": `${axis.name}, ${end ? "highest" : "lowest"} selected`, "aria-valuemin": 0, "aria-valuemax": 100 });
      handle.append(element("rect", { x: x - 8, width: 16, height: 5, rx: 2 }));
      handle.addEventListener("keydown", (event) => move(event, index, end));
      startDrag(svg, handle, index, end);
      svg.append(handle);
      return handle;
    });
    return { brush, handles };
  }

  // Of an axis: selects from the start to the end of the movement; of a handle: moves that end of the selection.
  function startDrag(svg, hit, index, end = null) {
    let from = null, moved = false;
    hit.addEventListener("pointerdown", (event) => {
      if (end === null) event.preventDefault();
      from = end === null ? geometry.fromY(within(svg, event)[1]) : ranges[index][1 - end];
      moved = false;
      hit.setPointerCapture(event.pointerId);
    });
    hit.addEventListener("pointermove", (event) => {
      if (from === null) return;
      const to = geometry.fromY(within(svg, event)[1]);
      moved ||= Math.abs(to - from) > SNAP;
      if (moved) set(index, Math.min(from, to), Math.max(from, to));
    });
    hit.addEventListener("pointerup", () => {
      if (from !== null && !moved && end === null) choose(index, from);
      from = null;
    });
    hit.addEventListener("pointercancel", () => { from = null; });
  }

  // A click: on a value selects it, again or elsewhere selects all.
  function choose(index, place) {
    const near = stops[index]?.find((stop) => Math.abs(stop - place) < 0.5 / Math.max(1, stops[index].length - 1));
    const [low, high] = ranges[index];
    if (near === undefined || (low === near && high === near)) set(index, 0, 1);
    else set(index, near, near);
  }

  function move(event, index, end) {
    if (event.key === "Escape") {
      set(index, 0, 1);
      return;
    }
    const way = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1 }[event.key];
    const jump = { Home: 0, End: 1, PageDown: 0, PageUp: 1 }[event.key];
    if (way === undefined && jump === undefined) return;
    event.preventDefault();
    const range = [...ranges[index]], grid = stops[index] ?? [...Array(21).keys()].map((step) => step / 20);
    const next = way > 0 ? grid.find((stop) => stop > range[end] + 1e-9) : grid.findLast((stop) => stop < range[end] - 1e-9);
    range[end] = jump ?? next ?? range[end];
    if (range[0] > range[1]) range[1 - end] = range[end];
    set(index, ...range);
  }

  function set(index, low, high) {
    ranges[index] = [low, high];
    show();
    const chosen = ranges.every(isOpen) ? null : new Set(selection());
    section.dispatchEvent(new CustomEvent("brush", { detail: chosen }));
  }

  function textAt(axis, place) {
    const { ticks, steps, low, high, is_log: isLog } = axes[axis];
    const value = low + place * (high - low);
    if (!steps) return Number((isLog ? 10 ** value : value).toPrecision(3)).toString();
    return ticks.reduce((best, tick) => (Math.abs(tick[0] - place) < Math.abs(best[0] - place) ? tick : best))[1];
  }

  function show() {
    const chosen = new Set(selection());
    lines.forEach((line, row) => {
      line.classList.toggle("out", !chosen.has(row));
      line.classList.toggle("active", row === active);
    });
    marks.forEach(({ brush, handles }, index) => {
      const [low, high] = ranges[index].map(geometry.toY);
      brush.setAttribute("visibility", isOpen(ranges[index]) ? "hidden" : "visible");
      brush.setAttribute("y", high - 5);
      brush.setAttribute("height", low - high + 10);
      handles.forEach((handle, end) => {
        const place = ranges[index][end];
        handle.firstChild.setAttribute("y", end ? high - 10 : low + 5);
        handle.setAttribute("aria-valuenow", Math.round(100 * place));
        handle.setAttribute("aria-valuetext", textAt(index, place));
      });
    });
    if (active !== null) readout.textContent = names[active];
    else if (ranges.every(isOpen)) readout.textContent = hint;
    else {
      const best = [...chosen].slice(0, 3).map((row) => names[row]).join("; ");
      readout.textContent = `${chosen.size} of ${rows.length} configurations selected${best ? `: ${best}` : ""}${chosen.size > 3 ? "; ..." : ""}`;
    }
  }

  function activate(row) {
    if (row === active) return;
    active = row;
    show();
  }

  function hover(svg, event) {
    const [x, y] = within(svg, event);
    let nearest = null, distance = 12;
    for (const row of selection()) {
      for (let axis = 1; axis < axes.length; axis += 1) {
        const [before, after] = [rows[row][axis - 1], rows[row][axis]];
        const [left, right] = [geometry.toX(axis - 1), geometry.toX(axis)];
        if (before === null || after === null || x < left || x > right) continue;
        const share = (x - left) / (right - left);
        const away = Math.abs(geometry.toY(before + share * (after - before)) - y);
        if (away < distance) [nearest, distance] = [row, away];
      }
    }
    activate(nearest);
  }

  section.addEventListener("clear", () => {
    ranges.forEach((_, index) => { ranges[index] = [0, 1]; });
    set(0, 0, 1);
  });
  one(".unbrush", section).addEventListener("click", () => section.dispatchEvent(new Event("clear")));
  redrawOnResize(box, draw);
  draw();
}
for (const section of all(".dataset")) {
  const found = content(section, ".parallel-data");
  if (found !== null) startParallel(section, found);
}
