"use strict";

// New ones for each load, so that Ron begins without carts, whatever is stored.
const LOAD = Date.now().toString(36);
const RON = `ron-${LOAD}`;
const HERMIONE = `hermione-${LOAD}`;

const STEPS = [
  ["phone", "fill", "A guest puts a scarf in the cart on the phone."],
  ["phone", "signIn", "The guest signs in on the phone: it is Ron."],
  ["laptop", "signIn", "Ron signs in on the laptop."],
  ["phone", "again", "The phone sends the same request again."],
  ["phone", "refused", "The phone tries to save the cart for Hermione."],
  ["phone", "signOut", "Ron signs out on the phone."],
  ["laptop", "remove", "Ron removes the cart on the laptop."],
];

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
  constructor(name, world) {
    this.name = name;
    this.world = world;
    this.root = $(`#${name}`);
    this.isSignedIn = false;
    /** The cart that this device has made, if any. */
    this.cart = null;
    /** The carts of the customer, newest first, as the API lists them. */
    this.carts = [];
    for (const button of this.root.querySelectorAll("[data-action]")) {
      button.addEventListener("click", () => this.world.act(this, button.dataset.action));
    }
  }

  button(action) {
    return $(`[data-action=${action}]`, this.root);
  }

  /** Sends a request and shows it with its answer. Returns status and document. */
  async call(method, path, headers, body) {
    const request = new ApiRequest(this.world.api, method, path, headers, body);
    const response = await request.send();
    const text = await response.text();
    this.log(request, response, text);
    return { status: response.status, document: text ? JSON.parse(text) : null };
  }

  log(request, response, text) {
    for (const details of this.root.querySelectorAll("details")) details.open = false;
    const { status } = response;
    const entry = $("#request").content.cloneNode(true);
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

  /** The headers of a request for the customer who has signed in, if one has. */
  async headers(more) {
    if (!this.accessToken) {
      const form = { "Content-Type": "application/x-www-form-urlencoded" };
      const asked = `grant_type=implicit&client_id=${this.name}`;
      const { document } = await this.call("POST", "/oauth/access_token", form, asked);
      this.accessToken = document.access_token;
    }
    return {
      Authorization: `Bearer ${this.accessToken}`,
      ...(this.isSignedIn && { "x-moltin-customer-token": this.world.tokens.customerToken }),
      ...more,
    };
  }

  /** Associates a cart with a customer, or removes the association. */
  async change(method, cart, customer) {
    const { cartToken } = this.world.tokens;
    const headers = await this.headers({
      "Content-Type": "application/json",
      // Only if the function demands cart tokens.
      ...(cartToken && { "x-cart-token": cartToken }),
    });
    const body = JSON.stringify({ data: [{ type: "customer", id: customer }] });
    const answer = await this.call(method, `/v2/carts/${cart}/relationships/customers`, headers, body);
    this.hasChanged = answer.status === (method === "POST" ? 200 : 204);
    return answer;
  }

  /** Lists the customer's carts. */
  async list() {
    const { status, document } = await this.call("GET", "/v2/carts", await this.headers());
    this.carts = status === 200 ? document.data : [];
  }

  // The actions. Each resolves to a sentence that says what happened.

  async fill() {
    this.cart ??= `cart-${this.world.tokens.cart}`;
    scarves.set(this.cart, (scarves.get(this.cart) ?? 0) + 1);
    return "The shop's cart service keeps what is in the cart. No request to this API yet.";
  }

  async signIn() {
    this.isSignedIn = true;
    if (!this.cart) {
      await this.list();
      return this.carts.length
        ? "200: the laptop has never seen this cart, but it is Ron's."
        : "200: Ron has no carts yet. Fill one on the phone and sign in there.";
    }
    const { status, document } = await this.change("POST", this.cart, RON);
    await this.list();
    return outcome(status, document);
  }

  async again() {
    const { status, document } = await this.change("POST", this.cart, RON);
    if (this.hasChanged && this.isSignedIn) await this.list();
    return outcome(status, document);
  }

  async refused() {
    const { status, document } = await this.change("POST", this.cart, HERMIONE);
    return outcome(status, document);
  }

  async remove() {
    const { status, document } = await this.change("DELETE", this.carts[0].id, RON);
    await this.list();
    return status === 204 ? "204: the cart is no longer Ron's, on any device." : outcome(status, document);
  }

  async signOut() {
    this.isSignedIn = false;
    this.carts = [];
    return `No request: the ${this.name} forgets Ron's token. The association stays.`;
  }

  /** Why an action cannot be done now, or undefined if it can. */
  missing(action) {
    if (action === "signIn" && this.isSignedIn) return `Ron has signed in on the ${this.name} already.`;
    if (action === "signOut" && !this.isSignedIn) return `Nobody has signed in on the ${this.name}.`;
    if (["again", "refused"].includes(action) && !this.cart) return "First put a scarf in the cart.";
    if (action === "remove" && !this.carts.length) return `The ${this.name} shows no cart of Ron's: sign in, or save one on the phone.`;
    return undefined;
  }

  show() {
    $(".who", this.root).textContent = this.isSignedIn ? `Ron (${RON})` : "Guest";
    const shownCarts = this.carts.map(({ id, meta }) => [id, `Ron's since ${new Date(meta.associated_at).toLocaleTimeString()}`]);
    if (this.cart && !this.carts.some(({ id }) => id === this.cart)) shownCarts.push([this.cart, `on this ${this.name} only`]);
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

class World {
  constructor(tokens) {
    this.tokens = tokens;
    this.api = tokens.api;
    this.step = 0;
    this.isBusy = false;
    this.devices = ["phone", "laptop"].map((name) => new Device(name, this));
    $("#steps").replaceChildren(...STEPS.map(([, , text]) => element("li", text)));
    $("#next").addEventListener("click", () => this.next());
    this.show();
    $("#next").disabled = false;
  }

  /** Does the next step, or starts from the beginning with another customer. */
  next() {
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
      this.next();
      return;
    }
    this.act(device, action);
  }

  async act(device, action) {
    const missing = device.missing(action);
    if (missing) say(missing);
    if (missing || this.isBusy) return;
    this.isBusy = true;
    try {
      device.hasChanged = false;
      const happened = await device[action]();
      const [name, expected] = STEPS[this.step] ?? [];
      if (device.name === name && action === expected) this.step += 1;
      // As a shop's page does when somebody looks at it again.
      const others = this.devices.filter((other) => device.hasChanged && other !== device && other.isSignedIn);
      await Promise.all(others.map((other) => other.list()));
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
    $("#next").textContent = name ? `Next step (${this.step + 1} of ${STEPS.length})` : "Start again";
  }
}

fetch(`tokens.json?customer=${RON}`)
  .then((response) => response.json())
  .then((tokens) => new World(tokens))
  .catch((error) => say(`The page could not start: ${error}`));
