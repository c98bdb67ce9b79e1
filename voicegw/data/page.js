// Keeps the lists fresh: every 3 s the page is read again and what changed is replaced. A list that holds
// the focus is left alone, so that nobody is thrown out while reading or tabbing through it.
"use strict";
async function refresh() {
  try {
    const answer = await fetch(location.pathname, { credentials: "same-origin" });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-fresh]")) {
      const other = fresh.getElementById(part.id);
      if (other && other.innerHTML !== part.innerHTML && !part.contains(document.activeElement)) {
        part.innerHTML = other.innerHTML;
      }
    }
  } catch { /* the server is away; the next round will tell */ }
}
setInterval(() => { if (!document.hidden) refresh(); }, 3000);
