/* The page: a description of the model, and a view for each thing it can do. */
import { html, render, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ask, followLink, linkedView, modelsOf, show } from "./asking.js";
import { Attention } from "./attention.js";
import { Generation } from "./generation.js";
import { Fill, Score } from "./language.js";
import { Select } from "./parts.js";
import { Task } from "./task.js";
import { Similarity, Tokens } from "./vectors.js";
import { chooseLanguage, language, say } from "./words.js";

function viewsOf(about) {
  if (about.task === "fill-mask") return { Fill, Score, Generation, Similarity, Attention, Tokens };
  return about.task === "embed" ? { Similarity, Attention, Tokens } : { Predict: Task, Similarity, Attention, Tokens };
}

const THEME = "maskling-theme";

function Page() {
  const [loaded, setLoaded] = useState(null);
  const [problem, setProblem] = useState(null);
  const [chosen, setChosen] = useState(linkedView());
  const [, redraw] = useState(0);
  const [theme, setTheme] = useState(localStorage.getItem(THEME) ?? "auto");
  useEffect(() => {
    Promise.all([ask("info"), ask("examples").catch(() => ({ origin: "script", texts: [], pairs: [], questions: [] }))])
      .then(([about, examples]) => setLoaded({ about, examples }), (error) => setProblem(error.message));
    const followed = () => setChosen(followLink());
    addEventListener("popstate", followed);
    return () => removeEventListener("popstate", followed);
  }, []);
  useEffect(() => { if (loaded) document.title = `${loaded.about.model_id} · maskling`; }, [loaded]);
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem(THEME, theme);
  }, [theme]);
  const tabs = useRef(null);
  if (problem) return html`<main><p class="problem" role="alert">${problem}</p></main>`;
  if (!loaded) return html`<main></main>`;
  const { about, examples } = loaded;
  const views = viewsOf(about);
  const names = Object.keys(views);
  const name = names.includes(chosen) ? chosen : names[0];
  const open = (one) => {
    setChosen(one);
    show(one);
  };
  const keys = (event) => {
    const at = names.indexOf(name);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = names[(to + names.length) % names.length];
    open(next);
    tabs.current.querySelector(`#tab-${next}`).focus();
  };
  const inLanguage = (one) => {
    chooseLanguage(one);
    redraw((count) => count + 1);
  };
  return html`<main>
    <header>
      <h1>${modelsOf(about).map((one) => one.name).join(" · ")}</h1>
      <span class="facts">${say("{task}, {layers} layers of {size}, {vocabulary} tokens, at most {length} per input", {
        task: about.task, layers: about.num_layers, size: about.hidden_size,
        vocabulary: about.vocab_size.toLocaleString("en"), length: about.max_input_length,
      })} · ${about.runs_on} · <a href="docs">${say("endpoints")}</a></span>
      <div class="choices">
        <${Select} label=${say("Language")} value=${language()} set=${inLanguage} options=${[["en", "English"], ["zh", "中文"]]} />
        <${Select} label=${say("Colours")} value=${theme} set=${setTheme}
          options=${[["auto", say("automatic")], ["light", say("light")], ["dark", say("dark")]]} />
      </div>
    </header>
    <div class="tabs" role="tablist" aria-label=${say("Views")} ref=${tabs} onKeyDown=${keys}>${names.map((one) => html`
      <button type="button" key=${one} id=${`tab-${one}`} role="tab" aria-selected=${one === name} aria-controls=${`panel-${one}`}
        tabIndex=${one === name ? 0 : -1} onClick=${() => open(one)}>${say(one)}</button>`)}</div>
    ${Object.entries(views).map(([one, View]) => html`
      <div key=${one} id=${`panel-${one}`} role="tabpanel" aria-labelledby=${`tab-${one}`} hidden=${one !== name}>
        <${View} about=${about} examples=${examples} shown=${one === name} /></div>`)}
  </main>`;
}

render(html`<${Page} />`, document.body);
