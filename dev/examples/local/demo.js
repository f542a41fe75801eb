"use strict";

// New ones for each load, so that Ron begins without carts, whatever is stored.
const LOAD = Date.now().toString(36);
const RON = `ron-${LOAD}`;
const HERMIONE = `hermione-${LOAD}`;
const ACME = `acme-${LOAD}`;
const HARRY = `harry-${LOAD}`;

const STEPS = [
  ["phone", "fill", "A guest puts a scarf in the cart on the phone."],
  ["phone", "signIn", "The guest signs in on the phone: it is Ron."],
  ["laptop", "signIn", "Ron signs in on the laptop."],
  ["phone", "again", "The phone sends the same request again."],
  ["phone", "refused", "The phone tries to save the cart for Hermione."],
  ["phone", "signOut", "Ron signs out on the phone."],
  ["laptop", "remove", "Ron removes the cart on the laptop."],
  ["laptop", "colleague", "The phone saves the cart for Ron's company. Harry, who buys for it too, signs in on the laptop."],
];

/** The users of a device, as `tokens.json` names them: who that is, and whose carts they see. */
const USERS = {
  guest: ["Guest"],
  customer: [`Ron (${RON})`, "Ron's"],
  account: [`Ron, for Acme (${ACME})`, "Acme's"],
  colleague: [`Harry, for Acme (${ACME})`, "Acme's"],
};

const $ = (selector, root = document) => root.querySelector(selector);

