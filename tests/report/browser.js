// The page of a report in a real browser.
//
//   node browser.js --program PAREIDOLIA [--shots FOLDER] [--browser /usr/bin/chromium]
//
// It wants playwright-core and a Chromium: scripts/get-browser. It makes small runs, has the program report on them, and
// opens the pages from the disk. Every check that fails is said, and the exit status is then 1.

"use strict";

const { execFileSync } = require("child_process");
const fs = require("fs");
const os = require("os");
const path = require("path");
const { pathToFileURL } = require("url");
const { chromium } = require("playwright-core");
const png = require("./png.js");

/** Chromium as root, and without asking the network anything of its own. */
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** A network that takes colour images of a side, with so many classes; small enough that its weights and answers are there at once. */
const network = (image, classes) => `name = "tiny"
channel_order = "RGB"
image = ${image}
crop = ${image - 3}
mean = [104, 117, 123]
scale = [0.0078125, 0.0078125, 0.0078125]
classes = ${classes}
layers = [
  { name = "conv1", type = "convolution", outputs = 6, kernel = 5, stride = ${Math.ceil(image / 10)} },
  { name = "relu1", type = "relu" },
  { name = "fc", type = "dense", outputs = "classes" },
  { name = "prob", type = "softmax" },
]
`;

const failures = [];

function check(what, isRight, found = "") {
    console.log(`${isRight ? "ok  " : "FAIL"} ${what}${found === "" ? "" : `: ${found}`}`);
    if (!isRight) {
        failures.push(what);
    }
}

function optionsOf(words) {
    const options = { program: "pareidolia", browser: "/usr/bin/chromium" };
    for (let at = 0; at < words.length; at += 2) {
        options[words[at].replace(/^--/, "")] = words[at + 1];
    }
    // Calls are made in another folder.
    return { ...options, program: options.program.includes("/") ? path.resolve(options.program) : options.program };
}

/** The runs that are looked at: grey, and colour of two sizes. */
function makeRuns(program, folder) {
    const run = (...words) => execFileSync(program, [...words, "--quiet"], { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
    run("evolve", "mnist-cppn", "--generations", "60", "--lineage", "--threads", "1", "--out", "grey");
    run("evolve", "mnist-cppn", "--generations", "40", "--seed", "2", "--threads", "1", "--out", "other");
    run("evolve", "mnist-direct", "--generations", "4", "--threads", "1", "--out", "direct");
    run("analyse", "grey", "other", "--out", "analysis");
    run("transfer", "grey", "other", "--out", "transfer");
    for (const [name, image, classes, generations] of [["small", 15, 4, 60], ["large", 256, 12, 12], ["thousand", 256, 1000, 10]]) {
        fs.writeFileSync(path.join(folder, `${name}.toml`), network(image, classes));
        run("weights", "random", `${name}.toml`, "--out", `${name}.safetensors`);
        run("evolve", "imagenet-cppn", "--network", `${name}.toml`, "--weights", `${name}.safetensors`, "--set", "crops=1", "--batch", "60",
            "--generations", String(generations), "--threads", "1", "--out", name);
    }
    run("evolve", "imagenet-direct", "--network", "large.toml", "--weights", "large.safetensors", "--set", "crops=1", "--batch", "24", "--generations", "2",
        "--threads", "1", "--out", "noise");
}

/** The page of `runs`, and the data in it. */
function makePage(program, folder, name, runs, more = []) {
    const file = path.join(folder, `${name}.html`);
    execFileSync(program, ["report", ...runs, ...more, "--out", file, "--quiet"], { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
    const [, text] = /id="report-data">([^<]*)</.exec(fs.readFileSync(file, "utf8"));
    return { file, data: JSON.parse(text) };
}

/** Opens a page, and notes what it says and asks for. */
async function open(browser, file, settings = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, colorScheme: "light", acceptDownloads: true, ...settings });
    context.setDefaultTimeout(120000); // of a machine that is busy with other tests
    const page = await context.newPage();
    const noted = { errors: [], requests: [] };
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && noted.errors.push(message.text()));
    page.on("pageerror", (error) => noted.errors.push(error.message));
    const url = pathToFileURL(file).href;
    page.on("request", (request) => !/^(data|blob):/.test(request.url()) && request.url().split("#")[0] !== url && noted.requests.push(request.url()));
    await page.addInitScript(() => {
        [window.shifts, window.shifted] = [0, []];
        new PerformanceObserver((list) => list.getEntries().filter((entry) => !entry.hadRecentInput).forEach((entry) => {
            window.shifts += entry.value;
            window.shifted.push(...entry.sources.map(({ node }) => node?.outerHTML?.slice(0, 60)));
        })).observe({ type: "layout-shift", buffered: true });
    });
    await page.goto(url);
    return { context, page, noted };
}

const cardNames = (page) => page.$$eval(".cards .name", (names) => names.map((name) => name.textContent.trim()));

/** RGBA bytes of the large picture. They are read from a copy: a canvas that is read has a browser warn of it. */
const canvasPixels = (page) => page.$eval(".large canvas", (canvas) => {
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    return Array.from(copy.getImageData(0, 0, canvas.width, canvas.height).data);
});

/** The largest difference of RGBA bytes to a picture; infinite for another size. */
function difference(rgba, { width, height, channels, pixels }) {
    if (rgba.length !== 4 * width * height) {
        return Infinity;
    }
    const at = (pixel, channel) => pixels[pixel * channels + (channels === 1 ? 0 : channel)];
    return rgba.reduce((most, byte, i) => (i % 4 === 3 ? most : Math.max(most, Math.abs(byte - at(i >> 2, i % 4)))), 0);
}

/** Each elite's picture, drawn by the page, beside that of the run. */
async function checkPictures(page, folder, run, place) {
    const { classes } = JSON.parse(fs.readFileSync(path.join(folder, run, "run.json"), "utf8"));
    const differences = [];
    for (const { class: number, file } of classes.slice(0, 12)) {
        await page.evaluate((hash) => (location.hash = hash), `#elite-${place}-${number}`);
        await page.waitForFunction((title) => document.querySelector("#detail-title").textContent.includes(title), String(number));
        differences.push(difference(await canvasPixels(page), png.decode(fs.readFileSync(path.join(folder, run, file)))));
    }
    check(`${run}: the pictures drawn by the page are those of the run`, Math.max(...differences) <= 1, `largest differences ${differences.join(" ")}`);
    await page.keyboard.press("Escape");
}

/** Brightness of `side` by `side` parts of a picture, less their mean; of its edge, where a card has round corners, nothing. */
function parts({ width, height, channels, pixels }, side) {
    const [sums, counts] = [new Float64Array(side * side), new Float64Array(side * side)];
    for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
            const at = Math.floor((y * side) / height) * side + Math.floor((x * side) / width);
            for (let channel = 0; channel < channels; channel++) {
                sums[at] += pixels[(y * width + x) * channels + channel];
                counts[at]++;
            }
        }
    }
    const means = sums.map((sum, at) => sum / counts[at]);
    const isInside = (at) => [at % side, Math.floor(at / side)].every((place) => place > 0 && place < side - 1);
    const mean = means.reduce((sum, part, at) => sum + (isInside(at) ? part : 0), 0) / (side - 2) ** 2;
    return means.map((part, at) => (isInside(at) ? part - mean : 0));
}

