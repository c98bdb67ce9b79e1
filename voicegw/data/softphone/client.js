// A call from the browser: microphone, WebRTC, and one WebSocket for what is said about it. No DOM here.
//
//   const client = new SoftphoneClient({ base: new URL("https://host/"), session: "softphone/session" });
//   client.addEventListener("state", ({ detail }) => ...);   // idle calling ringing talking interrupted
//   await client.open(); await client.call("clinic"); client.hangUp();
//
// Events: session, state, message (what the server says: partial, turn, say, heard, latency, ...), problem.
// The socket may be lost in a call: media goes on, and another socket takes over. When the network itself
// changes, ICE is restarted over it.

const DISCONNECTED_MS = 1500; // a gap that often heals by itself
const RETRY_MS = [200, 500, 1000, 2000, 3000];
const PING_MS = 10000;
const GRACE_S = 5; // beyond the time for which the server keeps a call without sound

export class Problem extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

const MICROPHONE = {
  NotAllowedError: "The microphone was refused. Allow it for this page (the icon beside the address), then call again.",
  SecurityError: "The microphone was refused. Allow it for this page (the icon beside the address), then call again.",
  NotFoundError: "No microphone was found. Plug one in, then call again.",
  OverconstrainedError: "The chosen microphone is gone. Choose another one.",
  NotReadableError: "The microphone cannot be used: another program may hold it.",
};
const SESSION = {
  401: "You may not call from here: the token (http.token) is needed.",
  403: "This page may not call.",
  404: "This line does not exist.",
  429: "Too many calls from here. Wait a moment, then try again.",
};
export const ICE_FAILED =
  "No connection for sound could be made. A firewall may keep UDP out: try another network. " +
  "Whoever runs this server can add a TURN server.";

export class SoftphoneClient extends EventTarget {
  constructor({ base, session }) {
    super();
    this.base = base;
    this.sessionUrl = new URL(session, base);
    this.state = "idle";
    this.stream = null; // the microphone
    this.remote = null; // the bot
    this.muted = false;
    this.deviceId = "";
    this.info = null;
    this.lastKeyByRtp = false;
    this._reset();
    addEventListener("online", () => this._networkChanged());
    navigator.connection?.addEventListener?.("change", () => this._networkChanged());
  }

  _reset() {
    this.pc = null;
    this.socket = null;
    this.resume = "";
    this.seen = 0;
    this.callId = "";
    this.everConnected = false;
    this.restarting = false;
    this._early = null; // candidates found before their offer was sent
  }

  _emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  _setState(state, detail = {}) {
    if (state !== this.state || Object.keys(detail).length) {
      this.state = state;
      this._emit("state", { state, ...detail });
    }
  }

  get busy() {
    return this.state !== "idle";
  }

  // What may be called. Throws Problem.
  async open() {
    let answer;
    try {
      answer = await fetch(this.sessionUrl, { credentials: "same-origin", cache: "no-store" });
    } catch {
      throw new Problem("server", "The server cannot be reached.");
    }
    if (!answer.ok) {
      throw new Problem("session", SESSION[answer.status] ?? `The server refuses (${answer.status}).`);
    }
    this.info = await answer.json();
    this._emit("session", this.info);
    return this.info;
  }

  async microphones() {
    if (!navigator.mediaDevices?.enumerateDevices) return [];
    const devices = await navigator.mediaDevices.enumerateDevices();
    return devices.filter((device) => device.kind === "audioinput");
  }

  // Call. Throws Problem where it cannot even begin.
  async call(flow) {
    if (this.busy) return;
    this._reset();
    this._setState("calling");
    try {
      this.stream = await this._microphone();
      const session = await this.open(); // the token is fresh
      await this._openSocket({ type: "hello", token: session.token });
      await this._offer(session, flow);
    } catch (error) {
      this._over();
      this._setState("idle", { cause: "failed" });
      throw error instanceof Problem ? error : new Problem("call", String(error.message ?? error));
    }
  }

  hangUp() {
    if (!this.busy) return;
    this._send({ type: "hangup" });
    this._over();
    this._setState("idle", { cause: "normal", by: "caller" });
  }

