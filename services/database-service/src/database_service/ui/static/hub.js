// What a page cannot do without a script: the reader's time zone, the theme that was chosen, the map of servers, and to say
// that it is out of date.
"use strict";

const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;

const MOMENT = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "medium"});
const SVG = "http://www.w3.org/2000/svg";
const DETAILED = 300; // up to so many servers each slot has a cell of its own
const ACROSS = 240; // cells in a row, where each is a server
const MARGIN = 5; // of the map, where a cell is 10
const STATES = {h: "healthy", d: "degraded", u: "unhealthy", n: "not looked at yet", c: "cordoned", s: "starting", l: "leaving", e: "error"};

function inTheReadersZone(part) {
  for (const time of part.querySelectorAll("time[datetime]")) {
    time.textContent = MOMENT.format(new Date(time.dateTime));
  }
}

// "@7 h50/48x3": from the server with seq 7 on, three healthy ones with 48 of 50 slots in use.
function servers(text) {
  const found = [];
  let seq = 0;
  for (const word of text.split(" ").filter(Boolean)) {
    if (word[0] === "@") { seq = Number(word.slice(1)); continue; }
    const [, state, slots, used, times] = /^([a-z])(\d+)\/(\d+)(?:x(\d+))?$/.exec(word);
    for (let n = Number(times || 1); n > 0; n--) found.push({seq: seq++, state, slots: Number(slots), used: Number(used)});
  }
  return found;
}

function tag(name, attributes, parent) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent.append(made);
  return made;
}

function cell(link, column, row, state) {
  tag("rect", {x: column * 10 + 1, y: row * 10 + 1, width: 8, height: 8, rx: 1.5, class: `cell ${state}`}, link);
}

function link(server, svg) {
  const made = tag("a", {href: `/admin/pools/at/${server.seq}`, tabindex: -1}, svg); // the table has the same links for keys
  tag("title", {}, made).textContent = `${STATES[server.state]}, ${server.used} of ${server.slots} slots in use`;
  return made;
}

function draw(figure) {
  const svg = figure.querySelector("svg");
  const all = servers(figure.dataset.map);
  svg.replaceChildren();
  const [across, down] = all.length <= DETAILED ? slots(all, svg) : whole(all, svg);
  svg.setAttribute("viewBox", `${-MARGIN} ${-MARGIN} ${across * 10 + 2 * MARGIN} ${Math.max(down, 1) * 10 + 2 * MARGIN}`);
}

function slots(all, svg) {
  const across = Math.floor(svg.clientWidth / (all.length <= 40 ? 15 : 10));
  const wide = Math.max(1, ...all.map((server) => Math.min(server.slots, 10)));
  const high = Math.max(1, ...all.map((server) => Math.ceil(server.slots / 10)));
  const inRow = Math.max(1, Math.floor(across / (wide + 1)));
  all.forEach((server, index) => {
    const made = link(server, svg);
    const left = (index % inRow) * (wide + 1);
    const top = Math.floor(index / inRow) * (high + 1);
    for (let slot = 0; slot < server.slots; slot++) {
      cell(made, left + (slot % 10), top + Math.floor(slot / 10), slot < server.used || server.state !== "h" ? server.state : "free");
    }
  });
  return [across, Math.ceil(all.length / inRow) * (high + 1) - 1];
}

function whole(all, svg) {
  const across = Math.min(ACROSS, Math.max(40, Math.floor(svg.clientWidth / 5)));
  all.forEach((server, index) => {
    const empty = server.state === "h" && server.used < server.slots;
    cell(link(server, svg), index % across, Math.floor(index / across), empty ? "free" : server.state);
  });
  return [across, Math.ceil(all.length / across)];
}

// A part is replaced as a whole, in a large fleet each second: who was on something in it stays there.
const kept = new WeakMap();

function alike(part, it) {
  const key = (each) => `${each.getAttribute("href")} ${each.textContent}`;
  return [...part.querySelectorAll(it.tagName)].filter((each) => key(each) === key(it));
}

function keep(part) {
  const on = document.activeElement;
  const focused = on !== part && part.contains(on) ? {on, nth: alike(part, on).indexOf(on)} : null;
  kept.set(part, {focused, left: [...part.querySelectorAll(".wide")].map((wide) => wide.scrollLeft)});
}

function restore(part) {
  const {focused, left} = kept.get(part) ?? {left: []};
  part.querySelectorAll(".wide").forEach((wide, index) => { wide.scrollLeft = left[index] ?? 0; });
  if (focused) alike(part, focused.on)[focused.nth]?.focus({preventScroll: true});
}

