// Convergence and heat maps.

const CHART_HEIGHT = 300;
const CHART_MARGINS = { left: 66, right: 74, top: 14, bottom: 44 };

/** The lines of the chart. Each has dashes and a name of its own: colour is not what tells them apart. */
const CURVES = [
    { key: "max", name: "best class", dashes: "2 3" },
    { key: "median", name: "median", dashes: "" },
    { key: "mean", name: "mean", dashes: "9 4" },
    { key: "min", name: "worst class", dashes: "2 3" },
];

/** Confidences marked on the axis, which is one of log odds. */
const MARKS = [0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999];

/** The chart of a run's curve: confidence, by its log odds, by generation, on a logarithmic scale. */
function convergenceChart(curve) {
    const readout = h("p", { class: "readout", "aria-live": "off" }, curveReadout(curve, curve.generation.length - 1));
    const chart = h("div", { class: "chart" });
    drawnToWidth(chart, (width) => convergenceSvg(curve, width, readout));
    return h("figure", { class: "convergence" }, chart, h("figcaption", {}, readout));
}

function curveReadout(curve, at) {
    const counts = [["over_99", ".99"], ["over_999", ".999"], ["over_9999", ".9999"]].filter(([key]) => curve[key]);
    return [
        `Generation ${wholeText(curve.generation[at])}, ${wholeText(curve.evaluations[at])} images: `,
        `median ${confidenceText(curve.median[at])}, mean ${confidenceText(curve.mean[at])}, `,
        `worst ${confidenceText(curve.min[at])}, best ${confidenceText(curve.max[at])}`,
        counts.map(([key, name]) => `; ${curve[key][at]} at ${name}`).join(""),
    ].join("");
}

function convergenceSvg(curve, width, readout) {
    const { left, right, top, bottom } = CHART_MARGINS;
    const n = curve.generation.length;
    const most = Math.log10(curve.generation[n - 1] + 1) || 1;
    const x = (generation) => left + (Math.log10(generation + 1) / most) * (width - left - right);
    const marks = marksFor(curve);
    const [least, greatest] = [scaled(marks[0]), scaled(marks[marks.length - 1])];
    const y = (confidence) => {
        const share = (scaled(confidence) - least) / (greatest - least);
        return top + (1 - Math.min(1, Math.max(0, share))) * (CHART_HEIGHT - top - bottom);
    };
    const xs = curve.generation.map(x);
    const cursor = svg("line", { class: "cursor", y1: top, y2: CHART_HEIGHT - bottom, visibility: "hidden" });
    const point = (event) => {
        const box = picture.getBoundingClientRect();
        const wanted = ((event.clientX - box.left) / box.width) * width;
        const after = xs.findIndex((at) => at >= wanted);
        const at = after < 0 ? n - 1 : after > 0 && wanted - xs[after - 1] < xs[after] - wanted ? after - 1 : after;
        fill(cursor, { x1: xs[at], x2: xs[at], visibility: "visible" }, []);
        readout.textContent = curveReadout(curve, at);
    };
    const leave = () => {
        cursor.setAttribute("visibility", "hidden");
        readout.textContent = curveReadout(curve, n - 1);
    };
    const label = `How confidences grew over ${wholeText(curve.generation[n - 1])} generations: ${readout.textContent}`;
    const picture = svg(
        "svg",
        { width, height: CHART_HEIGHT, viewBox: `0 0 ${width} ${CHART_HEIGHT}`, role: "img", "aria-label": label, pointermove: point, pointerleave: leave },
        chartAxes(width, x, y, marks, curve.generation[n - 1]),
        svg("path", { class: "band", d: bandPath(xs, curve.min.map(y), curve.max.map(y)) }),
        CURVES.map(({ key, dashes }) => svg("path", { class: `curve ${key}`, d: linePath(xs, curve[key].map(y)), "stroke-dasharray": dashes })),
        curveNames(curve, n - 1, width - right + 6, y),
        cursor,
    );
    return picture;
}

/** The marks from the one below all values to the one above them. */
function marksFor(curve) {
    const lowest = MARKS.findLastIndex((mark) => mark <= curve.min[0]);
    const highest = MARKS.findIndex((mark) => mark >= curve.max[curve.max.length - 1]);
    return MARKS.slice(Math.max(0, lowest), highest < 0 ? MARKS.length : Math.max(highest, 1) + 1);
}

