/* The page: a description of the model, and a view for each thing it can do. */
import { html, render, useEffect, useState } from "./vendor/htm-preact.js";
import { ask } from "./asking.js";
import { Attention } from "./attention.js";
import { Fill, Score } from "./language.js";
import { Task } from "./task.js";
import { Similarity } from "./vectors.js";

function viewsOf(about) {
  if (about.task === "fill-mask") return { Fill, Score, Similarity, Attention };
  return about.task === "embed" ? { Similarity, Attention } : { Predict: Task, Similarity, Attention };
}

function Page() {
  const [about, setAbout] = useState(null);
  const [problem, setProblem] = useState(null);
  const [chosen, setChosen] = useState(decodeURIComponent(location.hash.slice(1)));
  useEffect(() => {
    ask("info").then(setAbout, (error) => setProblem(error.message));
    const followed = () => setChosen(decodeURIComponent(location.hash.slice(1)));
    addEventListener("hashchange", followed);
    return () => removeEventListener("hashchange", followed);
  }, []);
  useEffect(() => { if (about) document.title = `${about.model_id} · maskling`; }, [about]);
  if (problem) return html`<main><p class="problem" role="alert">${problem}</p></main>`;
  if (!about) return html`<main></main>`;
  const views = viewsOf(about);
  const name = chosen in views ? chosen : Object.keys(views)[0];
  return html`<main>
    <header>
      <h1>${about.model_id}</h1>
      <span class="facts">${about.task}, ${about.num_layers} layers of ${about.hidden_size}, ${about.vocab_size.toLocaleString("en")}
        ${" "}tokens, at most ${about.max_input_length} per input · ${about.runs_on} · <a href="docs">endpoints</a></span>
    </header>
    <nav role="tablist">${Object.keys(views).map((one) => html`
      <button key=${one} role="tab" aria-selected=${one === name} onClick=${() => { location.hash = one; }}>${one}</button>`)}</nav>
    ${Object.entries(views).map(([one, View]) => html`
      <div key=${one} role="tabpanel" hidden=${one !== name}><${View} about=${about} /></div>`)}
  </main>`;
}

render(html`<${Page} />`, document.body);
