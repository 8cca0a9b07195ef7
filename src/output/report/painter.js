// Draws small pictures of genomes beside the page's own work: on workers, so that scrolling never waits.

/** Workers, at most; one processor is left to the page. */
const MOST_WORKERS = 4;

/** What a worker does: `{ genome, most }` to a small picture. Its program is the one that the page draws with. */
const WORKER_PROGRAM = `
"use strict";
${document.getElementById("drawing").textContent}
onmessage = ({ data: { genome, most } }) => {
    const picture = smallPicture(genome, most);
    postMessage(picture, [picture.pixels.buffer]);
};
`;

class Painter {
    /** Canvases in view that are not drawn, the last to come first: what the reader looks at now. */
    #waiting = new Map();
    #idle = [];

    constructor() {
        this.observer = new IntersectionObserver((entries) => entries.forEach((entry) => this.#seen(entry)), { rootMargin: "300px" });
        this.works = new WeakMap();
        this.#startWorkers();
    }

    /** A canvas on which the picture of `genome` appears when it comes into view, at most `most` pixels a side. */
    canvas(genome, most) {
        const canvas = h("canvas", { width: 1, height: 1, class: genome.canvas.width < 64 ? "pixelated" : null, "aria-hidden": "true" });
        this.works.set(canvas, { genome, most });
        this.observer.observe(canvas);
        return canvas;
    }

    #startWorkers() {
        const n = Math.min(MOST_WORKERS, Math.max(1, (navigator.hardwareConcurrency ?? 2) - 1));
        try {
            const url = URL.createObjectURL(new Blob([WORKER_PROGRAM], { type: "text/javascript" }));
            this.#idle = Array.from({ length: n }, () => new Worker(url));
        } catch {
            this.#idle = []; // a browser that allows a file none: the page draws itself
        }
        this.hasWorkers = this.#idle.length > 0;
    }

    #seen({ target, isIntersecting }) {
        if (isIntersecting) {
            this.#waiting.set(target, this.works.get(target));
            this.#next();
        } else {
            this.#waiting.delete(target);
        }
    }

    #next() {
        if (!this.hasWorkers) {
            this.#drawHere();
            return;
        }
        while (this.#idle.length > 0 && this.#waiting.size > 0) {
            this.#give(this.#idle.pop(), ...this.#take());
        }
    }

    #take() {
        const [canvas, work] = Array.from(this.#waiting).pop();
        this.#waiting.delete(canvas);
        this.observer.unobserve(canvas);
        return [canvas, work];
    }

    #give(worker, canvas, work) {
        worker.onmessage = ({ data }) => {
            paint(canvas, data);
            this.#idle.push(worker);
            this.#next();
        };
        worker.onerror = () => {
            this.hasWorkers = false;
            this.observer.observe(canvas);
        };
        worker.postMessage(work);
    }

    /** One picture a frame. */
    #drawHere() {
        this.frame ??= requestAnimationFrame(() => {
            this.frame = undefined;
            if (this.#waiting.size > 0) {
                const [canvas, { genome, most }] = this.#take();
                paint(canvas, smallPicture(genome, most));
                this.#drawHere();
            }
        });
    }
}

const painter = new Painter();
