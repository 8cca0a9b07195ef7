// Elements, and how numbers are written.

/** An element of `tag` with attributes (functions are event listeners; null, undefined and false are left out) and children. */
function h(tag, attributes = {}, ...children) {
    return fill(document.createElement(tag), attributes, children);
}

/** The same in SVG. */
function svg(tag, attributes = {}, ...children) {
    return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
        if (typeof value === "function") {
            element.addEventListener(name, value);
        } else if (value !== null && value !== undefined && value !== false) {
            element.setAttribute(name, value === true ? "" : value);
        }
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
    return element;
}

/** A confidence with five digits, rounded down: only what is 1 says 1.00000. */
function confidenceText(value) {
    return (Math.floor(value * 1e5 + 1e-6) / 1e5).toFixed(5);
}

/** A number's text with a real minus. */
function signText(digits) {
    return digits.replace(/^-/, "−");
}

/** A whole number with thousands marked. */
function wholeText(value) {
    return Math.round(value).toLocaleString("en-US");
}

/** A number as short as it is told apart from its neighbours, or a dash where there is none. */
function numberText(value, digits = 4) {
    if (value === null || value === undefined || Number.isNaN(value)) {
        return "–";
    }
    return Number.isInteger(value) ? wholeText(value) : String(Number(value.toPrecision(digits)));
}

/** Where a confidence stands on a scale of log odds, from .0001 at 0 to .99999 at 1: it tells apart what is nearly 0 and what is nearly 1. */
function scaled(confidence) {
    return Math.min(1, Math.max(0, (logOdds(confidence) + 4) / 9));
}

function logOdds(confidence) {
    return Math.log10(Math.max(confidence, 1e-9)) - Math.log10(Math.max(1 - confidence, 1e-9));
}

/** The ends of that scale, for people. */
const SCALE_ENDS = [".0001", ".99999"];

/** Shows RGBA `pixels` on a canvas. */
function paint(canvas, { width, height, pixels }) {
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
}

/** The largest size within `most` that has the shape of `canvas`; not more points than it has pixels. */
function sizeWithin({ width, height }, most) {
    const scale = Math.min(1, most / Math.max(width, height));
    return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/** Lets the reader save `blob` as a file. */
function save(blob, name) {
    const url = URL.createObjectURL(blob);
    h("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** Redraws what depends on the width of `element` whenever that changes; `draw` gets the width and returns the new content. */
function drawnToWidth(element, draw) {
    let drawn = 0;
    new ResizeObserver(() => {
        const width = Math.floor(element.clientWidth);
        if (width > 0 && width !== drawn) {
            drawn = width;
            element.replaceChildren(draw(width));
        }
    }).observe(element);
    return element;
}