/** Pictures too large to be stored one by one come from sheets: each card shows the one that is most like its elite's. */
async function checkSheets(page, folder, run) {
    const alike = (a, b) => a.reduce((sum, part, i) => sum + part * b[i], 0) / Math.sqrt(a.reduce((sum, part) => sum + part * part, 0) * b.reduce((sum, part) => sum + part * part, 0));
    const { classes } = JSON.parse(fs.readFileSync(path.join(folder, run, "run.json"), "utf8"));
    const elites = classes.map(({ file }) => parts(png.decode(fs.readFileSync(path.join(folder, run, file))), 24));
    const found = [];
    for (const card of await page.locator(".cards .tile").all()) {
        const shown = parts(png.decode(await card.screenshot()), 24);
        const likeness = elites.map((elite) => alike(elite, shown));
        found.push([likeness.indexOf(Math.max(...likeness)), Math.max(...likeness).toFixed(2)]);
    }
    check("each card shows its elite, from a sheet", found.length === classes.length && found.every(([best, likeness], at) => best === at && likeness > 0.5), found.join(" "));
}

async function checkGrid(page, data) {
    const { elites } = data.runs[0];
    const inOrder = (compare) => elites.slice().sort(compare).map(({ name }) => name).join(" ");
    check("there is a card for each class", (await cardNames(page)).length === elites.length);
    await page.selectOption("#order", "confidence");
    check("sorted by confidence", (await cardNames(page)).join(" ") === inOrder((a, b) => b.confidence - a.confidence || a.class - b.class));
    await page.selectOption("#order", "young");
    check("sorted by age", (await cardNames(page)).join(" ") === inOrder((a, b) => b.born[0] - a.born[0] || b.born[1] - a.born[1]));
    await page.selectOption("#order", "class");
    await page.keyboard.press("Escape");
    await page.locator("h1").click();
    await page.keyboard.press("/");
    await page.keyboard.type("7");
    check("/ filters by name", (await cardNames(page)).join(" ") === "7");
    await page.keyboard.press("Escape");
    check("Escape takes the filter off", (await cardNames(page)).length === elites.length);
    await page.keyboard.type("no such class");
    check("a filter that nothing fits says so", await page.locator(".nothing").isVisible());
    await page.keyboard.press("Escape");
}

