// From a genome to pixels: the rule and the numbers of src/genome. What it draws is what evolution drew, bit for bit.

const N_INPUTS = 4;
const INPUT_NAMES = ["x", "y", "distance", "one"];

/** A CPPN ready to be drawn: activations by node, edges as typed arrays. Its genes may be changed. */
class Cppn {
    constructor(genome) {
        this.canvas = genome.canvas;
        this.normalise = genome.normalise;
        this.maxWeight = f32(genome.max_weight);
        this.arithmeticVersion = genome.arithmetic_version;
        this.activations = genome.nodes.map((node) => node.activation);
        this.from = genome.edges.map((edge) => edge.from);
        this.to = genome.edges.map((edge) => edge.to);
        this.genes = Float32Array.from(genome.edges, (edge) => edge.gene);
        this.firstHidden = N_INPUTS + genome.canvas.channels;
        this.incoming = this.activations.map(() => []);
        this.to.forEach((node, edge) => this.incoming[node].push(edge));
        this.#times();
    }

    get nNodes() {
        return this.activations.length;
    }

    get nEdges() {
        return this.from.length;
    }

    isOutput(node) {
        return node >= N_INPUTS && node < this.firstHidden;
    }

    /** What a node is called. */
    nodeName(node) {
        if (node < N_INPUTS) {
            return INPUT_NAMES[node];
        }
        const outputs = this.canvas.channels === 1 ? ["grey"] : ["hue", "lightness", "saturation"];
        return outputs[node - N_INPUTS] ?? `n${node}`;
    }

    weight(edge) {
        return fma(2 * this.maxWeight, this.genes[edge], -this.maxWeight);
    }

