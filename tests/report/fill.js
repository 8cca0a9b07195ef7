// Fills the page of a report with the data of runs, by the contract in src/output/report/README.md.
//
//   node fill.js --out report.html [--program PAREIDOLIA] [--analyses FOLDER] [--transfer FOLDER] [--lineage FOLDER]... [--earlier RUN]...
//       [--sheets] RUN...
//
// A run's genomes are read by `pareidolia export`. FOLDERs are what `analyse`, `transfer` and `lineage` write; a lineage is that of the run
// whose path it names. Genomes of ancestors are looked for among the elites of `--earlier` runs: the same run, stopped sooner.

"use strict";

const { execFileSync } = require("child_process");
const fs = require("fs");
const os = require("os");
const path = require("path");
const png = require("./png.js");

const PAGE = path.join(__dirname, "../../src/output/report");
const DRAWING = ["arithmetic", "genome"];
const SCRIPTS = ["layout", "elements", "painter", "charts", "tables", "graph", "elites", "detail", "page"];
const PARTS = ["blame", "thresholds", "likeness", "resistance", "minimal", "ablation"];

/** Side of a small picture, and how many stand on a sheet. */
const TILE = 96;
const SHEET = 10;
/** Points of a curve, at most. */
const CURVE = 400;

const readJson = (...parts) => JSON.parse(fs.readFileSync(path.join(...parts), "utf8"));
const dataUrl = (bytes) => `data:image/png;base64,${bytes.toString("base64")}`;

