/* View of attention: a heat map per head, and the lines of one head. */
import { html, useEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ask, useAnswer } from "./asking.js";
import { Form } from "./parts.js";

export function Attention({ about }) {
  const [text, setText] = useState("The dog chased the cat because it was hungry.");
  const [chosen, setChosen] = useState([0, 0]);
  const [state, run] = useAnswer();
  const look = () => run(() => ask("attention", { text }));
  const maps = state.answer;
  return html`
    <p class="hint">Each picture is a head, each row of pictures a layer. Rows of a picture are the attending tokens, columns the
      attended ones. Lines show the attention of the left token to the right one; point at a token to see only its lines.</p>
    <${Form} text=${text} setText=${setText} asked=${look} state=${state} label="Show" />
    ${maps && html`<div class="looks">
      <div>${maps.weights.map((heads, layer) => html`
        <div class="heads" key=${layer}><span class="number">${layer}</span>${heads.map((weights, head) => html`
          <button key=${head} title=${`layer ${layer}, head ${head}`} aria-pressed=${chosen[0] === layer && chosen[1] === head}
            onClick=${() => setChosen([layer, head])}><${Picture} weights=${weights} /></button>`)}</div>`)}</div>
      <${Lines} tokens=${maps.tokens} layer=${chosen[0]} head=${chosen[1]} weights=${maps.weights[chosen[0]][chosen[1]]} />
    </div>`}
  `;
}

function Picture({ weights }) {
  const ref = useRef(null);
  useEffect(() => {
    const size = weights.length;
    const canvas = ref.current;
    canvas.width = canvas.height = size;
    const pixels = canvas.getContext("2d").createImageData(size, size);
    const ink = matchMedia("(prefers-color-scheme: dark)").matches ? [134, 168, 255] : [47, 95, 208];
    weights.flat().forEach((weight, index) => pixels.data.set([...ink, 255 * Math.min(1, 1.5 * weight)], 4 * index));
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  }, [weights]);
  return html`<canvas ref=${ref} />`;
}

const STEP = 22;

function Lines({ tokens, weights, layer, head }) {
  const [pointed, point] = useState(null);
  const height = STEP * tokens.length + 10;
  const y = (token) => STEP * token + 18;
  const lines = weights.flatMap((row, from) => row.map((weight, to) => ({ from, to, weight })))
    .filter(({ from, weight }) => weight >= 0.02 && (pointed === null || pointed === from));
  return html`<div class="lines">
    <p class="number">layer ${layer}, head ${head}</p>
    <svg class="attention" viewBox=${`0 0 500 ${height}`} role="img" aria-label=${`attention of layer ${layer}, head ${head}`}>
      ${lines.map(({ from, to, weight }) => html`<line key=${`${from} ${to}`} x1="165" y1=${y(from) - 4} x2="335" y2=${y(to) - 4}
        stroke-opacity=${Math.min(1, weight)} stroke-width=${0.5 + 2 * weight} />`)}
      ${tokens.map((token, number) => html`
        <g key=${number} onMouseEnter=${() => point(number)} onMouseLeave=${() => point(null)}>
          <rect x="0" y=${y(number) - 15} width="165" height=${STEP} fill="transparent" />
          <text x="158" y=${y(number)} text-anchor="end">${token}</text>
        </g>
        <text x="342" y=${y(number)} class=${pointed !== null && weights[pointed][number] < 0.02 ? "faint" : ""}>${token}${
          pointed === null || weights[pointed][number] < 0.02 ? "" : `  ${weights[pointed][number].toFixed(2)}`}</text>`)}
    </svg>
  </div>`;
}
