// Configuration and analyses, as tables.

/** Rows of a table that are shown at first. */
const SHOWN_ROWS = 10;

/**
 * A table. Columns have `name`, `of(row)`, and `isNumber`; `open(row)`, if given, is null or what a click on the row's first cell does.
 */
function dataTable(caption, columns, rows, open = () => null) {
    const cell = (row, { of, isNumber }, at) => {
        const content = of(row);
        const action = at === 0 ? open(row) : null;
        return h(at === 0 ? "th" : "td", { scope: at === 0 ? "row" : null, class: isNumber ? "number" : null },
            action ? h("button", { type: "button", class: "link", click: action }, content) : content);
    };
    const line = (row) => h("tr", {}, columns.map((column, at) => cell(row, column, at)));
    const body = h("tbody", {}, rows.slice(0, SHOWN_ROWS).map(line));
    const head = h("tr", {}, columns.map(({ name, isNumber }) => h("th", { scope: "col", class: isNumber ? "number" : null }, name)));
    const table = h("table", {}, h("caption", {}, caption), h("thead", {}, head), body);
    const rest = rows.slice(SHOWN_ROWS);
    const more = rest.length > 0 && h("button", { type: "button", class: "more" }, `Show all ${wholeText(rows.length)} rows`);
    if (more) {
        more.addEventListener("click", () => {
            body.append(...rest.map(line));
            more.remove();
        });
    }
    return h("div", {}, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table), more);
}

/** Keys and values of an object, those within others with a point between. */
function flatEntries(object, prefix = "") {
    return Object.entries(object).flatMap(([key, value]) =>
        value !== null && typeof value === "object" && !Array.isArray(value)
            ? flatEntries(value, `${prefix}${key}.`)
            : [[prefix + key, Array.isArray(value) ? value.join(", ") || "all" : String(value)]],
    );
}

/** All that decided a run. */
function configurationList(manifest) {
    const of = ([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, value));
    const keys = ["version", "commit", "arithmetic_version", "network", "weights", "weights_sha256", "device", "threads", "simd", "start", "end"];
    const made = keys.filter((key) => manifest[key] !== undefined).map((key) => [key, String(manifest[key])]);
    return h("div", { class: "configuration" },
        h("h3", {}, "Configuration"), h("dl", {}, flatEntries(manifest.configuration ?? {}).map(of)),
        h("h3", {}, "Where it ran, and against what"), h("dl", {}, made.map(of)));
}

const number = (name, of) => ({ name, of, isNumber: true });
const text = (name, of) => ({ name, of });
const confidence = (name, of) => number(name, (row) => (of(row) === null || of(row) === undefined ? "–" : confidenceText(of(row))));
const percent = (value) => `${(100 * value).toFixed(1)} %`;
const spread = (value) => (value ? `${numberText(value.median)} (${numberText(value.min)} to ${numberText(value.max)})` : "–");
const probability = (value) => (value === null || value === undefined ? "–" : value < 1e-3 ? value.toExponential(1) : value.toFixed(3));

/** What is lost of a confidence: with as many digits as those have. */
const loss = (value) => (value === null || value === undefined ? "–" : signText(value.toFixed(5)));

/** The parts of an analysis, in the order of the page: its heading, what it says, and its tables. */
const ANALYSES = {
    blame: ["What each node and edge is worth", (part) => part.rule, blameTables],
    minimal: ["The smallest genomes that still fool", (part) => part.rule, minimalTables],
    ablation: ["Repeated structure, removed", (part) => part.rule, ablationTables],
    thresholds: ["How many images it took", () => "Confidences at the end, and images until the median over classes was there.", thresholdTables],
    likeness: ["How alike the pictures are", likenessRule, likenessTables],
    resistance: ["Which classes stay low", () => "Medians over runs, and what the network takes these elites for besides.", resistanceTables],
};

/** A text as a sentence: what files say begins small and ends without a point. */
function sentence(words) {
    return `${words.charAt(0).toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? "" : "."}`;
}

function likenessRule({ permutations }) {
    return `Mean distances between elites of related classes in a run, and between a class's elites of two runs; p by ${wholeText(permutations)} permutations.`;
}

/** A section for each part that there is. `open(run, class)` shows an elite. */
function analysisSections(analyses, open) {
    const openPlace = ({ run, class: number }) => {
        const place = analyses.runs?.[run];
        return place === undefined || place === null ? null : () => open(place, number);
    };
    return Object.entries(ANALYSES)
        .filter(([key]) => analyses[key])
        .map(([key, [heading, rule, tables]]) =>
            h("section", { class: "analysis", id: `analysis-${key}` }, h("h3", {}, heading), h("p", { class: "rule" }, sentence(rule(analyses[key]))), tables(analyses[key], openPlace)));
}

/** What identifies an elite in a table. */
const PLACE = [text("class", (row) => row.name), number("seed", (row) => row.seed), confidence("confidence", (row) => row.confidence)];

