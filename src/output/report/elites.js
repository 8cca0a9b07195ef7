// The grid of elites: sorting, filter, keyboard.

const ORDERS = {
    class: { name: "class number", less: (a, b) => a.class - b.class },
    name: { name: "name", less: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }) || a.class - b.class },
    confidence: { name: "confidence, highest first", less: (a, b) => b.confidence - a.confidence || a.class - b.class },
    doubt: { name: "confidence, lowest first", less: (a, b) => a.confidence - b.confidence || a.class - b.class },
    young: { name: "age, youngest first", less: (a, b) => b.born[0] - a.born[0] || b.born[1] - a.born[1] },
    old: { name: "age, oldest first", less: (a, b) => a.born[0] - b.born[0] || a.born[1] - b.born[1] },
};

class EliteGrid {
    /** `open(class)` shows an elite, large. */
    constructor(open) {
        this.open = open;
        this.filter = h("input", { type: "search", id: "filter", placeholder: "name or number", autocomplete: "off", spellcheck: "false", "aria-keyshortcuts": "/" });
        this.order = h("select", { id: "order" }, Object.entries(ORDERS).map(([key, { name }]) => h("option", { value: key }, name)));
        this.count = h("output", { class: "count", for: "filter", "aria-live": "polite" });
        this.cards = h("ul", { class: "cards", keydown: (event) => this.#onKey(event) });
        this.filter.addEventListener("input", () => this.#arrange());
        this.filter.addEventListener("keydown", (event) => this.#onFilterKey(event));
        this.order.addEventListener("change", () => this.#arrange());
        this.element = h("div", {},
            h("div", { class: "tools" },
                h("label", {}, "Filter ", h("kbd", { "aria-hidden": "true" }, "/"), this.filter),
                h("label", {}, "Sort by ", this.order),
                this.count),
            this.cards,
            h("p", { class: "nothing", hidden: true }, "No class is called that."));
    }

    /** Shows the elites of `run`. */
    show(run) {
        this.shown = run.elites.map((elite, index) => ({ elite, card: this.#card(run, elite, index) }));
        this.#arrange();
    }

    /** The classes in the order and choice of the grid. */
    classes() {
        return this.visible.map(({ elite }) => elite.class);
    }

    focus(number) {
        const found = this.visible.find(({ elite }) => elite.class === number);
        if (found) {
            this.#focusCard(found.card);
        }
    }

    #card(run, elite, index) {
        const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("span"));
        bar.firstChild.style.width = `${100 * scaled(elite.confidence)}%`;
        const label = `${elite.name}, class ${elite.class}, confidence ${confidenceText(elite.confidence)}, born in generation ${elite.born[0]}`;
        const named = elite.name === String(elite.class) ? elite.name : [h("span", { class: "class" }, elite.class), " ", elite.name];
        const button = h("button", { type: "button", tabindex: "-1", "aria-label": label, title: elite.name, click: () => this.open(elite.class) },
            h("span", { class: "picture" }, elitePicture(run, elite, index)),
            h("span", { class: "name" }, named),
            h("span", { class: "confidence" }, confidenceText(elite.confidence)),
            bar);
        return h("li", {}, button);
    }

    #arrange() {
        const wanted = this.filter.value.trim().toLowerCase();
        const fits = ({ elite }) => elite.name.toLowerCase().includes(wanted) || String(elite.class) === wanted;
        const { less } = ORDERS[this.order.value];
        this.visible = this.shown.filter(fits).sort((a, b) => less(a.elite, b.elite));
        this.cards.replaceChildren(...this.visible.map(({ card }) => card));
        this.visible.forEach(({ card }, at) => (card.firstChild.tabIndex = at === 0 ? 0 : -1));
        this.count.textContent = `${wholeText(this.visible.length)} of ${wholeText(this.shown.length)} classes`;
        this.element.querySelector(".nothing").hidden = this.visible.length > 0;
    }

    #focusCard(card) {
        this.cards.querySelectorAll('button[tabindex="0"]').forEach((button) => (button.tabIndex = -1));
        card.firstChild.tabIndex = 0;
        card.firstChild.focus();
    }

    #onFilterKey(event) {
        if (event.key === "Escape") {
            this.filter.value = "";
            this.#arrange();
        } else if (event.key === "ArrowDown" || event.key === "Enter") {
            event.preventDefault();
            if (this.visible.length > 0) {
                this.#focusCard(this.visible[0].card);
            }
        }
    }

    #onKey(event) {
        const at = this.visible.findIndex(({ card }) => card.contains(event.target));
        const last = this.visible.length - 1;
        const steps = { ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - this.#columns(), ArrowDown: at + this.#columns(), Home: 0, End: last };
        const to = steps[event.key];
        if (at < 0 || to === undefined || event.altKey || event.ctrlKey || event.metaKey) {
            return;
        }
        event.preventDefault();
        if (to >= 0 && to <= last) {
            this.#focusCard(this.visible[to].card);
        }
    }

    #columns() {
        return getComputedStyle(this.cards).gridTemplateColumns.split(" ").length;
    }
}

/** The small picture of an elite: from a sheet, from its own picture, or drawn. */
function elitePicture(run, elite, index) {
    if (run.sheets) {
        return sheetPicture(run.sheets, index);
    }
    if (elite.picture) {
        const isSmall = run.canvas.width < 64;
        return h("img", { src: elite.picture, alt: "", class: isSmall ? "pixelated" : null, loading: "lazy", decoding: "async", draggable: "false" });
    }
    return elite.genome ? painter.canvas(elite.genome, 128) : null;
}

/** A tile of a sheet, as a background in percent: so it grows and shrinks with the card. */
function sheetPicture({ columns, rows, pictures, tile }, index) {
    const at = index % (columns * rows);
    const share = (place, count) => (count > 1 ? (100 * place) / (count - 1) : 0);
    const element = h("span", { class: tile[0] < 64 ? "tile pixelated" : "tile" });
    element.style.background = `url(${sheetUrl(pictures, Math.floor(index / (columns * rows)))}) ${share(at % columns, columns)}% ${share(Math.floor(at / columns), rows)}% / ${100 * columns}% ${100 * rows}%`;
    return element;
}

const sheetUrls = new Map();

/** A short address for a sheet: a data URL in each of a thousand style attributes would take gigabytes. */
function sheetUrl(pictures, sheet) {
    const data = pictures[sheet];
    if (!sheetUrls.has(data)) {
        const [head, body] = data.split(",");
        const bytes = Uint8Array.from(atob(body), (character) => character.charCodeAt(0));
        sheetUrls.set(data, URL.createObjectURL(new Blob([bytes], { type: head.slice(5).split(";")[0] })));
    }
    return sheetUrls.get(data);
}
