// The softphone as people see it, in any root: the page at /, or the shadow root of embed.js.
// Everything that comes from outside goes in as text, never as markup.
import { Problem, SoftphoneClient } from "./client.js";

const KEYS = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "0", "#"];
const LETTERS = { 2: "ABC", 3: "DEF", 4: "GHI", 5: "JKL", 6: "MNO", 7: "PQRS", 8: "TUV", 9: "WXYZ" };
const KEY_NAMES = { "*": "star", "#": "hash" };
const QUIET_S = 10; // of a microphone that gives nothing, until we say so
const ENDINGS = {
  normal: "Call ended.",
  network: "The connection was lost and did not come back.",
  media_timeout: "The connection was lost and did not come back.",
  server: "The server went away.",
  internal: "Something went wrong on the server. Please call again.",
  failed: "",
};

const ICONS = {
  phone: "M6.6 10.8a15 15 0 0 0 6.6 6.6l2.2-2.2a1 1 0 0 1 1-.25 11.4 11.4 0 0 0 3.6.6 1 1 0 0 1 1 1V20a1 1 0 0 1-1 1A17 17 0 0 1 3 4a1 1 0 0 1 1-1h3.5a1 1 0 0 1 1 1c0 1.25.2 2.45.57 3.57a1 1 0 0 1-.25 1z",
  mic: "M12 15a3.5 3.5 0 0 0 3.5-3.5v-5a3.5 3.5 0 0 0-7 0v5A3.5 3.5 0 0 0 12 15zm6.5-3.5a.9.9 0 0 0-1.8 0 4.7 4.7 0 0 1-9.4 0 .9.9 0 0 0-1.8 0 6.5 6.5 0 0 0 5.6 6.43V20.5a.9.9 0 0 0 1.8 0v-2.57a6.5 6.5 0 0 0 5.6-6.43z",
  off: "M4.3 3.2a.9.9 0 0 0-1.3 1.3l5.5 5.5v1.5a3.5 3.5 0 0 0 5.1 3.1l1.3 1.3A4.7 4.7 0 0 1 7.3 11.5a.9.9 0 0 0-1.8 0 6.5 6.5 0 0 0 5.6 6.43V20.5a.9.9 0 0 0 1.8 0v-2.57a6.4 6.4 0 0 0 3.2-1.28l3.4 3.35a.9.9 0 0 0 1.3-1.3zM15.5 11.7V6.5a3.5 3.5 0 0 0-6.9-.8zm2.5 2.4a6.4 6.4 0 0 0 .5-2.6.9.9 0 0 0-1.8 0c0 .4 0 .8-.1 1.2z",
  keys: "M6 4a2 2 0 1 1 0 4 2 2 0 0 1 0-4zm6 0a2 2 0 1 1 0 4 2 2 0 0 1 0-4zm6 0a2 2 0 1 1 0 4 2 2 0 0 1 0-4zM6 10a2 2 0 1 1 0 4 2 2 0 0 1 0-4zm6 0a2 2 0 1 1 0 4 2 2 0 0 1 0-4zm6 0a2 2 0 1 1 0 4 2 2 0 0 1 0-4zM6 16a2 2 0 1 1 0 4 2 2 0 0 1 0-4zm6 0a2 2 0 1 1 0 4 2 2 0 0 1 0-4zm6 0a2 2 0 1 1 0 4 2 2 0 0 1 0-4z",
  hold: "M9.5 3.5a1.5 1.5 0 0 1 3 0v6.2l5.2 1.3a2.4 2.4 0 0 1 1.8 2.7l-.7 4.6a3.2 3.2 0 0 1-3.2 2.7h-4.4a3.2 3.2 0 0 1-2.5-1.2L4.6 14.600a1.400 1.400 0 0 1 2-2L9.500 14.800z",
};
const icon = (name) => `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;

const MARKUP = `
<div class="softphone" data-state="idle">
  <section class="phone" aria-label="Softphone">
    <div class="face">
      <h2 class="name"></h2>
      <p class="status"><span class="dot" aria-hidden="true"></span><span class="words" role="status"></span><time class="clock" role="timer" aria-label="Length of the call" hidden>0:00</time></p>
      <div class="orb" aria-hidden="true"><i></i><i></i><i></i><i></i><i></i><i></i><i></i></div>
    </div>
    <p class="problem" role="alert" hidden></p>
    <label class="field line" hidden><span>Line</span><select class="flow"></select></label>
    <div class="acts">
      <button type="button" class="round mute" aria-pressed="false" disabled>${icon("mic")}${icon("off")}<span>Mute</span></button>
      <button type="button" class="round main">${icon("phone")}<span>Call</span></button>
      <button type="button" class="round pad" aria-expanded="false" aria-controls="keypad" disabled>${icon("keys")}<span>Keypad</span></button>
    </div>
    <button type="button" class="talk" hidden>${icon("mic")}<span>Hold to talk</span></button>
    <div class="keypad" id="keypad" role="group" aria-label="Keypad" hidden></div>
    <details class="more"><summary>Sound</summary>
      <label class="field"><span>Microphone</span><select class="device"><option value="">Standard</option></select></label>
      <div class="levels">
        <span id="level-you">You</span><div class="meter you" role="meter" aria-labelledby="level-you" aria-valuemin="0" aria-valuemax="100" aria-valuenow="0"><b></b></div>
        <span id="level-bot">Bot</span><div class="meter bot" role="meter" aria-labelledby="level-bot" aria-valuemin="0" aria-valuemax="100" aria-valuenow="0"><b></b></div>
      </div>
      <label class="switch"><input type="checkbox" role="switch" class="ptt"><span>Push to talk</span></label>
    </details>
  </section>
  <section class="talkpane" aria-labelledby="said-title">
    <h2 id="said-title" class="said-title">Conversation</h2>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="said-title">
      <p class="empty">Press Call and speak. What you say, and what you are told, is written here.</p>
      <ol class="said" role="log" aria-live="polite" aria-relevant="additions"></ol>
      <p class="partial" aria-hidden="true" hidden></p>
    </div>
  </section>
  <audio autoplay></audio>
