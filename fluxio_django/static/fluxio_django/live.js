/* Keeps the page of a run that is under way up to date. Without it, the page is as it was loaded. */
"use strict";

{
    const LIVE = "fluxio-live";
    const HIDDEN_FACTOR = 10;
    let paused = false;

    const live = () => document.getElementById(LIVE);

    const foldName = (fold, seen) => {
        const text = fold.querySelector("summary")?.textContent.trim() ?? "";
        const number = seen.get(text) ?? 0;
        seen.set(text, number + 1);
        return `${number} ${text}`;
    };

    const namedFolds = root => {
        const seen = new Map();
        return [...root.querySelectorAll("details")].map(fold => [foldName(fold, seen), fold]);
    };

    /* What people have unfolded stays open, and what has the focus keeps it. */
    const replace = fresh => {
        const old = live();
        const open = new Set(namedFolds(old).filter(([, fold]) => fold.open).map(([name]) => name));
        const focus = old.contains(document.activeElement) ? document.activeElement : null;
        const focused = focus?.getAttribute("href");
        for (const [name, fold] of namedFolds(fresh)) {
            if (open.has(name)) {
                fold.open = true;
            }
        }
        old.replaceWith(document.adoptNode(fresh));
        if (focused) {
            [...live().querySelectorAll("a[href]")]
                .find(link => link.getAttribute("href") === focused)
                ?.focus({preventScroll: true});
        }
        prepare();
    };

    const announce = () => {
        const teller = document.getElementById("fluxio-announcement");
        const headline = live().querySelector(".fluxio-headline");
        if (teller && headline && teller.textContent !== headline.textContent) {
            teller.textContent = headline.textContent;
        }
    };

    const look = async () => {
        const current = live();
        if (paused || !current?.dataset.pulse) {
            return;
        }
        const options = {credentials: "same-origin", cache: "no-store", redirect: "error"};
        const pulse = await fetch(current.dataset.pulse, options);
        if (!pulse.ok || (await pulse.json()).mark === current.dataset.mark || paused) {
            return;
        }
        const page = await fetch(window.location.href, options);
        if (!page.ok || paused) {
            return;
        }
        const text = await page.text();
        const fresh = new DOMParser().parseFromString(text, "text/html").getElementById(LIVE);
        if (fresh) {
            replace(fresh);
            announce();
        }
    };

    const again = () => {
        const seconds = Number(live()?.dataset.seconds);
        if (!seconds) {
            return;
        }
        const wait = seconds * 1000 * (document.hidden ? HIDDEN_FACTOR : 1);
        window.setTimeout(() => look().catch(() => {}).finally(again), wait);
    };

    /* The button that stops it is of no use without a script, so it comes hidden. */
    const prepare = () => {
        const button = live()?.querySelector("button[data-pause]");
        if (!button) {
            return;
        }
        const show = () => {
            button.setAttribute("aria-pressed", String(paused));
            button.textContent = paused ? button.dataset.paused : button.dataset.pause;
        };
        button.hidden = false;
        button.addEventListener("click", () => {
            paused = !paused;
            show();
        });
        show();
    };

    document.addEventListener("DOMContentLoaded", () => {
        prepare();
        again();
    });
}