  mute(on) {
    this.muted = on;
    for (const track of this.stream?.getAudioTracks() ?? []) track.enabled = !on;
  }

  // A telephone key: in the audio's own stream where the browser can (RFC 4733), else by a message.
  key(key) {
    const dtmf = this.pc?.getSenders().find((sender) => sender.dtmf)?.dtmf;
    this.lastKeyByRtp = Boolean(dtmf?.canInsertDTMF && this.pc.connectionState === "connected");
    if (this.lastKeyByRtp) dtmf.insertDTMF(dtmf.toneBuffer + key, 100, 70);
    else this._send({ type: "key", key });
  }

  async useMicrophone(deviceId) {
    this.deviceId = deviceId;
    if (!this.stream) return;
    const stream = await this._microphone();
    const [track] = stream.getAudioTracks();
    await this.pc?.getSenders()[0]?.replaceTrack(track);
    for (const old of this.stream.getTracks()) old.stop();
    this.stream = stream;
    this.mute(this.muted);
    this._emit("microphone", stream);
  }

  async _microphone() {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Problem("insecure", "Browsers give the microphone only to pages by HTTPS, or on this machine itself (localhost).");
    }
    const wanted = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    if (this.deviceId) wanted.deviceId = { exact: this.deviceId };
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ audio: wanted });
      for (const track of stream.getAudioTracks()) track.enabled = !this.muted;
      this._emit("microphone", stream);
      return stream;
    } catch (error) {
      throw new Problem("microphone", MICROPHONE[error.name] ?? `The microphone cannot be used: ${error.message}`);
    }
  }

  // The socket

  _openSocket(first) {
    const url = new URL("softphone/ws", this.base);
    url.protocol = url.protocol.replace("http", "ws");
    return new Promise((resolve, reject) => {
      const socket = new WebSocket(url);
      let welcome = false;
      socket.onopen = () => socket.send(JSON.stringify(first));
      socket.onmessage = ({ data }) => {
        const message = JSON.parse(data);
        if (message.n) {
          if (message.n <= this.seen) return;
          this.seen = message.n;
        }
        if (message.type === "welcome" && !welcome) {
          welcome = true;
          this.socket = socket;
          clearInterval(this._pinging);
          this._pinging = setInterval(() => this._send({ type: "ping" }), PING_MS);
          resolve(message);
          return;
        }
        if (!welcome && message.type === "error") {
          reject(new Problem(message.code, message.message));
          return;
        }
        this._received(message);
      };
      socket.onclose = () => {
        if (!welcome) reject(new Problem("server", "The server cannot be reached."));
        else if (this.socket === socket && this.busy) this._socketLost();
      };
    });
  }

  async _socketLost() {
    clearInterval(this._pinging);
    this.socket = null;
    if (!this.resume) {
      this._over();
      this._setState("idle", { cause: "server" });
      return;
    }
    this._emit("socket", { lost: true });
    let since = Date.now(); // that there is neither socket nor sound
    for (let attempt = 0; this.busy && !this.socket; attempt++) {
      await new Promise((done) => setTimeout(done, RETRY_MS[Math.min(attempt, RETRY_MS.length - 1)]));
      if (!this.busy) return;
      if (this.connected) since = Date.now();
      else if (Date.now() - since > (this.info.resume_s + GRACE_S) * 1000) {
        this._over();
        this._setState("idle", { cause: "network" });
        return;
      }
      try {
        const { calling } = await this._openSocket({ type: "resume", resume: this.resume, seen: this.seen });
        this._emit("socket", { lost: false });
        if (calling && !this.connected) this._restart();
      } catch (error) {
        if (error.code === "refused") {
          this._over(); // the call has ended meanwhile
          this._setState("idle", { cause: "network" });
          return;
        }
      }
    }
  }

  _send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) {
      this.socket.send(JSON.stringify(message));
      return true;
    }
    return false;
  }

  async _received(message) {
    switch (message.type) {
      case "ringing":
        if (this.state === "calling") this._setState("ringing");
        return;
      case "answer":
        this.resume = message.resume;
        this.callId = message.call ?? this.callId;
        if (this.pc?.signalingState === "have-local-offer") {
          await this.pc.setRemoteDescription({ type: "answer", sdp: message.sdp });
        }
        return;
      case "media":
        this._mediaState(message);
        return;
      case "ended":
        this._over();
        this._setState("idle", { cause: message.cause, status: message.status, reason: message.message, by: "bot" });
        return;
      case "error":
        this._emit("problem", new Problem(message.code, message.message));
        return;
      case "pong":
        return;
      default:
        this._emit("message", message);
    }
  }

  _mediaState(message) {
    if (message.state === "failed" && !this.everConnected) this._emit("problem", new Problem("ice", ICE_FAILED));
    else if (message.state === "interrupted") {
      this._setState("interrupted");
      this._restart(); // the server notices within a second, the browser after five
    }
    else if (message.state === "connected" && this.busy && this.everConnected) this._setState("talking");
  }

  // Media

  async _offer(session, flow) {
    const pc = new RTCPeerConnection({
      iceServers: session.ice_servers,
      iceTransportPolicy: session.relay_only ? "relay" : "all",
      bundlePolicy: "max-bundle",
    });
    this.pc = pc;
    for (const track of this.stream.getAudioTracks()) pc.addTrack(track, this.stream);
    pc.ontrack = ({ streams, track }) => {
      this.remote = streams[0] ?? new MediaStream([track]);
      this._emit("remote", this.remote);
    };
    pc.onicecandidate = ({ candidate }) => {
      const message = { type: "candidate", candidate: candidate?.candidate ?? null };
      if (this._early) this._early.push(message);
      else this._send(message);
    };
    pc.onconnectionstatechange = () => this._connectionState();
    pc.oniceconnectionstatechange = () => this._iceState();
    await this._describe({}, (sdp) => ({ type: "call", flow: flow ?? "", sdp }));
  }

  // Our offer goes first, then the candidates that belong to it.
  async _describe(options, message) {
    this._early = [];
    await this.pc.setLocalDescription(await this.pc.createOffer(options));
    this._send(message(this.pc.localDescription.sdp));
    const early = this._early;
    this._early = null;
    early.forEach((candidate) => this._send(candidate));
  }

  _connectionState() {
    const state = this.pc?.connectionState;
    if (state === "connected") {
      this.everConnected = true;
      if (this.busy) this._setState("talking");
    } else if (state === "failed" && !this.everConnected) {
      this._send({ type: "hangup" });
      this._over();
      this._setState("idle", { cause: "ice", reason: ICE_FAILED });
    }
  }

  _iceState() {
    const state = this.pc?.iceConnectionState;
    clearTimeout(this._healing);
    if (!this.everConnected) return;
    if (this.connected) this._setState("talking");
    else if (state === "disconnected") this._healing = setTimeout(() => this._restart(), DISCONNECTED_MS);
    else if (state === "failed") this._restart();
  }

  _networkChanged() {
    if (this.busy && this.everConnected) this._restart();
  }

  get connected() {
    return ["connected", "completed"].includes(this.pc?.iceConnectionState);
  }

  // ICE anew, over the socket; where that is lost too, it is done once there is another. While the old path
  // still carries sound it is kept until a better one is found.
  async _restart() {
    const pc = this.pc;
    if (!pc || this.restarting || pc.signalingState === "closed" || !this.busy) return;
    if (!this.connected) this._setState("interrupted");
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    this.restarting = true;
    try {
      if (pc.signalingState === "have-local-offer") await pc.setLocalDescription({ type: "rollback" });
      await this._describe({ iceRestart: true }, (sdp) => ({ type: "offer", sdp }));
    } catch (error) {
      this._emit("problem", new Problem("ice", String(error.message ?? error)));
    } finally {
      this.restarting = false;
    }
  }

  _over() {
    clearInterval(this._pinging);
    clearTimeout(this._healing);
    const { pc, socket } = this;
    this.pc = this.socket = null;
    if (pc) {
      pc.onconnectionstatechange = pc.oniceconnectionstatechange = pc.onicecandidate = null;
      pc.close();
    }
    socket?.close(1000);
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.remote = null;
    this._emit("over", {});
  }
}