</div>`;

export class SoftphoneView {
  // `root`: an element to fill. `options`: of SoftphoneClient, and `title`.
  constructor(root, options) {
    this.client = new SoftphoneClient(options);
    root.softphone = this; // for scripts of the page
    this.title = options.title ?? "";
    root.innerHTML = MARKUP;
    this.box = root.querySelector(".softphone");
    const find = (selector) => this.box.querySelector(selector);
    this.at = {
      name: find(".name"), words: find(".words"), clock: find(".clock"), problem: find(".problem"),
      line: find(".line"), flow: find(".flow"), mute: find(".mute"), main: find(".main"), pad: find(".pad"),
      keypad: find(".keypad"), talk: find(".talk"), device: find(".device"), ptt: find(".ptt"), you: find(".meter.you"),
      bot: find(".meter.bot"), said: find(".said"), partial: find(".partial"), empty: find(".empty"),
      scroll: find(".scroll"), audio: find("audio"), orb: find(".orb"), more: find(".more"),
    };
    this.meters = new Meters();
    this.at.more.open = this.box.clientWidth > 700; // where there is room
    this._keypad();
    this._listen();
  }

  // Ask the server what can be called.
  async start() {
    this._say("Getting ready");
    try {
      const { flows } = await this.client.open();
      this.at.flow.replaceChildren(...flows.map((name) => new Option(nice(name), name)));
      this.at.line.hidden = flows.length < 2;
      this._named();
      this._say("Ready");
    } catch (error) {
      this._problem(error);
      this._say("Not available");
    }
    this._devices();
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this._devices());
  }

  _named() {
    this.at.name.textContent = this.title || nice(this.at.flow.value);
  }

  _listen() {
    const { client, at } = this;
    at.main.addEventListener("click", () => (client.busy ? client.hangUp() : this._call()));
    at.flow.addEventListener("change", () => this._named());
    at.mute.addEventListener("click", () => this._mute(!client.muted));
    at.pad.addEventListener("click", () => this._showKeypad(at.keypad.hidden));
    at.ptt.addEventListener("change", () => this._pushToTalk());
    at.device.addEventListener("change", () => client.useMicrophone(at.device.value).catch((error) => this._problem(error)));
    for (const [name, on] of [["pointerdown", true], ["pointerup", false], ["pointercancel", false], ["pointerleave", false], ["blur", false]]) {
      at.talk.addEventListener(name, () => this._hold(on));
    }
    for (const [name, on] of [["keydown", true], ["keyup", false]]) {
      at.talk.addEventListener(name, (event) => {
        if (event.key !== " " && event.key !== "Enter") return;
        event.preventDefault();
        if (!event.repeat) this._hold(on);
      });
    }
    at.talk.addEventListener("contextmenu", (event) => event.preventDefault()); // a long press on a phone
    this.box.addEventListener("keydown", (event) => this._typed(event));
    client.addEventListener("state", ({ detail }) => this._state(detail));
    client.addEventListener("message", ({ detail }) => this._message(detail));
    client.addEventListener("problem", ({ detail }) => this._problem(detail));
    client.addEventListener("microphone", ({ detail }) => {
      this.meters.watch("you", detail);
      this._devices(); // their names are known only now
    });
    client.addEventListener("remote", ({ detail }) => {
      at.audio.srcObject = detail;
      at.audio.play?.().catch(() => this._problem(new Problem("sound", "The browser keeps the sound back. Click anywhere on the page.")));
      this.meters.watch("bot", detail);
    });
    client.addEventListener("socket", ({ detail }) => {
      if (client.busy && detail.lost) this._say("Connection unsteady");
      else if (client.state === "talking") this._say("Connected");
    });
    client.addEventListener("over", () => {
      this.meters.stop();
      at.audio.srcObject = null;
    });
    this.meters.onlevel = (name, level) => this._level(name, level);
  }

  async _call() {
    this._clear();
    this.meters.wake(); // in the click, or the browser keeps it asleep
    this._pushToTalk();
    try {
      await this.client.call(this.at.flow.value);
    } catch (error) {
      this._problem(error);
    }
  }

  // What is to be seen in each state

  _state({ state, cause, reason, by }) {
    const { at } = this;
    const busy = state !== "idle";
    this.box.dataset.state = state;
    at.main.querySelector("span").textContent = busy ? "Hang up" : "Call";
    at.mute.disabled = at.pad.disabled = !busy;
    at.flow.disabled = busy;
    at.talk.hidden = !(busy && at.ptt.checked);
    if (!busy) {
      this._showKeypad(false);
      this._mute(false);
      this._stopClock();
      at.partial.hidden = true;
      this._ended(cause, reason, by);
      return;
    }
    if (state === "talking") this._startClock();
    this._say({ calling: "Calling", ringing: "Ringing", talking: "Connected", interrupted: "Reconnecting" }[state]);
  }

  _ended(cause, reason, by) {
    const words = cause === "normal" && by === "bot" ? "The bot has hung up." : (ENDINGS[cause] ?? "");
    this._say(words || "Not connected");
    if (cause === "ice" || cause === "refused") this._problem(new Problem(cause, reason || "The call was refused."));
    else if (["network", "media_timeout", "server", "internal"].includes(cause)) this._problem(new Problem(cause, ENDINGS[cause]));
  }

  _say(words) {
    this.at.words.textContent = words;
  }

  _problem(problem) {
    this.at.problem.textContent = problem.message;
    this.at.problem.dataset.code = problem.code ?? "";
    this.at.problem.hidden = false;
  }

  _clear() {
    this.at.problem.hidden = true;
    this.at.problem.textContent = "";
    this.at.said.replaceChildren();
    this.at.empty.hidden = false;
    this.bot = this.caller = null;
    this.quietSince = 0;
  }

  _startClock() {
    if (this.ticking) return;
    const began = Date.now();
    const show = () => {
      const s = Math.floor((Date.now() - began) / 1000);
      this.at.clock.textContent = `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
    };
    show();
    this.at.clock.hidden = false;
    this.ticking = setInterval(show, 1000);
  }

  _stopClock() {
    clearInterval(this.ticking);
    this.ticking = 0;
    this.at.clock.hidden = true;
  }

  // Microphone

  _mute(on) {
    this.client.mute(on);
    this.at.mute.setAttribute("aria-pressed", String(on));
    this.at.mute.querySelector("span").textContent = on ? "Muted" : "Mute";
    this.box.classList.toggle("muted", on);
  }

  _pushToTalk() {
    const on = this.at.ptt.checked;
    this.at.talk.hidden = !(on && this.client.busy);
    this.at.mute.hidden = on;
    this._mute(on);
  }

  _hold(on) {
    if (!this.at.ptt.checked || !this.client.busy) return;
    this._mute(!on);
    this.at.talk.classList.toggle("held", on);
    this.at.talk.querySelector("span").textContent = on ? "Speak now" : "Hold to talk";
  }

  async _devices() {
    const found = await this.client.microphones();
    const options = found.filter((device) => device.deviceId).map((device, number) =>
      new Option(device.label || `Microphone ${number + 1}`, device.deviceId));
    this.at.device.replaceChildren(new Option("Standard", ""), ...options.filter((option) => option.value !== "default"));
    this.at.device.value = this.client.deviceId;
  }

  _level(name, level) {
    const meter = this.at[name];
    meter.style.setProperty("--level", level.toFixed(3));
    meter.setAttribute("aria-valuenow", String(Math.round(level * 100)));
    this.at.orb.style.setProperty(`--${name}`, level.toFixed(3));
    if (name !== "you" || this.client.state !== "talking" || this.client.muted) {
      if (name === "you") this.quietSince = 0;
      return;
    }
    if (level > 0.02) this.quietSince = 0;
    else if (!this.quietSince) this.quietSince = Date.now();
    else if (Date.now() - this.quietSince > QUIET_S * 1000) {
      this.quietSince = Infinity; // once a call
      this._problem(new Problem("quiet", "Nothing comes from your microphone. Is it the right one? Choose another under Sound."));
      this.at.more.open = true;
    }
  }

  // Keys

  _keypad() {
    for (const key of KEYS) {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.key = key;
      button.setAttribute("aria-label", `${KEY_NAMES[key] ?? key}`);
      const digit = document.createElement("b");
      digit.textContent = key;
      const letters = document.createElement("small");
      letters.textContent = LETTERS[key] ?? "";
      button.append(digit, letters);
      button.addEventListener("click", () => this._press(key));
      this.at.keypad.append(button);
    }
  }

  _showKeypad(on) {
    this.at.keypad.hidden = !on;
    this.at.pad.setAttribute("aria-expanded", String(on));
  }

  _typed(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || !this.client.busy) return;
    if (event.target.closest("select, input")) return;
    if (KEYS.includes(event.key)) this._press(event.key);
  }

  _press(key) {
    this.client.key(key);
    const button = this.at.keypad.querySelector(`[data-key="${CSS.escape(key)}"]`);
    button.classList.add("pressed");
    setTimeout(() => button.classList.remove("pressed"), 150);
  }

  // What is said

  _message(message) {
    const { at } = this;
    switch (message.type) {
      case "partial":
        at.partial.textContent = message.text;
        at.partial.hidden = !message.text;
        this._follow();
        return;
      case "turn":
        at.partial.hidden = true;
        this._turn(message);
        return;
      case "say":
        this._bot().text.append(span("ahead", `${message.text} `));
        this._follow();
        return;
      case "heard":
        this._heard(message);
        return;
      case "latency":
        this._latency(message);
        return;
      case "vad":
        this.box.classList.toggle("hearing", message.speaking);
    }
  }

  _entry(who, name) {
    this.at.empty.hidden = true;
    const item = document.createElement("li");
    item.className = who;
    const head = document.createElement("p");
    head.className = "who";
    head.textContent = name;
    const text = document.createElement("p");
    text.className = "text";
    item.append(head, text);
    this.at.said.append(item);
    return { item, head, text };
  }

  _turn({ text, source, rejected, continues }) {
    if (continues && this.caller) this.caller.item.remove();
    this.bot = null;
    this.caller = this._entry("caller", source === "dtmf" ? "You, by keys" : "You");
    if (text) this.caller.text.textContent = text;
    else this.caller.text.append(span("lost", rejected ? "not understood" : "…"));
    this._follow();
  }

  _bot() {
    this.bot ??= this._entry("bot", "Bot");
    return this.bot;
  }

  _heard({ text, said, complete }) {
    const { text: place, item } = this._bot();
    const rest = !complete && said.startsWith(text) ? said.slice(text.length) : "";
    place.replaceChildren(complete ? said : text, ...(rest ? [span("unheard", rest)] : []));
    if (rest) {
      const note = span("note", "interrupted");
      item.querySelector(".who").append(note);
    }
    this.bot = null;
    this._follow();
  }

  _latency({ total_ms: total, ...steps }) {
    if (total === undefined) return;
    const note = span("note", `${(total / 1000).toFixed(2)} s`);
    const names = { eot_ms: "end of turn", stt_ms: "recognition", dialog_ms: "dialog", tts_ms: "voice", playout_ms: "playout" };
    note.title = Object.entries(names).filter(([key]) => key in steps).map(([key, name]) => `${name} ${Math.round(steps[key])} ms`).join(", ");
    note.setAttribute("aria-label", `answered after ${(total / 1000).toFixed(2)} seconds`);
    this._bot().head.append(note);
  }

  _follow() {
    const { scroll } = this.at;
    scroll.scrollTop = scroll.scrollHeight;
  }
}