    /** The step from which on each node's value stays, and T: one more than the edges of the longest path from an input to an output. */
    #times() {
        const open = this.incoming.map((edges) => edges.length);
        const outgoing = this.activations.map(() => []);
        this.from.forEach((node, edge) => outgoing[node].push(this.to[edge]));
        this.settle = this.activations.map((_, node) => (node < N_INPUTS ? 0 : 1));
        const path = this.activations.map((_, node) => (node < N_INPUTS ? 0 : -Infinity));
        const ready = open.flatMap((n, node) => (n === 0 ? [node] : []));
        while (ready.length > 0) {
            const node = ready.pop();
            for (const target of outgoing[node]) {
                this.settle[target] = Math.max(this.settle[target], this.settle[node] + 1);
                path[target] = Math.max(path[target], path[node] + 1);
                open[target] -= 1;
                if (open[target] === 0) {
                    ready.push(target);
                }
            }
        }
        this.steps = 1 + Math.max(0, ...path.slice(N_INPUTS, this.firstHidden));
    }

    /**
     * What has to be computed for the nodes `roots` at step T, each value after those that it reads: a list of `node` and `terms`, which are
     * pairs of a slot and an edge. Slots 0 to 3 are the inputs, slot 4 + i is value i. And `slots`, those of the roots.
     *
     * All values start at 0, and all nodes are computed at once, T times: a value at step t sees its sources at step t - 1, and from step
     * settle(node) on it stays.
     */
    program(roots) {
        const values = [];
        const slots = new Map();
        const slotOf = (node, step) => (node < N_INPUTS ? node : slots.get(step * this.nNodes + node));
        const seen = (edge, step) => Math.min(step - 1, this.settle[this.from[edge]]);
        const enter = (node, step) => ({ node, step, next: 0 });
        const isOpen = (node, step) => node >= N_INPUTS && step > 0 && !slots.has(step * this.nNodes + node);
        for (const root of roots.filter((node) => isOpen(node, Math.min(this.steps, this.settle[node])))) {
            // Depth first, without recursion: chains may be long.
            const way = [enter(root, Math.min(this.steps, this.settle[root]))];
            while (way.length > 0) {
                const at = way[way.length - 1];
                const edges = this.incoming[at.node];
                if (at.next < edges.length) {
                    const edge = edges[at.next++];
                    const step = seen(edge, at.step);
                    if (isOpen(this.from[edge], step)) {
                        way.push(enter(this.from[edge], step));
                    }
                    continue;
                }
                way.pop();
                // At step 0 all but the inputs is 0, and adds nothing.
                const terms = edges
                    .filter((edge) => this.from[edge] < N_INPUTS || seen(edge, at.step) > 0)
                    .map((edge) => [slotOf(this.from[edge], seen(edge, at.step)), edge]);
                slots.set(at.step * this.nNodes + at.node, N_INPUTS + values.length);
                values.push({ node: at.node, terms });
            }
        }
        return { values, slots: roots.map((node) => slotOf(node, Math.min(this.steps, this.settle[node]))) };
    }

    /** The program of the outputs. */
    outputProgram() {
        return this.program(Array.from({ length: this.canvas.channels }, (_, output) => N_INPUTS + output));
    }

    /** Of each node whether the picture depends on it. */
    used() {
        const used = this.activations.map(() => false);
        for (const { node, terms } of this.outputProgram().values) {
            used[node] = true;
            terms.forEach(([, edge]) => (used[this.from[edge]] = true));
        }
        return used;
    }

    /** All of `program`, at `width` x `height` points: a plane of f32 a slot. */
    evaluate(program, width, height) {
        const planes = inputPlanes(this.canvas, width, height, this.normalise);
        for (const { node, terms } of program.values) {
            const sums = new Float32Array(width * height);
            for (const [slot, edge] of terms) {
                addWeighted(sums, planes[slot], this.weight(edge));
            }
            activate(sums, ACTIVATIONS[this.activations[node]]);
            planes.push(sums);
        }
        return planes;
    }

    /** Its picture at `width` x `height` points spread evenly over the canvas: RGBA. */
    draw(width = this.canvas.width, height = this.canvas.height) {
        const program = this.outputProgram();
        const planes = this.evaluate(program, width, height);
        const outputs = program.slots.map((slot) => planes[slot]);
        return outputs.length === 1 ? greyPixels(outputs[0]) : colourPixels(...outputs);
    }

    /** As `pareidolia export` has it (docs/genome.schema.json). */
    toJson() {
        const nodes = this.activations.map((activation, id) => ({ id, activation }));
        const edge = (_, at) => `    {"from": ${this.from[at]}, "to": ${this.to[at]}, "gene": ${shortest(this.genes[at])}}`;
        const { height, width, channels } = this.canvas;
        return [
            '{\n  "format": "pareidolia genome",\n  "version": 1,',
            `  "arithmetic_version": ${this.arithmeticVersion},\n  "encoding": "cppn",`,
            `  "canvas": {"height": ${height}, "width": ${width}, "channels": ${channels}},`,
            `  "normalise": ${this.normalise},\n  "max_weight": ${shortest(this.maxWeight)},\n  "nodes": [`,
            nodes.map((node) => `    ${JSON.stringify(node)}`).join(",\n"),
            '  ],\n  "edges": [',
            Array.from(this.genes, edge).join(",\n"),
            "  ]\n}\n",
        ].join("\n");
    }
}

/** sums = fma(weight, values, sums), in the order of the edges: rounding makes the order matter. */
function addWeighted(sums, values, weight) {
    for (let i = 0; i < sums.length; i++) {
        sums[i] = fma(weight, values[i], sums[i]);
    }
}

function activate(sums, activation) {
    for (let i = 0; i < sums.length; i++) {
        sums[i] = activation(sums[i]);
    }
}

/**
 * `width`, `height` and RGBA `pixels` of a genome's picture, at most `most` pixels a side: the whole picture, of which each pixel is the mean of
 * those under it. To draw fewer points would be faster, but fine stripes would become other stripes.
 */
