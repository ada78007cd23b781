/* Views of a fine-tuned model: labels, a number, tags, or an answer. */
import { html } from "./vendor/htm-preact.js";
import { useAnswers, useFirst, useLinked } from "./asking.js";
import { origin } from "./language.js";
import { Another, Bars, Field, Form, Marked, Sides, shown } from "./parts.js";
import { say } from "./words.js";

export function Task(props) {
  return props.about.task === "answer" ? html`<${Question} ...${props} />` : html`<${OfTexts} ...${props} />`;
}

function OfTexts({ about, examples, shown: visible }) {
  const given = about.pairs ? examples.pairs : examples.texts.map((one) => [one, ""]);
  const [text, setText] = useLinked("Predict", "text", given[0]?.[0] ?? examples.texts[0] ?? "");
  const [pair, setPair] = useLinked("Predict", "text_pair", about.pairs ? given[0]?.[1] ?? examples.texts[1] ?? "" : "");
  const [state, run] = useAnswers(about);
  const judge = (one = text, other = pair) =>
    run("predict", { inputs: about.pairs ? { text: one, text_pair: other } : one }, { text: one });
  const take = ([one, other]) => {
    setText(one);
    setPair(other);
    judge(one, other);
  };
  const ready = text.trim() && (!about.pairs || pair.trim());
  useFirst(visible, () => { if (ready) judge(); });
  return html`<div>
    <p class="hint">${say(about.pairs ? "Two texts, like those the model was trained on." : "A text, like those the model was trained on.")}${origin(examples)}</p>
    <${Form} view="Predict" asked=${() => judge()} state=${state} label=${say("Predict")} disabled=${!ready}
      fields=${about.pairs
        ? html`<div class="two"><${Field} label=${say("First text")} value=${text} set=${setText} /><${Field} label=${say("Second text")} value=${pair} set=${setPair} /></div>`
        : html`<${Field} label=${say("Text")} value=${text} set=${setText} />`}>
      <${Another} examples=${given} take=${take} />
    <//>
    <${Sides} state=${state}>${(answer, kept) => html`<${Said} about=${about} text=${kept.text} said=${answer} />`}<//>
  </div>`;
}

/* The types of tags in their order, for their colours: PER of B-PER and I-PER. */
const typesOf = (labels) => [...new Set(labels.filter((one) => one !== "O").map((one) => one.replace(/^[BIESLU]-/, "")))];

function Said({ about, text, said }) {
  if (about.task === "tag") {
    const types = typesOf(about.labels);
    const type = (one) => one.entity_group ?? one.entity;
    const spans = said.map((one) => ({ start: one.start, end: one.end, note: type(one), kind: types.indexOf(type(one)) }));
    const present = [...new Set(said.map(type))];
    return html`<div><${Marked} text=${text} spans=${spans} />
      <p class="legend">${present.map((one) => html`<mark key=${one} class=${`kind${types.indexOf(one) % 6}`}>${one}</mark> `)}${
        !said.length && say("No entities found.")}</p>
      <details><summary>${say("all as a list")}</summary><section class="card"><${Bars} label=${say("all as a list")}
        rows=${said.map((one) => ({ name: one.word, note: type(one), share: one.score }))} /></section></details></div>`;
  }
  if (about.task === "regress") return html`<p class="card">${said[0].label}: <b>${shown(said[0].score)}</b></p>`;
  return html`<section class="card"><${Bars} label=${say("labels")} rows=${said.map((one) => ({ name: one.label, share: one.score }))} /></section>`;
}

function Question({ about, examples, shown: visible }) {
  const example = examples.questions[0] ?? { question: "", context: examples.texts[0] ?? "" };
  const [question, setQuestion] = useLinked("Predict", "question", example.question);
  const [context, setContext] = useLinked("Predict", "context", example.context);
  const [state, run] = useAnswers(about);
  const answer = (one = question, other = context) => run("./", { inputs: { question: one, context: other }, parameters: { top_k: 5 } }, { context: other });
  const take = (one) => {
    setQuestion(one.question);
    setContext(one.context);
    answer(one.question, one.context);
  };
  const ready = question.trim() && context.trim();
  useFirst(visible, () => { if (ready) answer(); });
  return html`<div>
    <p class="hint">${say("A question, and a text that contains its answer.")}${origin(examples)}</p>
    <${Form} view="Predict" asked=${() => answer()} state=${state} label=${say("Answer")} disabled=${!ready}
      fields=${html`<div><${Field} label=${say("Question")} value=${question} set=${setQuestion} rows="1" />
        <${Field} label=${say("Text")} value=${context} set=${setContext} rows="5" /></div>`}>
      <${Another} examples=${examples.questions} take=${take} />
    <//>
    <${Sides} state=${state}>${(found, kept) => {
      const [best] = found;
      return html`<div>${best.answer
        ? html`<${Marked} text=${kept.context} spans=${[{ start: best.start, end: best.end, note: shown(best.score) }]} />`
        : html`<p class="hint">${say("No answer in the text.")} (${shown(best.score)})</p>`}
        <section class="card"><h2>${say("candidates")}</h2><${Bars} label=${say("candidates")}
          rows=${found.map((one) => ({ name: one.answer || say("no answer"), share: one.score }))} /></section></div>`;
    }}<//>
  </div>`;
}