/** Shows a sentence, which screen readers read out. */
function say(text) {
  $("#status").textContent = text;
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

/** What the shop's own cart service knows: how many scarves are in each cart. The API keeps no contents. */
const scarves = new Map();

/** A request to the API, ready to be sent or printed. */
class ApiRequest {
  constructor(api, method, path, headers, body) {
    Object.assign(this, { url: api + path, method, path, headers, body });
  }

  send() {
    return fetch(this.url, { method: this.method, headers: this.headers, body: this.body });
  }

  asCurl() {
    const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
    const words = ["curl", "-i", "-X", this.method, quoted(this.url)];
    for (const [name, value] of Object.entries(this.headers)) words.push("-H", quoted(`${name}: ${value}`));
    if (this.body) words.push("-d", quoted(this.body));
    return words.join(" ");
  }

  /** The request with its tokens cut short. */
  asText() {
    const short = (value) => value.replace(/(eyJ.{6}).+(.{6})$/, "$1…$2");
    const headers = Object.entries(this.headers).map(([name, value]) => `${name}: ${short(value)}`);
    return [`${this.method} ${this.path}`, ...headers, ...(this.body ? ["", this.body] : [])].join("\n");
  }
}

class Device {
  constructor(name, demo) {
    this.name = name;
    this.demo = demo;
    this.root = $(`#${name}`);
    this.user = "guest";
    /** The cart that this device has made, if any. */
    this.cart = null;
    /** The carts of the user, newest first, as the API lists them. */
    this.carts = [];
    /** Whether the next request is shown open: the one that the page's sentence speaks of. */
    this.opens = false;
    for (const button of this.root.querySelectorAll("[data-action]")) {
      button.addEventListener("click", () => this.demo.act(this, button.dataset.action));
    }
  }

  button(action) {
    return $(`[data-action=${action}]`, this.root);
  }

  get isSignedIn() {
    return this.user !== "guest";
  }

  /** Sends a request and shows it with its answer. Returns status and document. */
  async call(method, path, headers, body) {
    const request = new ApiRequest(this.demo.api, method, path, headers, body);
    const response = await request.send();
    const text = await response.text();
    this.log(request, response, text);
    return { status: response.status, document: text ? JSON.parse(text) : null };
  }

  log(request, response, text) {
    const { status } = response;
    const entry = $("#request").content.cloneNode(true);
    $("details", entry).open = this.opens;
    if (this.opens) $("#answer").textContent = `${status} ${response.statusText} ${text}`;
    this.opens = false;
    $("code", entry).textContent = `${request.method} ${request.path}`;
    $("strong", entry).textContent = status;
    $("strong", entry).className = status < 400 ? "good" : "bad";
    const type = response.headers.get("content-type");
    const body = text ? JSON.stringify(JSON.parse(text), null, 2) : "(no body)";
    const answer = [`${status} ${response.statusText}`, ...(type ? [`content-type: ${type}`] : []), "", body];
    $("pre", entry).textContent = `${request.asText()}\n\n${answer.join("\n")}`;
    $("pre", entry).setAttribute("aria-label", `${request.method} ${request.path}, answer ${status}`);
    const copy = $("button", entry);
    copy.setAttribute("aria-label", `Copy as curl: ${request.method}, ${status}`);
    copy.addEventListener("click", () => {
      navigator.clipboard.writeText(request.asCurl()).then(
        () => say("Copied. Paste it in a terminal: its tokens are valid for eight hours."),
        () => window.prompt("Copy this line:", request.asCurl()),
      );
    });
    $(".requests", this.root).prepend(entry);
  }

  /** The headers with the tokens of the user. */
  headers() {
    return this.demo.tokens.callers[this.user];
  }

  /** Associates a cart with a customer or an account, or removes the association. */
  async change(method, cart, type, id) {
    const headers = { ...this.headers(), "Content-Type": "application/json" };
    const body = JSON.stringify({ data: [{ type, id }] });
    const answer = await this.call(method, `/v2/carts/${cart}/relationships/${type}s`, headers, body);
    this.hasChanged = answer.status === (method === "POST" ? 200 : 204);
    if (this.hasChanged) this.demo.owners.set(cart, method === "POST" ? USERS[this.user][1] : undefined);
    return answer;
  }

  /** Lists the user's carts. */
  async list() {
    const { status, document } = await this.call("GET", "/v2/carts", this.headers());
    this.carts = status === 200 ? document.data : [];
    return { status, document };
  }

  // The actions. Each resolves to a sentence that says what happened.

  async fill() {
    this.cart ??= `cart-${this.demo.tokens.cart}`;
    scarves.set(this.cart, (scarves.get(this.cart) ?? 0) + 1);
    return "The shop's cart service keeps what is in the cart. No request to this API yet.";
  }

  async signIn() {
    this.user = "customer";
    if (!this.cart) {
      await this.list();
      return this.carts.length
        ? "200: the laptop has never seen this cart, but it is Ron's."
        : "200: Ron has no carts yet. Fill one on the phone and sign in there.";
    }
    const { status, document } = await this.change("POST", this.cart, "customer", RON);
    await this.list();
    return outcome(status, document);
  }

  async again() {
    const { status, document } = await this.change("POST", this.cart, "customer", RON);
    if (this.hasChanged && this.isSignedIn) await this.list();
    return outcome(status, document);
  }

  async refused() {
    const { status, document } = await this.change("POST", this.cart, "customer", HERMIONE);
    return outcome(status, document);
  }

  async remove() {
    const { status, document } = await this.change("DELETE", this.carts[0].id, "customer", RON);
    await this.list();
    return status === 204 ? "204: the cart is no longer Ron's, on any device." : outcome(status, document);
  }

  async signOut() {
    this.user = "guest";
    this.carts = [];
    return `No request: the ${this.name} forgets the customer's token. The association stays.`;
  }

  async colleague() {
    const [phone] = this.demo.devices;
    phone.user = "account";
    phone.opens = true;
    await phone.change("POST", phone.cart, "account", ACME);
    await phone.list();
    this.user = "colleague";
    const { status, document } = await this.list();
    if (!this.carts.length) return outcome(status, document);
    return "200: Harry has never seen this cart, but it is Acme's, and he buys for Acme.";
  }

  /** Why an action cannot be done now, or undefined if it can. */
  missing(action) {
    if (action === "signIn" && this.user === "customer") return `Ron has signed in on the ${this.name} already.`;
    if (action === "signOut" && !this.isSignedIn) return `Nobody has signed in on the ${this.name}.`;
    if (["again", "refused"].includes(action) && !this.cart) return "First put a scarf in the cart.";
    if (action === "colleague" && !this.demo.devices[0].cart) return "First put a scarf in the cart on the phone.";
    if (action === "remove" && !(this.user === "customer" && this.carts.length)) return `The ${this.name} shows no cart of Ron's: sign in, or save one on the phone.`;
    return undefined;
  }

  show() {
    const [who, owner] = USERS[this.user];
    $(".who", this.root).textContent = who;
    const shownCarts = this.carts.map(({ id, meta }) => [id, `${owner} since ${new Date(meta.associated_at).toLocaleTimeString()}`]);
    if (this.cart && !this.carts.some(({ id }) => id === this.cart)) {
      const saved = this.demo.owners.get(this.cart);
      shownCarts.push([this.cart, saved ? `on this ${this.name}, and still ${saved}` : `on this ${this.name} only`]);
    }
    const items = shownCarts.map(([id, note]) => {
      const item = element("li", `Scarf × ${scarves.get(id) ?? "?"}`);
      item.append(element("small", `${id}, ${note}`));
      return item;
    });
    $(".carts", this.root).replaceChildren(...(items.length ? items : [element("li", "No cart")]));
    for (const button of this.root.querySelectorAll("[data-action]")) {
      button.setAttribute("aria-disabled", this.missing(button.dataset.action) !== undefined);
    }
  }
}

function outcome(status, document) {
  if (status === 200) return "200: the cart is now Ron's, on every device.";
  if (status === 204) return "204: it existed. Nothing changes, so every request can be sent again.";
  const code = document.errors?.[0].code ?? document.message;
  if (code === "other_customer") return "403: Ron may not act for Hermione. Nothing is stored.";
  return `${status} ${code}: ${document.errors?.[0].detail ?? "nothing is stored."}`;
}

class Demo {
  constructor(tokens) {
    this.tokens = tokens;
    this.api = tokens.api;
    this.step = 0;
    this.isBusy = false;
    /** Whose each cart is, as the devices' requests have left it. */
    this.owners = new Map();
    this.devices = ["phone", "laptop"].map((name) => new Device(name, this));
    $("#steps").replaceChildren(...STEPS.map(([, , text]) => element("li", text)));
    $("#next").addEventListener("click", () => this.next());
    this.show();
    $("#next").disabled = false;
  }

  /** Does the next step and shows its device, or starts from the beginning with another customer. */
  async next() {
    if (this.step === STEPS.length) {
      location.reload();
      return;
    }
    const [name, action] = STEPS[this.step];
    const device = this.devices.find((one) => one.name === name);
    // Done by hand before its turn.
    if (device.missing(action) && ["signIn", "signOut"].includes(action)) {
      this.step += 1;
      this.show();
      await this.next();
      return;
    }
    await this.act(device, action);
    // Below the controls, which stay at the top.
    document.documentElement.style.scrollPaddingTop = `${$("#controls").offsetHeight}px`;
    device.root.scrollIntoView();
  }

  async act(device, action) {
    const missing = device.missing(action);
    if (missing) say(missing);
    if (missing || this.isBusy) return;
    this.isBusy = true;
    try {
      device.hasChanged = false;
      for (const details of document.querySelectorAll("details")) details.open = false;
      $("#answer").textContent = "";
      device.opens = true;
      const happened = await device[action]();
      const [name, expected] = STEPS[this.step] ?? [];
      if (device.name === name && action === expected) this.step += 1;
      // As a shop's page does when somebody looks at it again.
      const others = this.devices.filter((other) => device.hasChanged && other !== device && other.isSignedIn);
      await Promise.all(others.map((other) => other.list()));
      device.opens = false;
      for (const one of this.devices) one.root.classList.toggle("is-active", one === device);
      this.show();
      say(`${device.name === "phone" ? "Phone" : "Laptop"}. ${happened}`);
    } catch (error) {
      say(`The API did not answer (${error}). Is make run still running?`);
    } finally {
      this.isBusy = false;
    }
  }

  show() {
    for (const device of this.devices) device.show();
    const items = $("#steps").children;
    for (const [index, [name, action, text]] of STEPS.entries()) {
      const item = items[index];
      const isNext = index === this.step;
      item.textContent = text;
      if (isNext) item.setAttribute("aria-current", "step");
      else item.removeAttribute("aria-current");
      if (index < this.step) {
        const done = element("span", " Done");
        done.className = "done";
        item.append(done);
      }
    }
    for (const button of document.querySelectorAll("[data-action]")) button.classList.remove("is-next");
    const [name, action] = STEPS[this.step] ?? [];
    if (name) this.devices.find((one) => one.name === name).button(action).classList.add("is-next");
    $("#next").textContent = name ? `Step ${this.step + 1} of ${STEPS.length}: ${STEPS[this.step][2]}` : "Start again";
  }
}

fetch(`tokens.json?customer=${RON}&account=${ACME}&colleague=${HARRY}`)
  .then((response) => response.json())
  .then((tokens) => new Demo(tokens))
  .catch((error) => say(`The page could not start: ${error}`));