function blameTables(part, open) {
    const edges = (row) => row.elements.filter((worth) => worth.weight !== undefined && worth.weight !== null);
    const first = (row) => edges(row).reduce((most, worth) => (worth.lost > (most?.lost ?? -Infinity) ? worth : most), null);
    return dataTable(`${wholeText(part.drawn)} images without a node or an edge`, [
        ...PLACE,
        number("hidden nodes", (row) => numberText(row.hidden_nodes)),
        number("edges", (row) => numberText(row.edges)),
        number("of them silent", (row) => percent(row.silent_edge_share)),
        number("vital", (row) => numberText(row.vital_edges)),
        text("most important edge", (row) => first(row)?.what.replace(/^edge /, "").replace("->", "→") ?? "–"),
        number("its removal costs", (row) => loss(first(row)?.lost)),
    ], part.elites, open);
}

function minimalTables(part, open) {
    return dataTable(`What must be kept: ${part.goal}; ${wholeText(part.scored)} images scored`, [
        ...PLACE,
        number("edges", (row) => numberText(row.before.edges)),
        number("edges left", (row) => numberText(row.after.edges)),
        number("hidden nodes left", (row) => numberText(row.after.hidden_nodes)),
        confidence("confidence", (row) => row.minimal_confidence),
        text("what it draws", (row) => formula(row.formula)),
    ], part.elites, open);
}

function formula(lines) {
    const says = lines.length === 1 ? lines[0] : `${lines.length} assignments`;
    return h("details", {}, h("summary", {}, says), h("code", {}, lines.map((line) => [line, h("br")])));
}

function ablationTables(part, open) {
    const repeated = part.elites.filter((row) => row.copies.length > 0);
    return dataTable(`${repeated.length} of ${part.elites.length} elites repeat something (similarity ${numberText(part.similarity)} or more)`, [
        ...PLACE,
        number("copies", (row) => numberText(row.copies.length)),
        number("lost with one", (row) => loss(row.lost_with_one)),
        number("lost with all but one", (row) => loss(row.lost_with_all_but_one)),
        confidence("none left", (row) => row.confidences[row.confidences.length - 1]),
        number("lost by a covered window, at most", (row) => loss(row.occlusion.most_lost)),
    ], repeated, open);
}

function thresholdTables(part) {
    const reached = [0, 1, 2, 3].filter((at) => part.runs.every((row) => row.reached[at]));
    const runs = dataTable("Runs", [
        text("set", (row) => row.set),
        number("seed", (row) => row.seed),
        confidence("median", (row) => row.median),
        confidence("worst", (row) => row.min),
        text("worst class", (row) => row.worst_class_name),
        ...reached.map((at) => number(`images to ${numberText(part.runs[0].reached[at].threshold)}`, (row) => numberText(row.reached[at].median))),
    ], part.runs);
    if (part.comparisons.length === 0) {
        return runs;
    }
    const compared = dataTable("Sets compared (Mann-Whitney U, two-sided)", [
        text("sets", (row) => `${row.a} / ${row.b}`),
        text("of", (row) => row.of),
        number("medians", (row) => row.medians.map(confidenceText).join(" / ")),
        number("U", (row) => numberText(row.u)),
        number("p", (row) => probability(row.p)),
    ], part.comparisons);
    return [runs, compared];
}

function likenessTables(part) {
    const rows = part.sets.flatMap((set) => set.spaces.map((space) => ({ set: set.set, ...space })));
    return dataTable("Distances", [
        text("set", (row) => row.set),
        text("space", (row) => row.space),
        number("related, a run", (row) => numberText(row.related_same_run?.mean)),
        number("unrelated, a run", (row) => numberText(row.unrelated_same_run?.mean)),
        number("same class, two runs", (row) => numberText(row.same_class_other_run?.mean)),
        number("related, two runs", (row) => numberText(row.related_other_run?.mean)),
        number("p related", (row) => probability(row.related?.p)),
    ], rows);
}

function resistanceTables(part) {
    return part.sets.flatMap((set) => {
        const lowest = set.classes.slice().sort((a, b) => a.confidence - b.confidence);
        const table = dataTable(`${set.set}, ${set.runs} ${set.runs === 1 ? "run" : "runs"}: the lowest first`, [
            text("class", (row) => row.name),
            confidence("median", (row) => row.confidence),
            number("leads in", (row) => `${row.leads} of ${row.runs}`),
            text("group", (row) => row.group ?? "–"),
            text("taken for", (row) => row.runner_up_name),
            number("by", (row) => probability(row.runner_up_probability)),
        ], lowest);
        return [table, confusionMap(set)];
    });
}

/** What the elites of each class are taken for besides, where there are few enough classes to be read. */
function confusionMap(set) {
    const names = set.classes.map((row) => row.name);
    if (!set.confusions || set.confusions.length === 0 || names.length > 24) {
        return null;
    }
    const value = (row, column) => {
        const share = set.confusions[row][column];
        return row === column ? null : { share, text: share.toFixed(2).replace(/^0/, ""), title: `${names[row]} taken for ${names[column]}: ${percent(share)} of the rest` };
    };
    return [heatTable(names, names, value, "Of what is not given to an elite's own class (rows), the share of each other class"), heatKey(["0", "all of it"])];
}