async function checkKeys(page) {
    const title = () => page.textContent("#detail-title");
    await page.locator(".cards button").first().focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Enter");
    check("arrows and Enter open an elite", (await title()).includes("2"), await title());
    await page.keyboard.press("ArrowRight");
    check("an arrow goes to the next", (await title()).includes("3"), await title());
    await page.keyboard.press("Escape");
    const left = await page.evaluate(() => [document.querySelector("dialog").open, document.activeElement.getAttribute("aria-label"), location.hash]);
    check("Escape leads back to its card", left[0] === false && left[1].includes("class 3") && left[2] === "", left.join(", "));
}

/** A slider moved: other pixels, which are those that the program draws of the genome that the page saves; and back. */
async function checkSlider(page, { program, folder, place, number }) {
    await page.evaluate((hash) => (location.hash = hash), `#elite-${place}-${number}`);
    await page.waitForSelector(".sliders input");
    const before = await canvasPixels(page);
    const nodesBefore = await page.$$eval(".node image", (images) => images.map((image) => image.getAttribute("href")).join());
    let changed = null;
    for (const slider of await page.$$(".sliders li:not(.pale) input")) {
        await slider.evaluate((input) => {
            input.value = input.value > 0.5 ? 0.123456 : 0.876543;
            input.dispatchEvent(new Event("input", { bubbles: true }));
        });
        await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
        if ((await canvasPixels(page)).join() !== before.join()) {
            changed = await slider.getAttribute("aria-label");
            break;
        }
    }
    check("a slider changes the picture", changed !== null, changed);
    check("and the pictures of nodes", nodesBefore !== (await page.$$eval(".node image", (images) => images.map((image) => image.getAttribute("href")).join())));
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save genome" }).click()]);
    const saved = path.join(folder, `saved-${place}-${number}.json`);
    await download.saveAs(saved);
    const drawn = saved.replace(".json", ".png");
    const { width, height } = JSON.parse(fs.readFileSync(saved, "utf8")).canvas;
    execFileSync(program, ["render", saved, "--size", `${width}x${height}`, "--out", drawn, "--quiet"], { stdio: ["ignore", "ignore", "inherit"] });
    const most = difference(await canvasPixels(page), png.decode(fs.readFileSync(drawn)));
    check("the program draws the saved genome as the page does", most <= 1, `largest difference ${most}`);
    await page.getByRole("button", { name: "Reset" }).click();
    await page.waitForFunction(() => document.querySelector(".large .buttons button").disabled);
    check("Reset brings the elite back", (await canvasPixels(page)).join() === before.join());
    await page.locator(".node.output").first().click();
    const chosen = await page.$$eval(".sliders li", (rows) => rows.every((row) => /grey|hue/.test(row.textContent)));
    check("a node chosen shows its weights", chosen);
    await page.keyboard.press("Escape");
}

/** An ancestor chosen is taken apart in place of the elite; analyses and other networks have their say. */
async function checkAncestors(page, data) {
    await page.evaluate(() => (location.hash = "#elite-0-3"));
    await page.waitForSelector(".strip button");
    const { ancestors } = data.runs[0].elites.find((elite) => elite.class === 3);
    check("there is a picture for each ancestor", (await page.locator(".strip button").count()) === ancestors.length, ancestors.length);
    await page.locator(".strip button").first().click();
    const caption = await page.textContent(".large figcaption");
    check("an ancestor chosen is shown large", caption.startsWith("Ancestor of generation 0"), caption);
    check("other networks have their say", (await page.locator(".others li").count()) === 1);
    await page.locator(".strip button").last().click();
    check("what removal costs stands beside the weights", (await page.locator(".sliders .lost").count()) === (await page.locator(".sliders li").count()));
    await page.keyboard.press("Escape");
    check("there is a section for each analysis", (await page.locator(".analysis").count()) === Object.keys(data.analyses).length - 1);
}

async function checkTheme(page) {
    const colour = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    const light = await colour();
    await page.click("#theme");
    check("the switch changes the colours", light !== (await colour()), `${light}, ${await colour()}`);
    await page.click("#theme");
}

/** Nothing is wider than the window but what scrolls by itself. */
async function checkWidth(page, what) {
    const [wanted, there] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    check(`${what}: nothing sticks out`, wanted <= there, `${wanted} of ${there}`);
}

