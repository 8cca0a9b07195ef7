// Where nodes and edges of a graph go, in layers from the inputs on the left to the outputs on the right.
//
// The layout is Sugiyama's, as in src/genome/exchange/svg.rs: a node's layer is the step at which its value settles, outputs share the last
// one; an edge over several layers bends at a point in each; within layers, nodes and bends are ordered by the means of their neighbours'
// places, sweep after sweep, and the order with the fewest crossings is kept. The same genome gives the same picture.

const NODE_WIDTH = 134;
const NODE_HEIGHT = 48;
/** Of graphs of many layers less is left between them. */
const LAYER_GAP = 72;
const NARROW_GAP = 44;
const MANY_LAYERS = 8;
const ROW = 60;
const BEND_ROW = 20;
const MARGIN = 8;
const SWEEPS = 24;

/** More nodes and bends than this are nothing to look at. */
const MOST_ITEMS = 6000;

/** `width`, `height`, `nodes` (by number, `x` and `y` of its upper left corner) and `edges` (by number, its path); null if there are too many. */
function layOut(cppn) {
    const { items, ways, nLayers } = itemsOf(cppn);
    if (items.length > MOST_ITEMS) {
        return null;
    }
    const layers = orderLayers(items, nLayers);
    const height = placeItems(items, layers);
    const gap = nLayers > MANY_LAYERS ? NARROW_GAP : LAYER_GAP;
    const left = (layer) => MARGIN + layer * (NODE_WIDTH + gap);
    const nodes = items.slice(0, cppn.nNodes).map(({ layer, y }) => ({ x: left(layer), y: y - NODE_HEIGHT / 2 }));
    const parallel = new Map();
    const edges = ways.map((way, edge) => {
        const ends = `${cppn.from[edge]} ${cppn.to[edge]}`;
        const before = parallel.get(ends) ?? 0;
        parallel.set(ends, before + 1);
        // Parallel edges between neighbouring layers swing out one beside the other; others bend at points of their own.
        return pathOf(way.map((item) => items[item]), left, way.length === 2 ? 9 * before : 0);
    });
    return { width: left(nLayers - 1) + NODE_WIDTH + MARGIN, height, nodes, edges };
}

/** Nodes, then bends; and the items that each edge goes through, ends included. */
function itemsOf(cppn) {
    const isHidden = (node) => !cppn.isOutput(node);
    const settled = Math.max(1, ...cppn.settle);
    // A hidden node that settles last goes before the outputs, as all do.
    const last = settled + (cppn.settle.some((step, node) => step === settled && isHidden(node)) ? 1 : 0);
    const item = (layer, isNode) => ({ layer, isNode, before: [], after: [], y: 0 });
    const items = cppn.settle.map((step, node) => item(cppn.isOutput(node) ? last : step, true));
    const ways = cppn.from.map((from, edge) => {
        const way = [from];
        for (let layer = items[from].layer + 1; layer < items[cppn.to[edge]].layer; layer++) {
            way.push(items.length);
            items.push(item(layer, false));
        }
        way.push(cppn.to[edge]);
        for (let i = 1; i < way.length; i++) {
            items[way[i - 1]].after.push(way[i]);
            items[way[i]].before.push(way[i - 1]);
        }
        return way;
    });
    return { items, ways, nLayers: last + 1 };
}

/** The items of each layer in an order with few crossings. */
function orderLayers(items, nLayers) {
    let layers = Array.from({ length: nLayers }, () => []);
    items.forEach(({ layer }, index) => layers[layer].push(index));
    let best = { crossings: countCrossings(items, layers), layers };
    for (let sweep = 0; sweep < SWEEPS && best.crossings > 0; sweep++) {
        layers = layers.map((layer) => layer.slice());
        sweepOnce(items, layers, sweep % 2 === 0);
        const crossings = countCrossings(items, layers);
        if (crossings < best.crossings) {
            best = { crossings, layers };
        }
    }
    return best.layers;
}

