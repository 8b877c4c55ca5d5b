// What the pages gain from a script: they follow the queue, charts can be read, keys work. Without it they are whole.
"use strict";

const root = document.body.dataset.root;
const page = () => document.querySelector("main");
const typing = () => /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
const seconds = (value) => {
  if (value >= 86400) return `${(value / 86400).toFixed(1)} d`;
  if (value >= 3600) return `${(value / 3600).toFixed(1)} h`;
  if (value >= 60) return `${(value / 60).toFixed(1)} m`;
  if (value >= 1) return `${value.toFixed(value < 10 ? 1 : 0)} s`;
  return value === 0 ? "0" : `${(value * 1000).toFixed(value < 0.01 ? 1 : 0)} ms`;
};
const number = (value) => (value >= 10000 ? `${(value / 1000).toFixed(0)}k` : String(+value.toFixed(2)));

// -- theme

document.querySelector("[data-theme-switch]")?.addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("prismq-theme", document.documentElement.dataset.theme);
  } catch { /* it holds until the next page */ }
  drawCharts(true);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawCharts(true));

// -- charts: what the server drew is replaced by a drawing that can be pointed at

const drawn = new WeakMap();

function colour(tone) {
  const probe = document.createElement("span");
  probe.className = "visually-hidden colour-probe";
  probe.style.color = `var(${tone})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}

function drawCharts(anew = false) {
  if (!window.uPlot) return;
  for (const figure of document.querySelectorAll("[data-chart]")) {
    const plot = figure.querySelector(".plot");
    const source = figure.dataset.chart;
    const before = drawn.get(plot);
    if (before && !anew && before.source === source) continue;
    const chart = JSON.parse(source);
    const data = [chart.x, ...chart.series.map((one) => one.values)];
    if (before && !anew && before.shape === chart.series.length) {
      before.marks = chart.marks;
      before.plot.setData(data);
      before.source = source;
      continue;
    }
    before?.plot.destroy();
    plot.replaceChildren();
    const state = { source, shape: chart.series.length, marks: chart.marks };
    state.plot = new uPlot(options(chart, plot, state), data, plot);
    drawn.set(plot, state);
    figure.dataset.drawn = "";
  }
}

function options(chart, plot, state) {
  const text = colour("--ink-3");
  const grid = { stroke: colour("--line"), width: 1 };
  const write = chart.unit === "s" ? seconds : number;
  const axis = { stroke: text, grid, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width: plot.clientWidth,
    height: plot.clientHeight,
    legend: { show: false },
    padding: [8, 8, 0, 0],
    cursor: { points: { size: 6 }, drag: { x: false, y: false } },
    tzDate: (at) => uPlot.tzDate(new Date(at * 1000), "Etc/UTC"),
    scales: { x: { range: (_, low, high) => [chart.seconds ? high - chart.seconds : low, high] }, y: { range: (_, __, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [{ ...axis, space: 90, size: 26, values: (u, at) => at.map((one) => moment(one, u)) }, { ...axis, size: 52, values: (_, ticks) => ticks.map(write) }],
    series: [
      {},
      ...chart.series.map((one) => ({
        label: one.label,
        stroke: colour(`--c-${one.tone}`),
        width: 1.6,
        fill: one.filled ? colour(`--c-${one.tone}`).replace("rgb(", "rgba(").replace(")", ", 0.14)") : undefined,
        points: { show: (u) => u.data[0].length < 3 },
        spanGaps: false,
      })),
    ],
    hooks: {
      setCursor: [(u) => readOut(plot.closest("[data-chart]"), u, chart, write)],
      draw: [(u) => drawMarks(u, state.marks)],
    },
  };
}

// UTC, as everywhere on the pages.
function moment(at, u) {
  const text = new Date(at * 1000).toISOString();
  const shown = u.scales.x.max - u.scales.x.min;
  if (shown < 600) return text.slice(11, 19);
  return shown <= 172800 ? text.slice(11, 16) : text.slice(5, 10);
}

function drawMarks(u, marks) {
  u.ctx.save();
  u.ctx.strokeStyle = colour("--c-accent");
  u.ctx.setLineDash([4, 4]);
  for (const at of marks) {
    const x = u.valToPos(at, "x", true);
    if (x < u.bbox.left || x > u.bbox.left + u.bbox.width) continue;
    u.ctx.beginPath();
    u.ctx.moveTo(x, u.bbox.top);
    u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
    u.ctx.stroke();
  }
  u.ctx.restore();
}

function readOut(figure, u, chart, write) {
  const line = figure.querySelector(".peak");
  if (!line) return;
  line.dataset.was ??= line.textContent;
  const at = u.cursor.idx;
  if (at == null || u.cursor.left < 0) {
    line.textContent = line.dataset.was;
    return;
  }
  const when = `${new Date(u.data[0][at] * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`;
  const values = chart.series.map((one, i) => {
    const value = u.data[i + 1][at];
    return `${one.label} ${value == null ? "–" : write(value)}`;
  });
  line.textContent = `${when}: ${values.join(", ")}`;
}

addEventListener("resize", () => {
  for (const plot of document.querySelectorAll("[data-chart] .plot")) {
    drawn.get(plot)?.plot.setSize({ width: plot.clientWidth, height: plot.clientHeight });
  }
});

// -- the second by second chart of the overview, from the ticks of the feed

const ticks = { x: [], done: [], failed: [] };
const LIVE_POINTS = 180;
let counted = null;

function takeTick(tick) {
  const figure = document.querySelector("[data-live-chart]");
  const now = { at: Date.parse(tick.at) / 1000, done: 0, failed: 0 };
  for (const counts of Object.values(tick.depth)) {
    now.done += counts.completed ?? 0;
    now.failed += (counts.failed ?? 0) + (counts.dead_letter ?? 0);
  }
  const before = counted;
  counted = now;
  if (!figure || before === null || now.at <= before.at) return;
  // What retention deletes makes counts smaller, and is no event here.
  const rate = (name) => Math.max(0, now[name] - before[name]) / (now.at - before.at);
  ticks.x.push(now.at);
  ticks.done.push(rate("done"));
  ticks.failed.push(rate("failed"));
  for (const values of Object.values(ticks)) if (values.length > LIVE_POINTS) values.shift();
  figure.dataset.chart = JSON.stringify({
    unit: "n", x: ticks.x, marks: [], seconds: LIVE_POINTS,
    series: [
      { label: "completed/s", tone: "good", values: ticks.done, filled: true },
      { label: "failed/s", tone: "bad", values: ticks.failed },
    ],
  });
  drawCharts();
}

// -- following the queue

const feed = document.querySelector(".feed");
const banner = document.querySelector(".feed-banner");
const REFRESH_MS = 2000;
const IDLE_REFRESH_MS = 15000;
const STALE_S = 12;
let heard = Date.now();
let socket = null;
let retryMs = 1000;
let wanted = false;
let refreshedAt = Date.now();
let connected = false;
let resume = "";
let away = "";
let seen = "";
let following = sessionStorage.getItem("prismq-paused") === null;

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}${root}/api/v1/live${resume}`);
  socket.addEventListener("open", () => { connected = true; retryMs = 1000; });
  socket.addEventListener("message", (message) => take(JSON.parse(message.data)));
  socket.addEventListener("close", () => {
    connected = false;
    // Whoever is not signed in any more is led to the sign-in page by this.
    wanted = true;
    setTimeout(connect, retryMs);
    retryMs = Math.min(retryMs * 2, 15000);
  });
}

function busy() {
  const chosen = getSelection();
  return document.hidden || !following || document.querySelector("dialog[open]") !== null
    || page().querySelector(".htmx-request") !== null || page().matches("[data-still]")
    || (chosen !== null && !chosen.isCollapsed && page().contains(chosen.anchorNode))
    || (page().contains(document.activeElement) && typing() && document.activeElement.type !== "checkbox");
}

function refresh() {
  const age = Date.now() - refreshedAt;
  // Ages grow although nothing happens.
  if (!(wanted || (connected && age > IDLE_REFRESH_MS)) || busy() || age < REFRESH_MS) return;
  wanted = false;
  refreshedAt = Date.now();
  htmx.trigger(page(), "refresh-page");
}

function show() {
  if (!feed) return;
  const age = Math.round((Date.now() - heard) / 1000);
  const state = !following ? "paused" : age >= STALE_S ? (connected ? "stale" : "off") : connected ? "live" : "waiting";
  const words = {
    live: "Live", waiting: "Connecting…", paused: "Paused",
    stale: `No data for ${age} s`, off: `Disconnected, no data for ${age} s`,
  }[state];
  if (feed.dataset.state !== state) feed.dataset.state = state;
  if (feed.textContent !== words) feed.textContent = words;
  const bad = state === "stale" || state === "off";
  banner.hidden = !bad;
  if (bad) {
    banner.textContent = state === "off"
      ? `The server cannot be reached: what you see is ${age} s old. Trying again…`
      : away ? `The database does not answer: what you see is ${age} s old. ${away}`
        : `The server is there but sends nothing: what you see is ${age} s old.`;
  }
}

feed?.addEventListener("click", () => {
  following = !following;
  if (following) sessionStorage.removeItem("prismq-paused");
  else sessionStorage.setItem("prismq-paused", "yes");
  wanted = following;
  show();
});

if (feed) {
  connect();
  setInterval(() => { tellAges(); show(); refresh(); }, 1000);
}

function tellAges() {
  const now = Date.now() / 1000;
  for (const one of document.querySelectorAll("time[data-ago]")) {
    const age = Math.max(0, now - Number(one.dataset.ago));
    const words = age < 60 ? `${Math.floor(age)} s` : age < 3600 ? `${Math.floor(age / 60)} m` : null;
    if (words) one.textContent = `${words} ago`;
  }
}

document.addEventListener("htmx:after:swap", () => {
  drawCharts();
  markSelection();
  if (atRow) document.getElementById(atRow)?.classList.add("at");
});

// -- choosing rows

function boxes() { return [...document.querySelectorAll("input[name=id]")]; }

function markSelection() {
  const bar = document.querySelector("[data-chosen]");
  if (!bar) return;
  const n = boxes().filter((box) => box.checked).length;
  bar.textContent = n ? `${n} selected` : "None selected";
  for (const button of document.querySelectorAll("[data-needs-choice]")) button.disabled = n === 0;
  const all = document.querySelector("[data-all]");
  if (all) {
    all.checked = n > 0 && n === boxes().length;
    all.indeterminate = n > 0 && n < boxes().length;
  }
}

document.addEventListener("change", (event) => {
  const box = event.target;
  if (box.matches?.("[data-all]")) for (const one of boxes()) one.checked = box.checked;
  if (box.matches?.("[data-all], input[name=id]")) markSelection();
  if (box.matches?.("[data-submits]")) box.form.requestSubmit();
});

// -- dialogs: a link or a form that asks first opens here; the page it would lead to does the same without a script

const dialog = document.querySelector("#ask");
const inside = dialog?.querySelector(".inside");

async function ask(url) {
  inside.textContent = "Counting…";
  dialog.showModal();
  try {
    const answer = await fetch(url, { headers: { Accept: "text/html" } });
    const found = new DOMParser().parseFromString(await answer.text(), "text/html");
    const part = found.querySelector("[data-dialog]") ?? found.querySelector("main");
    inside.replaceChildren(...part.childNodes);
    (inside.querySelector("[autofocus]") ?? inside.querySelector("button, input"))?.focus();
  } catch {
    inside.textContent = "The server did not answer. Nothing was changed.";
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-ask]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    ask(link.href);
  }
  if (event.target.closest("[data-close]")) {
    event.preventDefault();
    event.target.closest("dialog").close();
  }
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    const text = copy.parentElement.querySelector("pre").textContent;
    navigator.clipboard?.writeText(text).then(() => { copy.textContent = "Copied"; }, () => { copy.textContent = "Could not copy"; });
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("form[data-ask]") || !dialog) return;
  event.preventDefault();
  const fields = new URLSearchParams(new FormData(form, event.submitter));
  // Not form.action: that is the field of this name.
  ask(`${form.getAttribute("action")}?${fields}`);
});

