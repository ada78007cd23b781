/* View of text similarity: cosines of the vectors. */
import { html, useState } from "./vendor/htm-preact.js";
import { ask, useAnswer } from "./asking.js";
import { Form, shown } from "./parts.js";

const EXAMPLE = "A man is playing a guitar.\nSomebody makes music.\nThe stock market fell today.\nShares lost value.";

export function Similarity() {
  const [text, setText] = useState(EXAMPLE);
  const [state, run] = useAnswer();
  const compare = () => run(async () => {
    const texts = text.split("\n").map((line) => line.trim()).filter(Boolean).slice(0, 40);
    return { texts, vectors: await ask("embed", { inputs: texts, truncate: true }) };
  });
  return html`
    <p class="hint">One text per line. A model that was not trained to compare texts gives similar vectors to all:
      compare the values with each other.</p>
    <${Form} text=${text} setText=${setText} asked=${compare} state=${state} label="Compare" name="texts, one per line" rows="6" />
    ${state.answer && html`<${Cosines} ...${state.answer} />`}
  `;
}

function Cosines({ texts, vectors }) {
  const cosines = vectors.map((one) => vectors.map((other) => one.reduce((sum, value, index) => sum + value * other[index], 0)));
  const apart = cosines.flatMap((row, line) => row.filter((_, column) => column !== line));
  const [least, most] = [Math.min(...apart), Math.max(...apart)];
  // If all values are equal as shown, there is nothing to highlight.
  const level = (value) => most - least < 0.001 ? 0 : Math.min(4, Math.floor(5 * (value - least) / (most - least)));
  return html`<div class="scroll"><table>
    <tr><th></th>${texts.map((_, number) => html`<th class="number">${number + 1}</th>`)}<th></th></tr>
    ${texts.map((text, line) => html`<tr><th class="number">${line + 1}</th>
      ${texts.map((_, column) => html`<td class=${`number ${line === column ? "" : `a${level(cosines[line][column])}`}`}>
        ${line === column ? "" : shown(cosines[line][column])}</td>`)}
      <td>${text}</td></tr>`)}
  </table></div>`;
}