// Loudness of both sides, 0 to 1, some 30 times a second.
class Meters {
  constructor() {
    this.sources = {};
    this.onlevel = () => {};
  }

  wake() {
    this.context ??= new AudioContext();
    this.context.resume();
  }

  watch(name, stream) {
    this.sources[name]?.node.disconnect();
    if (!this.context) return;
    const analyser = this.context.createAnalyser();
    analyser.fftSize = 1024;
    const node = this.context.createMediaStreamSource(stream);
    node.connect(analyser);
    this.sources[name] = { node, analyser, data: new Float32Array(1024), level: 0 };
    this.running ||= setInterval(() => this._measure(), 33);
  }

  stop() {
    clearInterval(this.running);
    this.running = 0;
    for (const [name, { node }] of Object.entries(this.sources)) {
      node.disconnect();
      this.onlevel(name, 0);
    }
    this.sources = {};
    this.context?.suspend();
  }

  _measure() {
    for (const [name, source] of Object.entries(this.sources)) {
      source.analyser.getFloatTimeDomainData(source.data);
      let sum = 0;
      for (const value of source.data) sum += value * value;
      const db = 10 * Math.log10(sum / source.data.length + 1e-9);
      const level = Math.min(1, Math.max(0, (db + 60) / 50)); // -60 dB is silence, -10 dB is loud
      source.level = Math.max(level, source.level * 0.85);
      this.onlevel(name, source.level);
    }
  }
}

function span(name, text) {
  const made = document.createElement("span");
  made.className = name;
  made.textContent = text;
  return made;
}

function nice(name) {
  const words = name.replaceAll(/[_-]+/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