// -- keys

const places = {
  o: "", q: "queues", t: "tasks", w: "workers", s: "schedules", f: "failures", y: "system", a: "audit", e: "tasks/new", c: "settings",
};
let going = false;
let atRow = "";

function step(by) {
  const rows = [...document.querySelectorAll("table[data-keys] tbody tr, [data-keys] .worker")];
  if (!rows.length) return;
  const at = rows.findIndex((row) => row.classList.contains("at"));
  rows[at]?.classList.remove("at");
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))] ?? rows[0];
  next.classList.add("at");
  atRow = next.id;
  next.querySelector("a")?.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (typing() && document.activeElement.type !== "checkbox") {
    if (event.key === "Escape") document.activeElement.blur();
    return;
  }
  const key = event.key;
  if (going) {
    going = false;
    if (key in places) { event.preventDefault(); location.href = `${root}/${places[key]}`; }
    return;
  }
  if (key === "g") { going = true; setTimeout(() => { going = false; }, 1500); }
  else if (key === "/") { event.preventDefault(); document.querySelector("#search")?.focus(); }
  else if (key === "?") { event.preventDefault(); document.querySelector("#keys")?.showModal(); }
  else if (key === "j") step(1);
  else if (key === "k") step(-1);
  else if (key === "x") {
    const box = document.querySelector("tr.at input[name=id]");
    if (box) { box.checked = !box.checked; markSelection(); }
  }
});
document.querySelector("[data-show-keys]")?.addEventListener("click", () => document.querySelector("#keys")?.showModal());

// -- begin

if (new URLSearchParams(location.search).has("done")) {
  const url = new URL(location.href);
  for (const name of ["done", "n", "m", "undo"]) url.searchParams.delete(name);
  history.replaceState(null, "", url);
}
document.querySelector(".nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
drawCharts();
markSelection();

// What the feed sends: see prismq/server/live.py.
function take(message) {
  resume = `?since=${encodeURIComponent(message.cursor)}`;
  if (message.type === "away") {
    away = message.detail;
    return;
  }
  away = "";
  heard = Date.now();
  if (message.type === "tick") {
    takeTick(message);
    const now = JSON.stringify([message.depth, message.workers]);
    if (now !== seen) wanted = true;
    seen = now;
  } else if (message.type !== "hello") wanted = true;
}
