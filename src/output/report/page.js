// Puts the page together.

const report = JSON.parse(document.getElementById("report-data").textContent);

/** The run that is shown, by its place. */
let shownRun = 0;

const grid = new EliteGrid((number) => openElite(shownRun, number));
const detail = new Detail(report, () => grid.classes(), leaveElite);

function openElite(run, number) {
    if (run !== shownRun) {
        showRun(run);
    }
    detail.show(run, number);
}

function leaveElite(run, number) {
    // Unless the address leads to another one meanwhile.
    if (location.hash === eliteAddress(run, number)) {
        history.replaceState(null, "", location.href.split("#")[0]);
    }
    grid.focus(number);
}

/** Shows all that belongs to one run. */
function showRun(at) {
    shownRun = at;
    const run = report.runs[at];
    document.getElementById("summary").replaceChildren(summary(run));
    grid.show(run);
    document.getElementById("convergence-place").replaceChildren(
        run.curve ? convergenceChart(run.curve) : h("p", { class: "rule" }, "This archive has no course: it was merged, or its metrics are gone."));
    document.getElementById("configuration-place").replaceChildren(configurationList(run.manifest));
    document.querySelectorAll('input[name="run"]').forEach((input) => (input.checked = Number(input.value) === at));
}

/** What came of a run, in a sentence and in figures. */
function summary({ manifest, elites }) {
    const over = (key) => `${wholeText(manifest[key])} of ${wholeText(elites.length)}`;
    const facts = [
        ["median confidence", confidenceText(manifest.median)],
        ["worst class", confidenceText(manifest.min)],
        ["at .99 or more", over("over_99")],
        ["at .9999 or more", over("over_9999")],
        ["generations", wholeText(manifest.generation)],
        ["images judged", wholeText(manifest.evaluations)],
        ["images a second", wholeText(manifest.genomes_per_second)],
        ["different elites", manifest.distinct_genomes === undefined ? null : wholeText(manifest.distinct_genomes)],
        ["seed", String(manifest.seed)],
        ["archive", h("code", {}, manifest.archive_hash)],
    ];
    const known = facts.filter(([, value]) => value !== null);
    return h("dl", { class: "facts" }, known.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

function heading() {
    const { manifest, elites } = report.runs[0];
    const runs = report.runs.length === 1 ? "One run" : `${wholeText(report.runs.length)} runs`;
    const { preset, flavour } = manifest.configuration ?? {};
    document.getElementById("title").textContent = `What ${manifest.network} takes for ${wholeText(elites.length)} classes`;
    const random = manifest.random_weights ? " Its weights are random: what it says means nothing." : "";
    document.getElementById("subtitle").textContent =
        `${runs} of ${preset ?? "evolution"}${flavour ? `, ${flavour}` : ""}. For each class, the picture that the network is surest of.${random}`;
}

/** A choice of the run, where there are several. */
function runChoice() {
    if (report.runs.length === 1) {
        return null;
    }
    const choice = (run, at) => h("label", {}, h("input", { type: "radio", name: "run", value: at, change: () => showRun(at) }), h("span", {}, run.name));
    return h("fieldset", { class: "runs" }, h("legend", {}, "Run"), report.runs.map(choice));
}

/** Classes by runs, as the paper's Figures 6 and 7. */
function classMaps() {
    const { runs } = report;
    const names = runs[0].elites.map(({ name }) => name);
    const isSame = runs.every(({ elites }) => elites.length === names.length && elites.every(({ name }, at) => name === names[at]));
    const cell = (run, elite) => ({
        share: scaled(elite.confidence),
        text: confidenceText(elite.confidence),
        title: `${elite.name}, ${runs[run].name}: ${confidenceText(elite.confidence)}`,
        open: () => openElite(run, elite.class),
    });
    if (isSame && names.length <= 24) {
        const value = (row, column) => cell(row, runs[row].elites[column]);
        return [heatTable(runs.map(({ name }) => name), names, value, "Confidence by class and run"), heatKey(SCALE_ENDS)];
    }
    const tiles = runs.map(({ name, elites }, run) => {
        const cells = elites.map((elite) => cell(run, elite)).map((tile) => ({ ...tile, text: tile.title }));
        return heatTiles(cells, `${name}: ${wholeText(elites.length)} classes by number, row by row`);
    });
    return [tiles, heatKey(SCALE_ENDS)];
}

/** The theme: what the system says, until the reader says otherwise. Where the browser keeps nothing for files it lasts as long as the page. */
function themeSwitch() {
    const root = document.documentElement;
    const button = document.getElementById("theme");
    const isDark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
    const say = () => {
        button.textContent = isDark() ? "Light" : "Dark";
        button.setAttribute("aria-label", `Change to ${isDark() ? "light" : "dark"} colours`);
    };
    button.addEventListener("click", () => {
        root.dataset.theme = isDark() ? "light" : "dark";
        say();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", say);
    say();
}

function onKey(event) {
    const isText = event.target.closest("input:not([type=range]):not([type=radio]), select, textarea") !== null;
    if (event.key === "/" && !isText && !detail.element.open && !event.ctrlKey && !event.metaKey) {
        event.preventDefault();
        grid.filter.focus();
        grid.filter.select();
    }
}

function followAddress() {
    const found = /^#elite-(\d+)-(\d+)$/.exec(location.hash);
    if (found && report.runs[Number(found[1])]) {
        openElite(Number(found[1]), Number(found[2]));
    }
}

function start() {
    heading();
    themeSwitch();
    document.getElementById("run-choice").replaceChildren(...[runChoice()].filter(Boolean));
    document.getElementById("elites-place").replaceChildren(grid.element);
    document.getElementById("maps-place").replaceChildren(...classMaps().flat());
    const analyses = report.analyses ? analysisSections(report.analyses, openElite) : [];
    document.getElementById("analyses-place").replaceChildren(...analyses);
    document.querySelectorAll(".of-analyses").forEach((element) => (element.hidden = analyses.length === 0));
    document.getElementById("program").textContent = `${report.program.version} (${report.program.commit})`;
    document.body.append(detail.element);
    showRun(0);
    document.body.classList.add("ready");
    document.addEventListener("keydown", onKey);
    window.addEventListener("hashchange", followAddress);
    followAddress();
}

start();
