// The page at /: one softphone, and how else to call.
import { SoftphoneView } from "./ui.js";

const base = new URL("/", location.href);
const view = new SoftphoneView(document.getElementById("softphone"), { base, session: "softphone/session" });
view.client.addEventListener("session", ({ detail }) => {
  if (detail.sip) {
    const code = document.createElement("code");
    code.textContent = detail.sip;
    document.getElementById("hint").replaceChildren("Or with any SIP phone: ", code);
  }
});
view.start();
