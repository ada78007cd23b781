/* Views of a masked language model: filling masks, and scoring texts. */
import { html, useState } from "./vendor/htm-preact.js";
import { ask, useAnswer } from "./asking.js";
import { Bars, Form } from "./parts.js";

export function Fill({ about }) {
  const mask = about.mask_token;
  const [text, setText] = useState(`The quick brown ${mask} jumps over the lazy ${mask}.`);
  const [topK, setTopK] = useState(8);
  const [whole, setWhole] = useState(false);
  const [state, run] = useAnswer();
  const fill = (given) => run(() => ask("fill", { text: given, top_k: topK, whole_words: whole }));
  const take = (candidate) => {
    setText(candidate.text);
    if (candidate.text.includes(mask)) fill(candidate.text);
  };
  const masks = state.answer?.masks ?? [];
  return html`
    <p class="hint">Write ${mask} where a word is missing. Click a prediction to insert it.</p>
    <${Form} text=${text} setText=${setText} asked=${() => fill(text)} state=${state} label="Fill">
      <button onClick=${() => setText(`${text} ${mask}`)}>+ ${mask}</button>
      <label>words <input type="number" min="1" max="100" value=${topK}
        onInput=${(event) => setTopK(Math.max(1, Math.min(100, +event.target.value || 1)))} /></label>
      <label><input type="checkbox" checked=${whole} onChange=${(event) => setWhole(event.target.checked)} />
        ${" "}whole words only</label>
    <//>
    <div class="cards">${masks.map((candidates, number) => html`
      <section class="card" key=${number}>
        <h2>${masks.length > 1 ? `mask ${number + 1}` : "predictions"}</h2>
        <${Bars} chosen=${(index) => take(candidates[index])} rows=${candidates.map((one) => ({
          name: one.word, share: one.probability, title: one.text,
        }))} />
      </section>`)}</div>
    ${state.answer?.cut && html`<p class="hint">The text was too long; the parts farthest from the masks were cut.</p>`}
  `;
}

const LEVELS = [-1, -3, -6, -10];

export function Score() {
  const [text, setText] = useState("The dog barks at the cat. The dog bark at the cat.");
  const [state, run] = useAnswer();
  const score = () => run(() => ask("score", { text, per: "word", method: "within-word-l2r" }));
  const found = state.answer;
  return html`
    <p class="hint">Words coloured by their log-probability given all other words: the redder, the less expected.</p>
    <${Form} text=${text} setText=${setText} asked=${score} state=${state} label="Score" />
    ${found && html`
      <p class="read">${found.words.map((word, number) => html`<mark key=${number}
        class=${`l${LEVELS.filter((level) => word.log_probability < level).length}`}
        title=${`log-probability ${word.log_probability.toFixed(2)}`}>${word.word}</mark>${" "}`)}</p>
      <p class="number">log-probability ${found.total.toFixed(2)}, ${found.num_tokens} tokens${
        found.perplexity === null ? "" : `, perplexity ${found.perplexity.toFixed(1)} per token`}</p>`}
  `;
}