// What is scrolled sideways can be scrolled with keys.
function reachable(part) {
  for (const wide of part.querySelectorAll(".wide")) {
    if (wide.scrollWidth > wide.clientWidth) wide.setAttribute("tabindex", "0");
    else wide.removeAttribute("tabindex");
  }
}

function outOfDate(so) {
  document.getElementById("stale").hidden = !so;
}

// A browser has six connections to an address for all of its tabs, and a stream keeps one: a page that nobody sees has none.
const QUIET_MS = 30_000; // longer than a stream ever lets go by without a word (`live.py`)
const AGAIN_MS = 5_000;
let told = ""; // what the stream said last of how the fleet is

function ask() {
  document.body.dispatchEvent(new Event("fleet")); // the parts' trigger
}

function follow(address) {
  let stream = null;
  let quiet = 0;

  function later(what, ms) {
    clearTimeout(quiet);
    quiet = setTimeout(what, ms);
  }

  function close() {
    clearTimeout(quiet);
    stream?.close();
  }

  function open() {
    close();
    if (document.hidden) return;
    let dismissed = false;
    const heard = () => later(lost, QUIET_MS);
    const opened = stream = new EventSource(address);
    heard();
    opened.addEventListener("fleet", (event) => { heard(); told = event.data; ask(); });
    opened.addEventListener("here", () => { heard(); if (!document.getElementById("stale").hidden) ask(); });
    opened.addEventListener("later", () => { heard(); dismissed = true; ask(); });
    opened.addEventListener("error", () => {
      if (!dismissed) outOfDate(true);
      dismissed = false;
      if (opened.readyState === EventSource.CLOSED) later(again, AGAIN_MS);
    });
  }

  function lost() {
    outOfDate(true);
    again();
  }

  function again() {
    open();
    ask();
  }

  document.addEventListener("visibilitychange", () => document.hidden ? close() : again());
  open();
}

// Who clicks twice means it once. A page that is come back to is as it was left: there it can be sent again.
const sent = new Set();

function sendOnce(event) {
  const form = event.target;
  if (sent.has(form)) { event.preventDefault(); return; }
  sent.add(form);
  setTimeout(() => { for (const button of buttonsOf(form)) button.disabled = true; }); // after what is sent was gathered
}

function buttonsOf(form) {
  return [...form.elements].filter((each) => each.type === "submit");
}

function sendableAgain() {
  for (const form of sent) for (const button of buttonsOf(form)) button.disabled = false;
  sent.clear();
}

// Forms are replaced where others are to be offered, but not under somebody's hands: they come with the next change.
function inUse(part) {
  const touched = (field) => field.value !== field.defaultValue || field.checked !== field.defaultChecked;
  const chosen = (option) => option.selected !== option.defaultSelected;
  return part.contains(document.activeElement) || part.hasAttribute("data-refused")
    || [...part.querySelectorAll("form input")].some(touched) || [...part.querySelectorAll("form option")].some(chosen);
}

function fit(part) {
  for (const figure of part.querySelectorAll("figure.map")) draw(figure);
  reachable(part);
}

function show(part) {
  inTheReadersZone(part);
  fit(part);
  for (const button of part.querySelectorAll("[data-copies]")) button.hidden = !navigator.clipboard; // over plain HTTP there is none
}

document.addEventListener("DOMContentLoaded", () => {
  show(document);
  const button = document.getElementById("theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  });
  document.body.addEventListener("click", (event) => {
    const what = event.target.dataset?.copies;
    if (what) navigator.clipboard.writeText(document.getElementById(what).textContent).then(() => {
      event.target.textContent = "Copied";
      event.target.removeAttribute("aria-label");
    });
  });
  document.body.addEventListener("htmx:oobBeforeSwap", (event) => {
    if (inUse(event.detail.target)) event.detail.shouldSwap = false;
  });
  document.body.addEventListener("htmx:beforeSwap", (event) => keep(event.detail.target));
  document.body.addEventListener("htmx:afterSwap", (event) => {
    show(event.detail.target);
    restore(event.detail.target);
    outOfDate(false);
  });
  for (const what of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
    document.body.addEventListener(what, () => outOfDate(true));
  }
  document.body.addEventListener("htmx:configRequest", (event) => { event.detail.headers["X-Fleet-Told"] = told; });
  const live = document.querySelector("[data-live]");
  if (live) follow(live.dataset.live);
  document.body.addEventListener("submit", sendOnce);
  addEventListener("pageshow", sendableAgain);
  addEventListener("resize", () => fit(document));
});