function chartAxes(width, x, y, marks, last) {
    const { left, right, top, bottom } = CHART_MARGINS;
    const floor = CHART_HEIGHT - bottom;
    const ticks = [];
    for (let tick = 1; tick <= last; tick *= 10) {
        ticks.push(tick);
    }
    // The last generation is marked where that leaves room for the tick before it.
    if (ticks.length === 0 || x(last) - x(ticks[ticks.length - 1]) > 46) {
        ticks.push(last);
    }
    return svg(
        "g",
        { class: "axes", "aria-hidden": "true" },
        marks.map((value) => [
            svg("line", { x1: left, x2: width - right, y1: y(value), y2: y(value) }),
            svg("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, String(value)),
        ]),
        ticks.map((tick) => [
            svg("line", { x1: x(tick), x2: x(tick), y1: top, y2: floor }),
            svg("text", { x: x(tick), y: floor + 17, "text-anchor": "middle" }, wholeText(tick)),
        ]),
        svg("text", { x: (left + width - right) / 2, y: CHART_HEIGHT - 6, "text-anchor": "middle", class: "title" }, "generation"),
    );
}

/** The names of the lines at their ends, moved apart where they would lie on each other. */
function curveNames(curve, at, x, y) {
    const names = CURVES.map(({ key, name }) => ({ key, name, y: y(curve[key][at]) + 4 })).sort((a, b) => a.y - b.y);
    for (let i = 1; i < names.length; i++) {
        names[i].y = Math.max(names[i].y, names[i - 1].y + 14);
    }
    const over = Math.max(0, names[names.length - 1].y - (CHART_HEIGHT - CHART_MARGINS.bottom));
    return names.map((line) => svg("text", { x, y: line.y - over, class: `name ${line.key}`, "aria-hidden": "true" }, line.name));
}

function linePath(xs, ys) {
    return xs.map((x, i) => `${i === 0 ? "M" : "L"}${x.toFixed(1)} ${ys[i].toFixed(1)}`).join("");
}

function bandPath(xs, lower, upper) {
    const back = xs.map((x, i) => [x, upper[i]]).reverse();
    return `${linePath(xs, lower)}${back.map(([x, y]) => `L${x.toFixed(1)} ${y.toFixed(1)}`).join("")}Z`;
}

/** Cividis (Nunez, Anderton, Renslow 2018): made to look alike with and without full colour vision; its lightness grows evenly. */
const CIVIDIS = [
    [0, 34, 78],
    [53, 69, 108],
    [102, 105, 112],
    [148, 142, 119],
    [200, 184, 102],
    [254, 232, 56],
];

function heatColour(share) {
    const at = Math.min(1, Math.max(0, share)) * (CIVIDIS.length - 1);
    const below = Math.min(Math.floor(at), CIVIDIS.length - 2);
    const mix = (channel) => Math.round(CIVIDIS[below][channel] + (at - below) * (CIVIDIS[below + 1][channel] - CIVIDIS[below][channel]));
    return `rgb(${mix(0)} ${mix(1)} ${mix(2)})`;
}

/** What the colours mean. `ends` are the texts at the two ends. */
function heatKey(ends) {
    const stops = CIVIDIS.map((_, i) => heatColour(i / (CIVIDIS.length - 1))).join(",");
    const bar = h("span", { class: "heat-bar" });
    bar.style.background = `linear-gradient(90deg,${stops})`;
    return h("p", { class: "heat-key" }, ends[0], bar, ends[1]);
}

/**
 * A small heat map: a table, so that it can be read out, copied and printed. `value(row, column)` is null, or `share` (what colours it),
 * `text`, `title` and, where it leads anywhere, `open`.
 */
function heatTable(rows, columns, value, caption) {
    const cell = (row, column) => {
        const found = value(row, column);
        if (found === null) {
            return h("td", { class: "none" }, "–");
        }
        const content = found.open ? h("button", { type: "button", title: found.title, click: found.open }, found.text) : found.text;
        const element = h("td", { class: found.share > 0.55 ? "light" : "deep", title: found.open ? null : found.title }, content);
        element.style.background = heatColour(found.share);
        return element;
    };
    const head = h("tr", {}, h("td"), columns.map((name) => h("th", { scope: "col", title: name }, name)));
    const body = rows.map((name, row) => h("tr", {}, h("th", { scope: "row" }, name), columns.map((_, column) => cell(row, column))));
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
        h("table", { class: "heat" }, h("caption", {}, caption), h("thead", {}, head), h("tbody", {}, body)));
}

/** A large heat map, of as many cells as `cells`, row by row as the width allows. Each has `share`, `text`, and `open`. */
function heatTiles(cells, caption) {
    const readout = h("p", { class: "readout" }, caption);
    const area = h("div", { class: "tiles" });
    drawnToWidth(area, (width) => tilesCanvas(cells, width, caption, readout));
    return h("figure", {}, area, h("figcaption", {}, readout));
}

function tilesCanvas(cells, width, caption, readout) {
    const side = width < 500 ? 9 : 14;
    const columns = Math.floor(width / side);
    const rows = Math.ceil(cells.length / columns);
    const scale = Math.ceil(window.devicePixelRatio || 1);
    const canvas = h("canvas", { width: columns * side * scale, height: rows * side * scale, role: "img", "aria-label": caption });
    canvas.style.width = `${columns * side}px`;
    const context = canvas.getContext("2d");
    cells.forEach((cell, i) => {
        context.fillStyle = heatColour(cell.share);
        const [x, y] = [(i % columns) * side * scale, Math.floor(i / columns) * side * scale];
        context.fillRect(x, y, side * scale - scale, side * scale - scale);
    });
    const under = (event) => cells[Math.floor(event.offsetY / side) * columns + Math.floor(event.offsetX / side)];
    canvas.addEventListener("pointermove", (event) => (readout.textContent = under(event)?.text ?? caption));
    canvas.addEventListener("pointerleave", () => (readout.textContent = caption));
    canvas.addEventListener("click", (event) => under(event)?.open());
    return canvas;
}
