// The graph of a genome as a picture, with each node's own picture in it.

/** Points along a side of a node's picture: twice what it takes on the page, for dense screens. */
const NODE_POINTS = 80;
const NODE_PICTURE = 40;

class GraphView {
    /** `choose(what)` is called with `{ node }` or `{ edge }` when the reader chooses one. */
    constructor(cppn, choose) {
        this.cppn = cppn;
        this.program = cppn.program(cppn.activations.map((_, node) => node));
        this.used = cppn.used();
        const layout = layOut(cppn);
        if (layout === null) {
            this.element = h("p", {}, "This graph has too many nodes and edges for a picture.");
            this.update = () => {};
            return;
        }
        const order = cppn.from.map((_, edge) => edge).sort((a, b) => Number(this.used[cppn.to[a]]) - Number(this.used[cppn.to[b]]));
        this.paths = [];
        const edges = order.map((edge) => this.#edge(edge, layout.edges[edge], () => choose({ edge })));
        this.pictures = layout.nodes.map(() => svg("image", { width: NODE_PICTURE, height: NODE_PICTURE, x: 4, y: 4, preserveAspectRatio: "none" }));
        this.nodes = layout.nodes.map((place, node) => this.#node(node, place, () => choose({ node })));
        const { width, height } = layout;
        const label = `Graph of ${cppn.nNodes} nodes and ${cppn.nEdges} edges, from the inputs on the left to what is drawn on the right`;
        const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": label }, svg("g", { class: "edges" }, edges), this.nodes);
        this.element = h("div", { class: "scroll graph", tabindex: "0", role: "region", "aria-label": "Graph" }, picture);
        this.update();
    }

    #edge(edge, path, choose) {
        const title = svg("title");
        const line = svg("path", { d: path });
        const touch = svg("path", { d: path, class: "touch" });
        this.paths[edge] = { line, title };
        return svg("g", { class: this.used[this.cppn.to[edge]] ? "edge" : "edge pale", click: choose }, title, touch, line);
    }

    #node(node, { x, y }, choose) {
        const cppn = this.cppn;
        const kind = node < N_INPUTS ? "input" : cppn.isOutput(node) ? "output" : "hidden";
        const does = node < N_INPUTS ? "input" : cppn.activations[node];
        const key = (event) => {
            if (event.key === "Enter" || event.key === " ") {
                event.preventDefault();
                choose();
            }
        };
        const label = `${cppn.nodeName(node)}, ${does}${this.used[node] ? "" : ", not used by the picture"}`;
        return svg("g",
            { class: `node ${kind}${this.used[node] ? "" : " pale"}`, transform: `translate(${x} ${y.toFixed(1)})`, tabindex: "0", role: "button", "aria-label": label, "aria-pressed": "false", click: choose, keydown: key },
            svg("title", {}, label),
            svg("rect", { width: NODE_WIDTH, height: NODE_HEIGHT, rx: 5 }),
            this.pictures[node],
            svg("text", { x: 51, y: 21, class: "name" }, cppn.nodeName(node)),
            svg("text", { x: 51, y: 37, class: "does" }, does));
    }

    /** Marks a node as chosen, or none. */
    mark(chosen) {
        this.nodes?.forEach((element, node) => element.setAttribute("aria-pressed", String(node === chosen)));
    }

    /** Draws pictures and edges as the genes are now. */
    update() {
        const { cppn, program } = this;
        this.paths.forEach(({ line, title }, edge) => {
            const weight = cppn.weight(edge);
            const share = Math.abs(weight) / cppn.maxWeight;
            fill(line, { class: weight < 0 ? "below" : "above", "stroke-width": (0.6 + 4.4 * share).toFixed(2) }, []);
            title.textContent = `${cppn.nodeName(cppn.from[edge])} to ${cppn.nodeName(cppn.to[edge])}: weight ${shortest(weight)}`;
        });
        const [width, height] = sizeWithin(cppn.canvas, NODE_POINTS);
        const planes = cppn.evaluate(program, width, height);
        const canvas = document.createElement("canvas");
        canvas.getContext("2d", { willReadFrequently: true });
        this.pictures.forEach((image, node) => {
            paint(canvas, { width, height, pixels: nodePixels(cppn, planes[program.slots[node]], node) });
            image.setAttribute("href", canvas.toDataURL());
        });
    }
}

/** A node's picture: black is -1, white 1; of an input the least and the greatest that it may be, of an output what is drawn. */
function nodePixels(cppn, values, node) {
    if (cppn.isOutput(node)) {
        return greyPixels(values);
    }
    return signedPixels(values, node < N_INPUTS ? values.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9) : 1);
}
