/* Views of a fine-tuned model: labels, a number, tags, or an answer. */
import { html, useState } from "./vendor/htm-preact.js";
import { ask, useAnswer } from "./asking.js";
import { Bars, Form, Marked, shown } from "./parts.js";

export function Task({ about }) {
  if (about.task === "answer") return html`<${Question} />`;
  return html`<${OfTexts} about=${about} />`;
}

function OfTexts({ about }) {
  const [text, setText] = useState("");
  const [pair, setPair] = useState("");
  const [state, run] = useAnswer();
  const judge = () => run(async () => {
    const inputs = about.pairs ? { text, text_pair: pair } : text;
    return { text, said: await ask("predict", { inputs }) };
  });
  return html`
    <p class="hint">${about.pairs ? "Two texts" : "A text"}, like those the model was trained on.</p>
    ${about.pairs && html`<textarea aria-label="first text" value=${text} onInput=${(event) => setText(event.target.value)} />`}
    <${Form} text=${about.pairs ? pair : text} setText=${about.pairs ? setPair : setText} asked=${judge} state=${state}
      label="Predict" name=${about.pairs ? "second text" : "text"} />
    ${state.answer && html`<${Said} about=${about} ...${state.answer} />`}
  `;
}

function Said({ about, text, said }) {
  if (about.task === "tag") {
    const spans = said.map((one) => ({ start: one.start, end: one.end, note: one.entity_group ?? one.entity }));
    return html`<div><${Marked} text=${text} spans=${spans} />${!said.length && html`<p class="hint">No entities found.</p>`}</div>`;
  }
  if (about.task === "regress") return html`<p class="card">${said[0].label}: <b>${shown(said[0].score)}</b></p>`;
  return html`<section class="card"><${Bars} rows=${said.map((one) => ({ name: one.label, share: one.score }))} /></section>`;
}

function Question() {
  const [question, setQuestion] = useState("");
  const [context, setContext] = useState("");
  const [state, run] = useAnswer();
  const answer = () => run(async () => ({ context, said: await ask("predict", { inputs: { question, context } }) }));
  const said = state.answer?.said;
  return html`
    <p class="hint">A question, and a text that contains its answer.</p>
    <textarea aria-label="question" value=${question} onInput=${(event) => setQuestion(event.target.value)} />
    <${Form} text=${context} setText=${setContext} asked=${answer} state=${state} label="Answer" name="context" />
    ${said && (said.answer
      ? html`<${Marked} text=${state.answer.context} spans=${[{ start: said.start, end: said.end, note: shown(said.score) }]} />`
      : html`<p class="hint">No answer in the text (${shown(said.score)}).</p>`)}
  `;
}