/** The page, filled. */
function fillPage(data) {
    const read = (name) => fs.readFileSync(path.join(PAGE, name), "utf8");
    const content = {
        title: `${data.runs.map(({ name }) => name).join(", ")}: pareidolia`.replace(/[&<>"]/g, (found) => `&#${found.charCodeAt(0)};`),
        style: read("page.css"),
        data: JSON.stringify(data).replace(/</g, "\\u003c"),
        drawing: DRAWING.map((name) => read(`${name}.js`)).join("\n"),
        script: SCRIPTS.map((name) => read(`${name}.js`)).join("\n"),
    };
    return read("page.html").replace(/\{\{(\w+)\}\}/g, (_, key) => content[key]);
}

function readRun(folder, { program, sheets: wantsSheets }) {
    const { classes, ...manifest } = readJson(folder, "run.json");
    const pictures = classes.map(({ file }) => fs.readFileSync(path.join(folder, file)));
    const { width, height, channels } = png.decode(pictures[0]);
    const isCppn = /cppn/.test(manifest.configuration.preset);
    const genomes = isCppn ? exportGenomes(folder, program, classes) : [];
    const isSmall = width * height * classes.length < 1 << 16;
    const elites = classes.map(({ file, ...elite }, at) => ({ ...elite, genome: genomes[at], picture: isSmall || !isCppn ? dataUrl(pictures[at]) : undefined }));
    return {
        name: path.basename(folder),
        manifest,
        canvas: { width, height, channels },
        class_names: classes.map(({ name }) => name),
        elites,
        sheets: wantsSheets ? sheets(pictures.map(png.decode)) : undefined,
        curve: curve(folder),
    };
}

/** Genomes in the order of the classes, without what the page does not look at. */
function exportGenomes(folder, program, classes) {
    const out = fs.mkdtempSync(path.join(os.tmpdir(), "report-"));
    execFileSync(program, ["export", folder, "--quiet", "--out", path.join(out, "genomes")], { stdio: ["ignore", "ignore", "inherit"] });
    const genomes = classes.map(({ file }) => readJson(out, "genomes", path.basename(file).replace(/\.png$/, ".json")));
    fs.rmSync(out, { recursive: true });
    return genomes.map(slim);
}

function slim({ origin, steps, nodes, edges, ...genome }) {
    return {
        ...genome,
        nodes: nodes.map(({ id, activation }) => ({ id, activation })),
        edges: edges.map(({ from, to, gene }) => ({ from, to, gene })),
    };
}

function sheets(images) {
    const [{ width, height, channels }] = images;
    const tile = [TILE, Math.round((TILE * height) / width)];
    const pictures = [];
    for (let first = 0; first < images.length; first += SHEET * SHEET) {
        const sheet = { width: SHEET * tile[0], height: SHEET * tile[1], channels, pixels: Buffer.alloc(SHEET * SHEET * tile[0] * tile[1] * channels) };
        images.slice(first, first + SHEET * SHEET).forEach((image, at) => placeTile(sheet, image, at, tile));
        pictures.push(dataUrl(png.encode(sheet)));
    }
    return { tile, columns: SHEET, rows: SHEET, pictures };
}

/** Each point of the tile is the mean of the pixels under it. */
function placeTile(sheet, image, at, tile) {
    const [left, top] = [(at % SHEET) * tile[0], Math.floor(at / SHEET) * tile[1]];
    const { channels } = image;
    const range = (place, count, side) => [Math.floor((place * side) / count), Math.max(Math.floor((place * side) / count) + 1, Math.floor(((place + 1) * side) / count))];
    for (let y = 0; y < tile[1]; y++) {
        const [y0, y1] = range(y, tile[1], image.height);
        for (let x = 0; x < tile[0]; x++) {
            const [x0, x1] = range(x, tile[0], image.width);
            for (let channel = 0; channel < channels; channel++) {
                let sum = 0;
                for (let j = y0; j < y1; j++) {
                    for (let i = x0; i < x1; i++) {
                        sum += image.pixels[(j * image.width + i) * channels + channel];
                    }
                }
                sheet.pixels[((top + y) * sheet.width + left + x) * channels + channel] = sum / ((y1 - y0) * (x1 - x0));
            }
        }
    }
}

function curve(folder) {
    const file = path.join(folder, "metrics.jsonl");
    if (!fs.existsSync(file)) {
        return undefined;
    }
    const all = fs.readFileSync(file, "utf8").trim().split("\n").map((line) => JSON.parse(line));
    // Evenly over the logarithm, as the chart is; the first and the last are kept.
    const places = new Set(Array.from({ length: CURVE }, (_, i) => Math.round(all.length ** (i / (CURVE - 1))) - 1));
    const lines = all.filter((_, at) => places.has(at));
    const keys = ["generation", "evaluations", "median", "mean", "min", "max", "over_99", "over_999", "over_9999"];
    return Object.fromEntries(keys.map((key) => [key, lines.map((line) => line[key])]));
}

function readAnalyses(folder, folders) {
    const places = folders.map((run) => path.resolve(run));
    const named = readJson(folder, "analyse.json").runs.map(({ run, path: of }) => [run, places.indexOf(path.resolve(of))]);
    const parts = PARTS.filter((part) => fs.existsSync(path.join(folder, `${part}.json`)));
    return {
        runs: Object.fromEntries(named.filter(([, place]) => place >= 0)),
        ...Object.fromEntries(parts.map((part) => [part, readJson(folder, `${part}.json`)])),
    };
}

function readTransfer(folder, folders) {
    const { networks } = readJson(folder, "matrix.json");
    const places = folders.map((run) => path.resolve(run));
    const lines = fs.readFileSync(path.join(folder, "images.jsonl"), "utf8").trim().split("\n").map((line) => JSON.parse(line));
    const answers = lines
        .map((line) => ({ run: places.indexOf(path.resolve(line.input)), class: line.class, answers: line.answers }))
        .filter(({ run, class: number }) => run >= 0 && number !== undefined);
    return { networks, answers };
}

/** Genomes of elites of earlier archives, by their birth. */
function bornOf({ program, earlier }) {
    const born = new Map();
    for (const folder of earlier) {
        const { classes } = readJson(folder, "run.json");
        exportGenomes(folder, program, classes).forEach((genome, at) => born.set(classes[at].born.join(" "), genome));
    }
    return born;
}

/** The data of `folders`, by the contract. */
function dataOf(folders, options) {
    const { analyses, transfer, lineages } = options;
    const runs = folders.map((folder) => readRun(folder, options));
    const born = bornOf(options);
    for (const { run, elites } of lineages.map((folder) => readJson(folder, "lineage.json"))) {
        const at = folders.findIndex((folder) => path.resolve(folder) === path.resolve(run));
        elites.forEach(({ class: number, depth, goal_switches, line }) => {
            const elite = runs[at]?.elites.find((other) => other.class === number);
            const ancestors = line.map((ancestor) => ({ ...ancestor, genome: born.get(`${ancestor.generation} ${ancestor.candidate}`) }));
            ancestors[ancestors.length - 1].genome = elite?.genome;
            Object.assign(elite ?? {}, { lineage: { depth, goal_switches }, ancestors });
        });
    }
    const { version, commit } = runs[0].manifest;
    return {
        format: "pareidolia report",
        version: 1,
        program: { version, commit },
        runs,
        analyses: analyses && readAnalyses(analyses, folders),
        transfers: transfer && [readTransfer(transfer, folders)],
    };
}

function main(words) {
    const options = { program: "pareidolia", lineages: [], earlier: [] };
    const folders = [];
    while (words.length > 0) {
        const word = words.shift();
        if (word === "--lineage") {
            options.lineages.push(words.shift());
        } else if (word === "--earlier") {
            options.earlier.push(words.shift());
        } else if (word === "--sheets") {
            options.sheets = true;
        } else if (word.startsWith("--")) {
            options[word.slice(2)] = words.shift();
        } else {
            folders.push(word);
        }
    }
    fs.writeFileSync(options.out, fillPage(dataOf(folders, options)));
}

module.exports = { dataOf, fillPage };

if (require.main === module) {
    main(process.argv.slice(2));
}