/** Time that scripts held up the page while it was scrolled through. */
async function scrollThrough(page) {
    return page.evaluate(async () => {
        const gaps = [];
        let before = performance.now();
        const bottom = document.querySelector("#convergence").offsetTop;
        for (let y = 0; y < bottom; y += 120) {
            window.scrollTo(0, y);
            await new Promise((done) => requestAnimationFrame(done));
            gaps.push(performance.now() - before);
            before = performance.now();
        }
        gaps.sort((a, b) => a - b);
        return { median: gaps[gaps.length >> 1], late: gaps[Math.floor(0.95 * gaps.length)] };
    });
}

async function main() {
    const options = optionsOf(process.argv.slice(2));
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "report-browser-"));
    makeRuns(options.program, folder);
    const browser = await chromium.launch({ executablePath: options.browser, args: FLAGS });
    try {
        await checkAll(browser, options, folder);
    } finally {
        await browser.close();
        fs.rmSync(folder, { recursive: true });
    }
    console.log(failures.length === 0 ? "all right" : `${failures.length} failed`);
    process.exitCode = failures.length === 0 ? 0 : 1;
}

async function checkAll(browser, options, folder) {
    const { program } = options;
    const shot = async (page, name) => options.shots && page.screenshot({ path: path.join(options.shots, `${name}.png`) });

    const grey = makePage(program, folder, "grey", ["grey", "other"], ["--analyses", "analysis", "--transfer", "transfer"]);
    const { page, noted, context } = await open(browser, grey.file);
    await checkGrid(page, grey.data);
    await checkKeys(page);
    await checkTheme(page);
    await checkPictures(page, folder, "grey", 0);
    await checkPictures(page, folder, "other", 1);
    await checkSlider(page, { program, folder, place: 0, number: 3 });
    await checkAncestors(page, grey.data);
    await checkWidth(page, "wide window");
    const shifts = await page.evaluate(() => window.shifts);
    check("the layout does not jump", shifts < 0.02, `${shifts} ${await page.evaluate(() => window.shifted.join(" "))}`);
    await shot(page, "grey");
    await context.close();

    const colour = makePage(program, folder, "colour", ["small", "large"]);
    const second = await open(browser, colour.file, { colorScheme: "dark" });
    await checkPictures(second.page, folder, "small", 0);
    await checkPictures(second.page, folder, "large", 1);
    await checkSlider(second.page, { program, folder, place: 1, number: 3 });
    await shot(second.page, "colour-dark");
    await second.context.close();

    const direct = makePage(program, folder, "direct", ["direct"]);
    const fourth = await open(browser, direct.file);
    await fourth.page.locator(".cards button").nth(3).click();
    check("a direct elite is shown by its picture", await fourth.page.$eval(".large img", (image) => image.complete && image.naturalWidth === 28));
    await fourth.context.close();

    const noise = makePage(program, folder, "noise", ["noise"]);
    const fifth = await open(browser, noise.file);
    await checkSheets(fifth.page, folder, "noise");
    await shot(fifth.page, "noise");
    await fifth.context.close();

    const narrow = await open(browser, grey.file, { viewport: { width: 360, height: 760 } });
    await checkWidth(narrow.page, "360 pixels");
    await narrow.page.locator(".cards button").first().click();
    const inside = await narrow.page.evaluate(() => {
        const dialog = document.querySelector("dialog");
        return [dialog.scrollWidth, dialog.clientWidth, dialog.getBoundingClientRect().right, document.documentElement.clientWidth];
    });
    check("360 pixels: nothing sticks out of an elite", inside[0] <= inside[1] && inside[2] <= inside[3], inside.join(" "));
    await shot(narrow.page, "narrow");
    await narrow.context.close();

    const many = makePage(program, folder, "thousand", ["thousand"]);
    const size = fs.statSync(many.file).size;
    check("a thousand classes take less than 12 MB", size < 12e6, size);
    const third = await open(browser, many.file);
    const drawn = ".cards canvas:not([width='1'])";
    await third.page.waitForFunction((drawn) => document.querySelectorAll(drawn).length >= 40, drawn);
    await third.page.waitForTimeout(500); // in which others could come
    const pictures = await third.page.locator(drawn).count();
    check("what is in view gets drawn, and little else", pictures < 300, `${pictures} pictures`);
    const pace = await scrollThrough(third.page);
    console.log(`     a thousand classes scroll: a frame takes ${pace.median.toFixed(1)} ms, 95 % less than ${pace.late.toFixed(1)} ms`);
    await shot(third.page, "thousand");
    await third.context.close();

    const all = [noted, second.noted, fourth.noted, fifth.noted, narrow.noted, third.noted];
    check("nothing on the console", all.every(({ errors }) => errors.length === 0), all.flatMap(({ errors }) => errors).join(" | "));
    check("no request", all.every(({ requests }) => requests.length === 0), all.flatMap(({ requests }) => requests).join(" | "));
}

main().catch((error) => {
    console.error(error);
    process.exitCode = 1;
});
