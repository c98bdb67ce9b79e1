// A softphone on any page: <script src="https://HOST/embed.js" data-flow="clinic"></script>
//   data-flow    which line to call; without it the first one
//   data-label   what the button says ("Talk to us")
//   data-side    left or right (right)
//   data-theme   light or dark (as the browser is set)
// The page's origin must stand in `webrtc.origins` of the server. Everything lives in a shadow root: nothing
// of the page's style comes in, nothing goes out.
"use strict";
(() => {
  const script = document.currentScript;
  const base = new URL("./", script.src);
  const { flow = "", label = "Talk to us", side = "right", theme = "" } = script.dataset;

  async function build() {
    const { SoftphoneView } = await import(new URL("softphone/static/ui.js", base));
    const host = document.createElement("voicegw-softphone");
    const root = host.attachShadow({ mode: "open" });
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = new URL("softphone/static/softphone.css", base);
    const loaded = new Promise((done) => (style.onload = style.onerror = done));
    const box = document.createElement("div");
    box.className = `embed ${side === "left" ? "left" : "right"}`;
    box.innerHTML = `
      <section class="panel" id="panel" role="dialog" tabindex="-1" hidden></section>
      <button class="launch" type="button" aria-expanded="false" aria-controls="panel">
        <svg viewBox="0 0 24 24" aria-hidden="true"><path d="M6.6 10.8a15 15 0 0 0 6.6 6.6l2.2-2.2a1 1 0 0 1 1-.25 11.4 11.4 0 0 0 3.6.6 1 1 0 0 1 1 1V20a1 1 0 0 1-1 1A17 17 0 0 1 3 4a1 1 0 0 1 1-1h3.5a1 1 0 0 1 1 1c0 1.25.2 2.45.57 3.57a1 1 0 0 1-.25 1z"/></svg>
        <span></span>
      </button>`;
    root.append(style, box);
    const panel = box.querySelector(".panel");
    const launch = box.querySelector(".launch");
    launch.querySelector("span").textContent = label;
    panel.setAttribute("aria-label", label);
    const session = flow ? `embed/session?flow=${encodeURIComponent(flow)}` : "embed/session";
    const view = new SoftphoneView(panel, { base, session, title: label });
    let started = false;
    function show(open) {
      panel.hidden = !open;
      launch.setAttribute("aria-expanded", String(open));
      if (open && !started) view.start();
      started ||= open;
      if (open) panel.focus();
      else launch.focus();
    }
    launch.addEventListener("click", () => show(panel.hidden));
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !panel.hidden) show(false);
    });
    view.client.addEventListener("state", ({ detail }) => box.classList.toggle("busy", detail.state !== "idle"));
    if (theme === "light" || theme === "dark") box.style.colorScheme = theme;
    host.hidden = true; // no flash of bare elements
    document.body.append(host);
    await loaded;
    host.hidden = false;
  }

  if (document.readyState === "loading") addEventListener("DOMContentLoaded", build);
  else build();
})();
