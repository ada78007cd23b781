/* Parts that several views share. */
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { linkTo } from "./asking.js";
import { say } from "./words.js";

/* Fields, a button, and one line for the state of the request, which keeps its place; Ctrl-Enter submits too. */
export function Form({ view, asked, state, label, disabled, fields, children }) {
  const keys = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !disabled && !state.busy) asked();
  };
  return html`
    <form aria-busy=${!!state.busy} onSubmit=${(event) => { event.preventDefault(); if (!disabled && !state.busy) asked(); }} onKeyDown=${keys}>
      ${fields}
      <div class="row">
        <button type="submit" class="main" aria-disabled=${!!(state.busy || disabled)}>${label}</button>
        ${children}
      </div>
      <${Status} state=${state} />
      <${Share} view=${view} command=${state.command} />
    </form>`;
}

function Status({ state }) {
  const [seconds, set] = useState(0);
  useEffect(() => {
    if (!state.busy) return undefined;
    const began = performance.now();
    set(0);
    const timer = setInterval(() => set((performance.now() - began) / 1000), 200);
    return () => clearInterval(timer);
  }, [state.busy]);
  return html`<p class=${`status ${state.problem ? "problem" : ""}`} role=${state.problem ? "alert" : "status"}>${
    state.problem ?? (state.busy && seconds > 0.4 ? `${say("working")} ${seconds.toFixed(1)} s` : "")}</p>`;
}

/* The link to this state, and the request for a terminal. */
function Share({ view, command }) {
  return html`<details class="share">
    <summary>${say("Share")}</summary>
    <div class="row"><${Copy} label=${say("Copy link")} text=${() => new URL(linkTo(view), location.href).href} /></div>
    ${command && html`<div>
      <pre tabIndex="0" aria-label="curl">${command}</pre>
      <div class="row"><${Copy} label=${say("Copy as curl")} text=${() => command} /></div>
    </div>`}
  </details>`;
}

function Copy({ label, text }) {
  const [done, set] = useState(false);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      // Without https there is no clipboard but the old one.
      const field = Object.assign(document.createElement("textarea"), { value: text() });
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    set(true);
    setTimeout(() => set(false), 1500);
  };
  return html`<button type="button" onClick=${copy}>${done ? say("Copied") : label}</button>`;
}

let ids = 0;

/* A field with a visible label. */
export function Field({ label, value, set, rows = 2, lang }) {
  const id = useRef(`field${++ids}`).current;
  return html`<div class="field"><label for=${id}>${label}</label>
    <textarea id=${id} rows=${rows} value=${value} lang=${lang} onInput=${(event) => set(event.target.value)} /></div>`;
}

export function NumberField({ label, value, set, min, max, step = 1 }) {
  const given = (event) => {
    const number = +event.target.value;
    if (event.target.value !== "" && number >= min && number <= max) set(number);
  };
  return html`<label>${label} <input type="number" min=${min} max=${max} step=${step} value=${value} onInput=${given} /></label>`;
}

export function Check({ label, value, set }) {
  return html`<label class="check"><input type="checkbox" checked=${value} onChange=${(event) => set(event.target.checked)} /> ${label}</label>`;
}

/* A list to choose from; options: [value, text]. */
export function Select({ label, value, set, options }) {
  return html`<label>${label} <select value=${value} onChange=${(event) => set(event.target.value)}>
    ${options.map(([one, text]) => html`<option key=${one} value=${one} selected=${one === value}>${text}</option>`)}
  </select></label>`;
}

/* A button that puts the next example into the fields. */
export function Another({ examples, take }) {
  const next = useRef(1);
  if (examples.length < 2) return null;
  return html`<button type="button" onClick=${() => take(examples[next.current++ % examples.length])}>${say("Another example")}</button>`;
}

/* The answers of the models side by side; children: a function from an answer to its view. */
export function Sides({ state, children }) {
  if (!state.answers) return null;
  const several = state.answers.length > 1;
  return html`<div class=${`sides ${several ? "several" : ""}`} aria-busy=${!!state.busy}>
    ${state.answers.map((one) => html`<section key=${one.name} class="side" aria-label=${one.name}>
      ${several && html`<h2 class="model">${one.name}</h2>`}
      ${one.problem ? html`<p class="problem">${one.problem}</p>` : children(one.answer, state.kept)}
    </section>`)}
  </div>`;
}

/* Bars for rows of {name, share, text, note, right}; a click on one calls chosen with its index. */
export function Bars({ rows, chosen, label }) {
  const inside = (row) => html`
    <svg preserveAspectRatio="none" viewBox="0 0 100 1" aria-hidden="true">
      <rect width=${100 * Math.max(0, Math.min(1, row.share))} height="1" />
    </svg>
    <span>${row.name}${row.note && html` <small>${row.note}</small>`}</span><span class="number">${row.text ?? shown(row.share)}</span>`;
  return html`<ol class="bars" aria-label=${label}>${rows.map((row, index) => html`<li key=${index}>${chosen
    ? html`<button type="button" class=${row.right ? "right" : ""} onClick=${() => chosen(index)}>${inside(row)}</button>`
    : html`<div class=${row.right ? "bar right" : "bar"}>${inside(row)}</div>`}</li>`)}</ol>`;
}

export function shown(value) {
  if (value === null || !Number.isFinite(value)) return "–";
  return Math.abs(value) >= 0.001 || value === 0 ? value.toFixed(3) : value.toExponential(0);
}

/* A text with marked spans of {start, end, kind, note}, in code points, as Python counts characters; kind: the number of
   the colour. */
export function Marked({ text, spans }) {
  const letters = [...text];
  const pieces = [];
  let done = 0;
  for (const { start, end, kind = 0, note } of [...spans].sort((one, other) => one.start - other.start)) {
    if (start < done) continue;
    pieces.push(letters.slice(done, start).join(""));
    pieces.push(html`<mark class=${`kind${kind % 6}`}>${letters.slice(start, end).join("")}<small>${note}</small></mark>`);
    done = end;
  }
  pieces.push(letters.slice(done).join(""));
  return html`<div class="read">${pieces}</div>`;
}

/* The words of a text, {text, start, stop, isWord}, in UTF-16 units; words of Chinese too. */
export function segments(text) {
  if (!("Segmenter" in Intl)) {
    return [...text.matchAll(/[\p{L}\p{N}_]+|[^\p{L}\p{N}_]/gu)].map((match) => ({
      text: match[0], start: match.index, stop: match.index + match[0].length, isWord: /[\p{L}\p{N}]/u.test(match[0]) }));
  }
  return [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(text)].map((one) => ({
    text: one.segment, start: one.index, stop: one.index + one.segment.length, isWord: one.isWordLike }));
}
