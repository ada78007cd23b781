/* Parts that several views share. */
import { html } from "./vendor/htm-preact.js";

/* A text field and a button; Ctrl-Enter submits too. One root element: with several, of which the last comes and goes,
   Preact would put the next answer above the form. */
export function Form({ text, setText, asked, state, label, children, name = "text", rows = 2 }) {
  const keys = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) asked();
  };
  return html`
    <div>
      <textarea aria-label=${name} rows=${rows} value=${text} onInput=${(event) => setText(event.target.value)} onKeyDown=${keys} />
      <div class="row">
        <button class="main" disabled=${state.busy || !text.trim()} onClick=${asked}>${state.busy ? "…" : label}</button>
        ${children}
      </div>
      ${state.problem && html`<p class="problem" role="alert">${state.problem}</p>`}
    </div>
  `;
}

/* Bars for rows of {name, share, title}; a click on one calls chosen with its index. */
export function Bars({ rows, chosen }) {
  return html`<div class="bars">${rows.map((row, index) => html`
    <button key=${index} title=${row.title} disabled=${!chosen} onClick=${() => chosen(index)}>
      <svg preserveAspectRatio="none" viewBox="0 0 100 1" aria-hidden="true">
        <rect width=${100 * Math.max(0, Math.min(1, row.share))} height="1" />
      </svg>
      <span>${row.name}</span><span class="number">${shown(row.share)}</span>
    </button>`)}</div>`;
}

export function shown(value) {
  return Math.abs(value) >= 0.001 || value === 0 ? value.toFixed(3) : value.toExponential(0);
}

/* A text with marked spans of {start, end, note}, in code points, as Python counts characters. */
export function Marked({ text, spans }) {
  const letters = [...text];
  const pieces = [];
  let done = 0;
  for (const { start, end, note } of [...spans].sort((one, other) => one.start - other.start)) {
    if (start < done) continue;
    pieces.push(letters.slice(done, start).join(""));
    pieces.push(html`<mark>${letters.slice(start, end).join("")}<small>${note}</small></mark>`);
    done = end;
  }
  pieces.push(letters.slice(done).join(""));
  return html`<div class="read">${pieces}</div>`;
}