/** Orders each layer by the means of its items' neighbours in the layer before it, or after it. */
function sweepOnce(items, layers, forwards) {
    const places = new Float64Array(items.length);
    for (let step = 1; step < layers.length; step++) {
        const at = forwards ? step : layers.length - 1 - step;
        const neighbours = layers[forwards ? at - 1 : at + 1];
        neighbours.forEach((item, place) => (places[item] = place / neighbours.length));
        const key = new Map();
        layers[at].forEach((item, place) => {
            const near = forwards ? items[item].before : items[item].after;
            const sum = near.reduce((total, other) => total + places[other], 0);
            key.set(item, near.length > 0 ? sum / near.length : place / layers[at].length);
        });
        layers[at].sort((a, b) => key.get(a) - key.get(b)); // stable
    }
}

/** Pairs of edges between neighbouring layers that cross: inversions, by a Fenwick tree (Barth, Juenger, Mutzel 2002). */
function countCrossings(items, layers) {
    const place = new Int32Array(items.length);
    layers.forEach((layer) => layer.forEach((item, at) => (place[item] = at)));
    let total = 0;
    for (let at = 0; at + 1 < layers.length; at++) {
        const joins = layers[at].flatMap((item) => items[item].after.map((other) => [place[item], place[other]]));
        joins.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
        const tree = new Int32Array(layers[at + 1].length + 1);
        joins.forEach(([, target], seen) => {
            let notAbove = 0;
            for (let i = target + 1; i > 0; i &= i - 1) {
                notAbove += tree[i];
            }
            total += seen - notAbove;
            for (let i = target + 1; i < tree.length; i += i & -i) {
                tree[i] += 1;
            }
        });
    }
    return total;
}

function room(a, b) {
    return a.isNode && b.isNode ? ROW : a.isNode || b.isNode ? (ROW + BEND_ROW) / 2 : BEND_ROW;
}

/** Gives each item its height: near the mean of its neighbours, with room between. Returns the height of the whole. */
function placeItems(items, layers) {
    for (const layer of layers) {
        let y = 0;
        layer.forEach((item, at) => {
            y += at > 0 ? room(items[layer[at - 1]], items[item]) : 0;
            items[item].y = y;
        });
        layer.forEach((item) => (items[item].y -= y / 2));
    }
    for (let sweep = 0; sweep < SWEEPS; sweep++) {
        const order = sweep % 2 === 0 ? layers : layers.slice().reverse();
        order.forEach((layer) => settleLayer(items, layer));
    }
    const ys = items.map(({ y }) => y);
    const [least, most] = [ys.reduce((a, b) => Math.min(a, b)), ys.reduce((a, b) => Math.max(a, b))];
    items.forEach((item) => (item.y += MARGIN + NODE_HEIGHT / 2 - least));
    return most - least + NODE_HEIGHT + 2 * MARGIN;
}

/** Moves the items of a layer to the means of their neighbours, as far as the room between them allows. */
function settleLayer(items, layer) {
    const wanted = layer.map((item) => {
        const near = items[item].before.concat(items[item].after);
        return near.length === 0 ? items[item].y : near.reduce((sum, other) => sum + items[other].y, 0) / near.length;
    });
    // From above and from below what is wanted with room between, and the mean of both, which has room too.
    const [down, up] = [wanted.slice(), wanted.slice()];
    for (let at = 1; at < layer.length; at++) {
        down[at] = Math.max(down[at], down[at - 1] + room(items[layer[at - 1]], items[layer[at]]));
    }
    for (let at = layer.length - 2; at >= 0; at--) {
        up[at] = Math.min(up[at], up[at + 1] - room(items[layer[at]], items[layer[at + 1]]));
    }
    layer.forEach((item, at) => (items[item].y = (down[at] + up[at]) / 2));
}

/** A curve through `way`, straight past the nodes of a layer. */
function pathOf(way, left, swing) {
    let path = "";
    for (let at = 1; at < way.length; at++) {
        const [a, b] = [way[at - 1], way[at]];
        const [x0, x1] = [left(a.layer) + NODE_WIDTH, left(b.layer)];
        const middle = (x0 + x1) / 2;
        path += at === 1 ? `M${x0} ${a.y.toFixed(1)}` : ` H${x0}`;
        path += ` C${middle} ${(a.y + swing).toFixed(1)} ${middle} ${(b.y + swing).toFixed(1)} ${x1} ${b.y.toFixed(1)}`;
    }
    return path;
}
