// One elite, large: its picture drawn from the genome, the graph, weights to play with, ancestors, what other networks say.

/** What the address of the page ends with while an elite is shown. */
function eliteAddress(run, number) {
    return `#elite-${run}-${number}`;
}

class Detail {
    /** `report` is the data; `classes()` says what is before and after the elite shown; `closed(run, class)` is called when it is left. */
    constructor(report, classes, closed) {
        this.report = report;
        this.classes = classes;
        this.title = h("h2", { id: "detail-title", tabindex: "-1" });
        this.body = h("div", { class: "detail-body" });
        this.element = h("dialog", { class: "detail", "aria-labelledby": "detail-title", keydown: (event) => this.#onKey(event) },
            h("header", {},
                this.title,
                h("div", { class: "buttons" },
                    this.#button("‹", "Previous elite (left arrow)", () => this.#step(-1)),
                    this.#button("›", "Next elite (right arrow)", () => this.#step(1)),
                    this.#button("×", "Close (Escape)", () => this.element.close()))),
            this.body);
        this.element.addEventListener("close", () => closed(this.run, this.number));
        // A click beside the page of the dialog closes it.
        this.element.addEventListener("click", (event) => event.target === this.element && this.element.close());
    }

    #button(text, label, click) {
        return h("button", { type: "button", "aria-label": label, title: label, click }, text);
    }

    /** Shows the elite of class `number` of run `run`; false if there is none. */
    show(run, number) {
        const elite = this.report.runs[run]?.elites.find((other) => other.class === number);
        if (!elite) {
            return false;
        }
        [this.run, this.number] = [run, number];
        history.replaceState(null, "", eliteAddress(run, number));
        this.title.textContent = elite.name === String(number) ? `Class ${elite.name}` : `${elite.name} (class ${number})`;
        this.body.replaceChildren(...this.#content(this.report.runs[run], elite));
        if (!this.element.open) {
            this.element.showModal();
        }
        this.element.scrollTop = 0;
        this.title.focus();
        return true;
    }

    #step(by) {
        const classes = this.classes();
        const to = classes.indexOf(this.number) + by;
        if (to >= 0 && to < classes.length) {
            this.show(this.run, classes[to]);
        }
    }

    #onKey(event) {
        // Within a slider or a part that scrolls the arrows are its own.
        const isTaken = event.target.closest("input, select, .scroll, .strip") !== null;
        if (!isTaken && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
            event.preventDefault();
            this.#step(event.key === "ArrowLeft" ? -1 : 1);
        }
    }

    #content(run, elite) {
        const place = h("div", { class: "bench-place" });
        const facts = this.#facts(run, elite);
        const show = (genome, picture, caption, blame) => place.replaceChildren(
            genome ? new Workbench(genome, `${run.name}-${elite.class}`, caption, facts, blame).element : pictureOnly(picture, elitePicture(run, elite, run.elites.indexOf(elite)), run, caption, facts));
        show(elite.genome, elite.picture, null, this.#blame(elite));
        return [place, this.#ancestors(run, elite, show), this.#others(elite)].filter(Boolean);
    }

    #facts(run, elite) {
        const named = (number) => run.class_names?.[number] ?? `class ${number}`;
        const facts = [
            ["confidence", h("strong", {}, confidenceText(elite.confidence))],
            ["born", `generation ${wholeText(elite.born[0])}, candidate ${wholeText(elite.born[1])}`],
            elite.runner_up && ["runner-up", `${named(elite.runner_up.class)}, ${probability(elite.runner_up.confidence)}`],
            elite.lineage && ["line", `${elite.lineage.depth} births from generation 0, ${elite.lineage.goal_switches} goal switches`],
            ["run", `${run.name}, seed ${run.manifest.seed}`],
            ["network", run.manifest.network],
        ];
        return h("dl", { class: "facts" }, facts.filter(Boolean).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    }

    /** By edge, what its removal costs; null where nobody looked. */
    #blame(elite) {
        const { blame, runs } = this.report.analyses ?? {};
        const found = blame?.elites.find((row) => row.class === elite.class && runs?.[row.run] === this.run);
        const edges = found?.elements.filter((worth) => worth.weight !== undefined && worth.weight !== null);
        return edges && edges.length === elite.genome?.edges.length ? edges.map((worth) => worth.lost) : null;
    }

    #ancestors(run, elite, show) {
        if (!elite.ancestors || elite.ancestors.length === 0) {
            return null;
        }
        const line = elite.ancestors.map((ancestor) => ({ ...ancestor, ...(run.individuals?.[ancestor.individual] ?? { genome: elite.genome, picture: elite.picture }) }));
        const named = (number) => run.class_names?.[number] ?? `class ${number}`;
        const total = (elite.lineage?.depth ?? elite.ancestors.length - 1) + 1;
        const left = total - line.length;
        const mark = (button) => strip.querySelectorAll("button").forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
        const item = (ancestor, at) => {
            const isLast = at === line.length - 1;
            const caption = isLast ? null : `Ancestor of generation ${wholeText(ancestor.generation)}, when it was ${named(ancestor.goal)}`;
            const picture = ancestor.genome ? painter.canvas(ancestor.genome, 96) : ancestor.picture ? h("img", { src: ancestor.picture, alt: "" }) : null;
            const choose = () => {
                mark(button);
                show(ancestor.genome, ancestor.picture, caption, isLast ? this.#blame(elite) : null);
            };
            const button = h("button", { type: "button", "aria-pressed": String(isLast), click: choose, disabled: !ancestor.genome && !ancestor.picture },
                h("span", { class: "picture" }, picture),
                h("span", { class: "generation" }, `generation ${wholeText(ancestor.generation)}`),
                h("span", { class: "confidence" }, confidenceText(ancestor.confidence)),
                h("span", { class: "goal" }, ancestor.goal_switch ? "⤳ " : "", `as ${named(ancestor.goal)}`));
            return h("li", {}, button);
        };
        const strip = h("ol", { class: "strip", tabindex: "0", "aria-label": "Ancestors" }, line.map(item));
        return h("section", { class: "ancestors" }, h("h3", {}, "Ancestors"),
            h("p", { class: "rule" }, "The oldest first, with their confidence in this elite's class, and the class as whose elite each had the child that led here (⤳ where that class was new to the line). Choose one to take it apart above.",
                left > 0 ? ` ${wholeText(left)} of ${wholeText(total)} are left out.` : ""),
            strip);
    }

    #others(elite) {
        const rows = (this.report.transfers ?? []).flatMap(({ networks, answers }) => {
            const found = answers.find((answer) => answer.run === this.run && answer.class === elite.class);
            return found ? found.answers.map((answer, at) => ({ network: networks[at], answer })).filter(({ answer }) => answer) : [];
        });
        if (rows.length === 0) {
            return null;
        }
        const names = this.report.runs[this.run].class_names;
        const item = ({ network, answer }) => {
            const share = answer.class_probability ?? (answer.label === elite.class ? answer.confidence : 0);
            const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("span"));
            bar.firstChild.style.width = `${100 * share}%`;
            const taken = answer.label === elite.class ? "fooled" : `sees ${names?.[answer.label] ?? `class ${answer.label}`} (${confidenceText(answer.confidence)})`;
            return h("li", {}, h("span", { class: "network" }, network), bar, h("span", { class: "confidence" }, confidenceText(share)), h("span", { class: "taken" }, taken));
        };
        return h("section", { class: "others" }, h("h3", {}, "What other networks say"),
            h("p", { class: "rule" }, `Their confidence in ${elite.name}, and what they take the picture for.`), h("ul", {}, rows.map(item)));
    }
}

