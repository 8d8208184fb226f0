// Figures with controls. At the first touch a worker loads Python, and then draws by the same function as the book did.
{
  const SETTLED_MS = 600; // after so long without a change the setting is announced, and written into the address
  let worker, ready, running = false, asked = 0;
  const waiting = new Map();

  // Start the worker; resolves when it can draw. A worker that failed is started anew at the next call.
  function load(address) {
    ready ??= new Promise((resolve, reject) => {
      worker = new Worker(new URL(address, document.baseURI), { type: "module" });
      worker.onerror = event => reject(new Error(event.message));
      worker.onmessage = ({ data }) => "loaded" in data ? data.loaded ? resolve() : reject(new Error(data.error)) : answered(data);
    }).then(() => { running = true; }, error => {
      worker?.terminate();
      ready = worker = undefined;
      throw Object.assign(error, { loading: true });
    });
    return ready;
  }

  function answered({ id, error, ...result }) {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    error ? reject(new Error(error)) : resolve(result);
  }

  async function ask(address, question) {
    await load(address);
    return new Promise((resolve, reject) => {
      waiting.set(++asked, { resolve, reject });
      worker.postMessage({ id: asked, ...question });
    });
  }

  const read = control => control.dataset.values ? JSON.parse(control.dataset.values)[control.value] : control.value;
  const offered = control => control.dataset.values ? JSON.parse(control.dataset.values) : [...control.options].map(option => option.value);
  const shown = control => control.dataset.texts ? JSON.parse(control.dataset.texts)[control.value] : control.selectedOptions[0].text;

  class Explorable {
    constructor(element) {
      this.element = element;
      this.words = JSON.parse(element.dataset.words);
      this.controls = [...element.querySelectorAll(".explorable-control :is(input, select)")];
      this.initial = this.drawn = this.settings;
      const on = (events, does, part = element) => events.split(" ").forEach(event => part.addEventListener(event, does));
      const form = this.part("prediction");
      for (const part of [this.part("controls"), form]) if (part) on("pointerdown focusin", () => this.touched(), part);
      for (const control of this.controls) on("input", () => this.changed(), control);
      if (form) on("submit", event => { event.preventDefault(); this.predicted(form); }, form);
      on("click", () => this.set(this.initial), element.querySelector("[data-does=reset]"));
      on("click", () => this.link(), element.querySelector("[data-does=link]"));
      this.restore();
    }

    part(name) { return this.element.querySelector(`.explorable-${name}`); }

    say(status, { error } = {}) {
      const line = this.part("status");
      line.textContent = status;
      line.classList.toggle("explorable-error", Boolean(error));
    }

    get settings() { return Object.fromEntries(this.controls.map(control => [control.name, read(control)])); }

    // Move the controls to settings; those not named stay.
    move(settings) {
      for (const control of this.controls) {
        const place = offered(control).indexOf(settings[control.name]);
        if (place >= 0) control.value = control.dataset.values ? place : settings[control.name];
      }
      this.label();
    }

    label() {
      for (const control of this.controls.filter(control => control.dataset.texts)) {
        control.setAttribute("aria-valuetext", shown(control));
        control.parentElement.querySelector(".explorable-value").textContent = shown(control);
      }
    }

    set(settings) {
      this.move(settings);
      return this.changed();
    }

    changed() {
      this.refused = undefined;
      this.label();
      this.part("settled").textContent = "";
      clearTimeout(this.timer);
      return this.draw();
    }

    // Load at the first touch, before there is anything to draw.
    async touched() {
      if (running) return;
      this.say(this.words.loading);
      try {
        await load(this.element.dataset.worker);
        this.say("");
      } catch (error) {
        this.failed(error);
      }
    }

    ask(question) {
      const { explorable: name, at, worker: address } = this.element.dataset;
      return ask(address, { name, at, language: document.documentElement.lang.slice(0, 2), ...question });
    }

    // One figure is drawn at a time; what was chosen meanwhile comes next, and anything in between is never drawn.
    async draw() {
      this.wanted = this.settings;
      if (this.drawing) return;
      this.drawing = true;
      this.touched();
      while (this.wanted) {
        const settings = this.wanted;
        this.wanted = undefined;
        try {
          this.show(settings, await this.ask({ settings }));
        } catch (error) {
          this.failed(error);
        }
      }
      this.drawing = false;
      this.timer = setTimeout(() => this.settle(), SETTLED_MS);
    }

    show(settings, { spec, svg }) {
      this.drawn = settings;
      this.part("figure").innerHTML = svg;
      this.part("figure").firstElementChild.classList.add("drawn");
      this.part("readout").textContent = spec.description;
      this.say(this.refused ?? "", { error: this.refused });
      this.element.spec = spec;
      this.element.dispatchEvent(new CustomEvent("explorable-drawn", { bubbles: true }));
    }

    failed(error) {
      if (error.loading) {
        this.wanted = undefined;
        this.move(this.drawn);
        this.say(this.words.failed, { error: true });
      } else {
        this.say(this.words.error.replace("{error}", error.message), { error: true });
      }
    }

    settle() {
      this.part("settled").textContent = this.part("readout").textContent;
      history.replaceState(history.state, "", this.address(location.hash));
    }

    // The page at these settings; only what differs from the settings shown first is named.
    address(hash) {
      const url = new URL(location.href), key = this.element.id.replace("explorable-", "");
      for (const [name, value] of Object.entries(this.settings)) {
        if (value === this.initial[name]) url.searchParams.delete(`${key}.${name}`);
        else url.searchParams.set(`${key}.${name}`, value);
      }
      url.hash = hash;
      return url;
    }

    restore() {
      const asked = new URLSearchParams(location.search), key = this.element.id.replace("explorable-", "");
      const named = this.controls.filter(control => asked.has(`${key}.${control.name}`));
      const settings = Object.fromEntries(named.map(control => [control.name, asked.get(`${key}.${control.name}`)]));
      this.move(settings);
      const refused = named.find(control => read(control) !== settings[control.name]);
      if (refused) {
        const setting = `${refused.name}=${settings[refused.name]}`;
        this.refused = this.words.refused.replace("{setting}", setting).replace("{shown}", shown(refused));
        this.say(this.refused, { error: true });
      }
      if (this.controls.some(control => read(control) !== this.initial[control.name])) this.draw();
    }

    async link() {
      const address = this.address(this.element.closest("figure[id]")?.id ?? this.element.id);
      try {
        await navigator.clipboard.writeText(address);
        this.say(this.words.linked);
      } catch {
        history.replaceState(history.state, "", address);
        this.say(this.words.linked_bar);
      }
    }

    async predicted(form) {
      const guess = form.querySelector("input").valueAsNumber;
      this.set({ ...this.initial, ...JSON.parse(form.dataset.settings) });
      try {
        this.part("reply").textContent = (await this.ask({ guess })).reply;
      } catch (error) {
        this.failed(error);
      }
    }
  }

  document.querySelectorAll(".explorable[data-worker]").forEach(element => new Explorable(element));
}
