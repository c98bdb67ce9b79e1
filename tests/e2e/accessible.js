// Returns what somebody who cannot see, or has no mouse, would miss in this page. By rules of WCAG 2.2, A and AA.
const wrong = [], page = document.querySelector("body");
const name = (e) => e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.[0]?.textContent.trim()
  || document.getElementById(e.getAttribute("aria-labelledby"))?.textContent;
for (const e of page.querySelectorAll("button, a, select, input, summary, [role=meter], [role=region]"))
  if (!name(e)) wrong.push("no name: " + e.outerHTML.slice(0, 80));
for (const e of page.querySelectorAll("[aria-controls], [aria-labelledby]"))
  for (const a of ["aria-controls", "aria-labelledby"])
    if (e.hasAttribute(a) && !document.getElementById(e.getAttribute(a))) wrong.push("points nowhere: " + a);
for (const e of page.querySelectorAll("svg"))
  if (e.getAttribute("aria-hidden") !== "true") wrong.push("an image without a name");
const ids = [...page.querySelectorAll("[id]")].map((e) => e.id);
if (new Set(ids).size !== ids.length) wrong.push("an id twice");
if (document.documentElement.lang !== "en" || !document.title) wrong.push("no language or title");
if (page.querySelectorAll("h1").length !== 1 || !page.querySelector("main")) wrong.push("no h1 or main");
for (const role of ["status", "alert", "log"])
  if (!page.querySelector(`[role=${role}]`)) wrong.push("nothing is announced as " + role);
for (const e of page.querySelectorAll("button, select, summary, a"))
  if (e.tabIndex < 0 && !e.disabled) wrong.push("cannot be reached: " + e.outerHTML.slice(0, 80));
const hit = (e) => { const r = e.getBoundingClientRect(); return r.width && (r.width < 24 || r.height < 24); };
for (const e of page.querySelectorAll("button, select, summary, nav a"))
  if (hit(e)) wrong.push("too small to hit: " + e.outerHTML.slice(0, 80));
const light = (c) => c.match(/[\d.]+/g).slice(0, 3).map(Number).map((v) => v / 255)
  .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const ground = (e) => { for (; e; e = e.parentElement) {
  const c = getComputedStyle(e).backgroundColor; if (!/, 0\)|transparent/.test(c)) return c; } };
for (const e of page.querySelectorAll("h1, h2, p, a, .words, summary, button:enabled span")) {
  if (!e.checkVisibility() || !e.textContent.trim()) continue;
  const [a, b] = [light(getComputedStyle(e).color), light(ground(e))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) wrong.push(`contrast ${ratio.toFixed(1)}: ${e.textContent.trim().slice(0, 40)}`);
}
return wrong;
