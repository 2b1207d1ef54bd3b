// What a page cannot do without a script: the reader's time zone, the theme that was chosen, the map of servers.
"use strict";

const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;

const MOMENT = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "medium"});
const SVG = "http://www.w3.org/2000/svg";
const DETAILED = 300; // up to so many servers each slot has a cell of its own
const ACROSS = 240; // cells in a row
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
  let rows;
  if (all.length <= DETAILED) {
    const wide = Math.max(1, ...all.map((server) => Math.min(server.slots, 10)));
    const high = Math.max(1, ...all.map((server) => Math.ceil(server.slots / 10)));
    const inRow = Math.max(1, Math.floor(ACROSS / 2 / (wide + 1)));
    rows = Math.ceil(all.length / inRow) * (high + 1);
    all.forEach((server, index) => {
      const made = link(server, svg);
      const left = (index % inRow) * (wide + 1);
      const top = Math.floor(index / inRow) * (high + 1);
      for (let slot = 0; slot < server.slots; slot++) {
        cell(made, left + (slot % 10), top + Math.floor(slot / 10), slot < server.used || server.state !== "h" ? server.state : "free");
      }
    });
    svg.setAttribute("viewBox", `0 0 ${inRow * (wide + 1) * 10} ${Math.max(rows, 1) * 10}`);
  } else {
    rows = Math.ceil(all.length / ACROSS);
    all.forEach((server, index) => {
      const empty = server.state === "h" && server.used < server.slots;
      cell(link(server, svg), index % ACROSS, Math.floor(index / ACROSS), empty ? "free" : server.state);
    });
    svg.setAttribute("viewBox", `0 0 ${ACROSS * 10} ${rows * 10}`);
  }
}

function show(part) {
  inTheReadersZone(part);
  for (const figure of part.querySelectorAll("figure.map")) draw(figure);
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
    if (what) navigator.clipboard.writeText(document.getElementById(what).textContent).then(() => { event.target.textContent = "Copied"; });
  });
  document.body.addEventListener("htmx:afterSwap", (event) => show(event.detail.target));
});