function smallPicture(genome, most) {
    const { canvas } = genome;
    const pixels = new Cppn(genome).draw();
    const factor = Math.ceil(Math.max(canvas.width, canvas.height) / most);
    const [width, height] = [canvas.width, canvas.height].map((side) => Math.max(1, Math.floor(side / factor)));
    if (factor === 1) {
        return { width, height, pixels };
    }
    const small = new Uint8ClampedArray(4 * width * height);
    for (let at = 0; at < small.length; at++) {
        const [channel, x, y] = [at % 4, (at >> 2) % width, Math.floor((at >> 2) / width)];
        let sum = 0;
        for (let j = y * factor; j < Math.min((y + 1) * factor, canvas.height); j++) {
            for (let i = x * factor; i < Math.min((x + 1) * factor, canvas.width); i++) {
                sum += pixels[4 * (j * canvas.width + i) + channel];
            }
        }
        small[at] = sum / (Math.min(factor, canvas.width) * Math.min(factor, canvas.height));
    }
    return { width, height, pixels: small };
}

/** The four inputs at points spread evenly over the canvas, corner pixel to corner pixel. */
function inputPlanes({ height: canvasHeight, width: canvasWidth }, width, height, normalise) {
    const planes = Array.from({ length: N_INPUTS }, () => new Float32Array(width * height));
    const position = (at, count, side) => f32(f32(at * (side - 1)) / Math.max(count - 1, 1));
    const centred = (at, side) => f32(f32((2 * at) / Math.max(side - 1, 1)) - 1);
    for (let j = 0, pixel = 0; j < height; j++) {
        const y = position(j, height, canvasHeight);
        const yCentred = centred(y, canvasHeight);
        for (let i = 0; i < width; i++, pixel++) {
            const x = position(i, width, canvasWidth);
            const xCentred = centred(x, canvasWidth);
            planes[0][pixel] = normalise ? xCentred : x;
            planes[1][pixel] = normalise ? yCentred : y;
            planes[2][pixel] = Math.sqrt(f32(f32(xCentred * xCentred) + f32(yCentred * yCentred)));
            planes[3][pixel] = 1;
        }
    }
    return planes;
}

/** The byte of an output's value. */
function byteOf(value) {
    return Math.trunc(f32(255 * Math.abs(value)));
}

function greyPixels(values) {
    const pixels = new Uint8ClampedArray(4 * values.length);
    for (let i = 0; i < values.length; i++) {
        const byte = byteOf(values[i]);
        pixels.set([byte, byte, byte, 255], 4 * i);
    }
    return pixels;
}

function colourPixels(hues, lightnesses, saturations) {
    const pixels = new Uint8ClampedArray(4 * hues.length);
    for (let i = 0; i < hues.length; i++) {
        setColour(pixels, 4 * i, byteOf(hues[i]), byteOf(lightnesses[i]), byteOf(saturations[i]));
    }
    return pixels;
}

/** Red, green and blue as places among the highest, the middle and the lowest channel, by the sixth of the hue circle. */
const SECTORS = [
    [0, 1, 2],
    [1, 0, 2],
    [2, 0, 1],
    [2, 1, 0],
    [1, 2, 0],
    [0, 2, 1],
];

/** 8-bit hue (of which 180 are the circle), lightness and saturation to RGB, as src/genome/colour.rs has it. */
function setColour(pixels, at, hue, lightness, saturation) {
    const l = f32(lightness / 255);
    const s = f32(saturation / 255);
    const high = l <= 0.5 ? f32(l * f32(1 + s)) : f32(f32(l + s) - f32(l * s));
    const low = f32(f32(l + l) - high);
    const turns = f32(hue / 30);
    const h = turns < 6 ? turns : f32(turns - 6);
    const sector = Math.trunc(h);
    const fraction = f32(h - sector);
    const share = sector % 2 === 0 ? fraction : f32(1 - fraction);
    const middle = f32(low + f32(f32(high - low) * share));
    const bytes = [high, middle, low].map((value) => f32(f32(255 * value) + 8388608) - 8388608); // half to even
    SECTORS[sector].forEach((rank, channel) => (pixels[at + channel] = bytes[rank]));
    pixels[at + 3] = 255;
}

/** Signed values in [-1, 1] as greys: -1 is black, 1 white. For pictures of nodes, whose sign matters. */
function signedPixels(values, most = 1) {
    const pixels = new Uint8ClampedArray(4 * values.length);
    for (let i = 0; i < values.length; i++) {
        const byte = 127.5 + 127.5 * (values[i] / most);
        pixels.set([byte, byte, byte, 255], 4 * i);
    }
    return pixels;
}