/** An elite of which there is only a picture. */
function pictureOnly(picture, tile, run, caption, facts) {
    const isSmall = run.canvas.width < 64;
    if (tile) {
        tile.style.aspectRatio = `${run.canvas.width} / ${run.canvas.height}`;
    }
    return h("div", { class: "bench" },
        h("figure", { class: "large" },
            picture ? h("img", { src: picture, alt: caption ?? "The elite", class: isSmall ? "pixelated" : null }) : tile,
            h("figcaption", {}, caption ?? `${run.canvas.width} × ${run.canvas.height} pixels, each a gene of its own.`, picture ? "" : " Shown from a small picture.")),
        h("div", { class: "side" }, facts));
}

/** How sliders may be ordered. */
const SLIDER_ORDERS = {
    made: { name: "as they came", key: (_, edge) => edge },
    weight: { name: "by weight", key: (bench, edge) => -Math.abs(bench.start[edge] - 0.5) },
    lost: { name: "by what removal costs", key: (bench, edge) => -bench.blame[edge] },
};

/** A genome to look at and to change: picture, sliders, graph. */
class Workbench {
    /** `file` names what is saved; `blame`, by edge, is null where nobody knows what they are worth. */
    constructor(genome, file, caption, facts, blame) {
        this.cppn = new Cppn(genome);
        this.start = this.cppn.genes.slice();
        this.file = file;
        this.caption = caption;
        this.blame = blame;
        this.node = null;
        const { width, height } = this.cppn.canvas;
        this.canvas = h("canvas", { width, height, role: "img", class: width < 64 ? "pixelated" : null });
        this.says = h("figcaption", { "aria-live": "polite" });
        const used = this.cppn.used();
        this.rows = Array.from(this.start, (_, edge) => this.#row(edge, used[this.cppn.to[edge]]));
        this.graph = new GraphView(this.cppn, (chosen) => this.#choose(chosen));
        this.reset = h("button", { type: "button", disabled: true, click: () => this.#reset() }, "Reset");
        this.element = h("div", {}, h("div", { class: "bench" }, this.#figure(), h("div", { class: "side" }, facts, this.#sliders())), this.#graphSection());
        this.#draw();
    }

    #figure() {
        const picture = () => this.canvas.toBlob((blob) => save(blob, `${this.file}.png`));
        const genome = () => save(new Blob([this.cppn.toJson()], { type: "application/json" }), `${this.file}.json`);
        return h("figure", { class: "large" },
            this.canvas,
            this.says,
            h("div", { class: "buttons" },
                this.reset,
                h("button", { type: "button", click: picture }, "Save picture"),
                h("button", { type: "button", click: genome }, "Save genome")));
    }

    #row(edge, isUsed) {
        const { cppn } = this;
        const name = `${cppn.nodeName(cppn.from[edge])} → ${cppn.nodeName(cppn.to[edge])}`;
        const slider = h("input", { type: "range", min: 0, max: 1, step: "any", value: this.start[edge], "aria-label": `Weight of ${name}` });
        const value = h("output");
        const lost = this.blame ? h("span", { class: "lost" }, loss(this.blame[edge])) : null;
        slider.addEventListener("input", () => this.#change(edge, Number(slider.value)));
        const element = h("li", { class: isUsed ? null : "pale" }, h("label", {}, h("span", { class: "edge-name" }, name), slider), value, lost);
        const row = { element, slider, value, edge };
        this.#say(row);
        return row;
    }

    #say({ slider, value, edge }) {
        const weight = this.cppn.weight(edge);
        value.textContent = signText(weight.toFixed(3));
        slider.setAttribute("aria-valuetext", value.textContent);
    }

    #sliders() {
        const keys = Object.keys(SLIDER_ORDERS).filter((key) => key !== "lost" || this.blame);
        this.list = h("ul", { class: "sliders" });
        this.order = h("select", { change: () => this.#arrange() }, keys.map((key) => h("option", { value: key }, SLIDER_ORDERS[key].name)));
        this.chosen = h("button", { type: "button", class: "chosen", hidden: true, click: () => this.#choose({ node: null }) });
        this.#arrange();
        return h("section", { class: "weights" },
            h("div", { class: "weights-head" }, h("h3", {}, "Weights"), this.chosen, h("label", {}, "Sort ", this.order)),
            h("p", { class: "weights-columns", "aria-hidden": "true" }, h("span", {}, "weight"), this.blame && h("span", { class: "lost" }, "removal costs")),
            this.list);
    }

    #arrange() {
        const { key } = SLIDER_ORDERS[this.order.value];
        const fits = ({ edge }) => this.node === null || this.cppn.to[edge] === this.node || this.cppn.from[edge] === this.node;
        const rows = this.rows.filter(fits).sort((a, b) => key(this, a.edge) - key(this, b.edge));
        this.list.replaceChildren(...rows.map(({ element }) => element));
    }

    #graphSection() {
        const { steps, canvas } = this.cppn;
        const sampled = Math.max(canvas.width, canvas.height) > NODE_POINTS ? `, at ${NODE_POINTS} points a side` : "";
        return h("section", { class: "graph-section" }, h("h3", {}, "Genome"),
            h("p", { class: "rule" },
                `${this.cppn.nNodes} nodes, ${this.cppn.nEdges} edges, ${steps} synchronous ${steps === 1 ? "step" : "steps"}. Each node shows its own picture, black for −1 and white for 1${sampled}. `,
                "Lines: ", h("span", { class: "key above" }, "weight above 0"), ", ", h("span", { class: "key below" }, "below 0"),
                ", the wider the larger; pale: the picture does not depend on it. Choose a node or a line to find its weights."),
            this.graph.element);
    }

    /** Shows the sliders of the node or the edge that was chosen. */
    #choose({ node = null, edge }) {
        this.node = edge === undefined && node !== this.node ? node : null;
        this.graph.mark(this.node);
        this.chosen.hidden = this.node === null;
        this.chosen.textContent = this.node === null ? "" : `of ${this.cppn.nodeName(this.node)} ×`;
        this.#arrange();
        if (edge !== undefined) {
            this.rows[edge].element.scrollIntoView({ block: "nearest" });
            this.rows[edge].slider.focus();
        }
    }

    #change(edge, gene) {
        this.cppn.genes[edge] = gene;
        this.#say(this.rows[edge]);
        this.#redraw();
    }

    #reset() {
        this.cppn.genes.set(this.start);
        this.rows.forEach((row) => {
            row.slider.value = this.start[row.edge];
            this.#say(row);
        });
        this.#redraw();
        this.order.focus(); // the button that had the focus can no longer be pressed
    }

    /** Draws with the next frame, however many changes come before it. */
    #redraw() {
        this.frame ??= requestAnimationFrame(() => {
            this.frame = undefined;
            this.#draw();
            this.graph.update();
        });
    }

    #draw() {
        const { width, height } = this.cppn.canvas;
        paint(this.canvas, { width, height, pixels: this.cppn.draw() });
        const isChanged = this.cppn.genes.some((gene, edge) => gene !== this.start[edge]);
        this.reset.disabled = !isChanged;
        const drawn = this.caption ?? `Drawn from the genome, ${width} × ${height} pixels: what the network was shown.`;
        this.says.textContent = isChanged ? "Changed: no network has seen this picture." : drawn;
        this.canvas.setAttribute("aria-label", this.says.textContent);
    }
}
