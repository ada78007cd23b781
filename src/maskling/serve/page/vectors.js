/* Views of text similarity, ranked against a query, and of the tokens of a text. */
import { html } from "./vendor/htm-preact.js";
import { useAnswers, useFirst, useLinked } from "./asking.js";
import { Another, Bars, Field, Form, Sides, shown } from "./parts.js";
import { say } from "./words.js";

const MOST = 2000;

const textsOf = (examples) => examples.texts.length ? examples.texts
  : examples.pairs.length ? examples.pairs.flat() : examples.questions.flatMap(({ question, context }) => [question, context.slice(0, 120)]);

export function Similarity({ about, examples, shown: visible }) {
  const texts = textsOf(examples);
  const [query, setQuery] = useLinked("Similarity", "query", texts[0] ?? "");
  const [lines, setLines] = useLinked("Similarity", "lines", texts.slice(1).join("\n"));
  const [state, run] = useAnswers(about);
  const all = lines.split("\n").map((line) => line.trim()).filter(Boolean);
  const compare = () => run("similarity", {
    inputs: { source_sentence: query, sentences: all.slice(0, MOST) }, parameters: { truncate: true },
  }, { sentences: all.slice(0, MOST) });
  const ready = query.trim() && all.length;
  useFirst(visible, () => { if (ready) compare(); });
  return html`<div>
    <p class="hint">${say("The texts in the order of their similarity to the query: the cosine of their vectors. A model that was not trained to compare texts gives high values to all: compare the values with each other.")}</p>
    <${Form} view="Similarity" asked=${compare} state=${state} label=${say("Rank")} disabled=${!ready}
      fields=${html`<div><${Field} label=${say("Query")} value=${query} set=${setQuery} />
        <${Field} label=${say("Texts, one per line")} value=${lines} set=${setLines} rows="6" /></div>`}>
      ${all.length > MOST && html`<span class="hint">${say("only the first {most} of {count} lines are ranked", { most: MOST, count: all.length })}</span>`}
    <//>
    <${Sides} state=${state}>${(answer, { sentences }) => {
      const ranked = answer.map((value, index) => ({ value, text: sentences[index] })).sort((one, other) => other.value - one.value);
      // The bars show differences: of vectors that all are alike, the whole value would show none.
      const [least, most] = [Math.min(0.95 * ranked[0].value, ranked[ranked.length - 1].value), ranked[0].value];
      const bar = (value) => most > least ? 0.05 + 0.95 * (value - least) / (most - least) : 1;
      return html`<section class="card"><${Bars} label=${say("texts by similarity")}
        rows=${ranked.map(({ value, text }) => ({ name: text, share: bar(value), text: shown(value) }))} /></section>`;
    }}<//>
  </div>`;
}

export function Tokens({ about, examples, shown: visible }) {
  const [text, setText] = useLinked("Tokens", "text", textsOf(examples)[0] ?? "");
  const [state, run] = useAnswers(about);
  const split = (given = text) => run("tokenize", { inputs: given, add_special_tokens: true }, {}, (answer) => answer[0]);
  useFirst(visible, () => { if (text.trim()) split(); });
  return html`<div>
    <p class="hint">${say("The pieces of the vocabulary that the model reads, each with its number.")}</p>
    <${Form} view="Tokens" asked=${() => split()} state=${state} label=${say("Split")} disabled=${!text.trim()}
      fields=${html`<${Field} label=${say("Text")} value=${text} set=${setText} />`}>
      <${Another} examples=${examples.texts} take=${(one) => { setText(one); split(one); }} />
    <//>
    <${Sides} state=${state}>${(tokens) => html`<div>
      <p class="number">${say("{count} tokens", { count: tokens.length })}</p>
      <div class="read steps">${tokens.map((one, index) => html`<span key=${index} class=${`chip ${one.special ? "open" : ""}`}>
        <b>${one.text}</b><small>${one.id}</small></span>`)}</div></div>`}<//>
  </div>`;
}
