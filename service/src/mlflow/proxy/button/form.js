// The form for a new release: strategy, what belongs to it, and where it goes.
import { el } from './parts.js';

export const STRATEGIES = {
  single: { name: 'Single', says: 'The version takes all traffic in one step.' },
  canary: { name: 'Canary', says: 'The version gets a growing share; promote or roll back at any step.' },
  ab: { name: 'A/B', says: 'Both versions get fixed shares until one of them is promoted.' },
  shadow: { name: 'Shadow', says: 'The version gets copies of requests, and its answers are dropped.' },
  'blue-green': { name: 'Blue-green', says: 'The version stands ready beside the live one until all traffic is flipped.' },
};

const WHOLE = { inputmode: 'numeric', pattern: '[0-9]+' };
const PERIOD = { pattern: '([0-9]+(s|m|h|d))+', placeholder: 'such as 10m', title: 'a length of time such as 30s, 10m or 2h' };

const stableOf = ({ release }) => release?.spec.variants[0];

// An address with a scheme, also one such as `models:/fraud/1`; what follows the colon of an image is a port or a tag.
const MODEL_URI = /^[a-z][a-z0-9+.-]*:\//i;

/** The strategies other than single need a live version, and another one beside it. */
function strategyOf(state, values) {
  const stable = stableOf(state);
  return !stable || stable.version === state.version ? 'single' : values.strategy;
}

/** The form; `values` keeps what was typed, `move` is called with the key of another place. */
export function releaseForm(state, values, move) {
  const stable = stableOf(state);
  const isServed = stable?.version === state.version;
  const isFirst = !stable;
  values.strategy ??= 'canary';
  // What was chosen stays for places where it can be had.
  const chosen = strategyOf(state, values);
  const choices = Object.entries(STRATEGIES).map(([value, { name }]) => {
    const isOut = (isFirst || isServed) && value !== 'single';
    const radio = el('input', { type: 'radio', name: 'strategy', value, checked: value === chosen, disabled: isOut });
    return el('label', {}, radio, name);
  });
  const says = el('p', { class: 'weak', 'aria-live': 'polite' });
  const settings = el('div', { class: 'fields' });
  const fill = () => {
    says.textContent = STRATEGIES[strategyOf(state, values)].says;
    settings.replaceChildren(...settingsOf(state, values));
  };
  const group = el('fieldset', { onchange: (event) => ((values.strategy = event.target.value), fill()) }, el('legend', {}, 'Strategy'), el('div', { class: 'choices' }, ...choices));
  fill();
  const notes = [];
  if (isFirst) notes.push('The first version is released single; the other strategies need a live version to compare with.');
  if (isServed) notes.push(`Version ${state.version} is the live one.`);
  return el(
    'form',
    {},
    ...notes.map((note) => el('p', { class: 'note' }, note)),
    group,
    says,
    settings,
    place(state, values, move),
    el('div', { class: 'acts' }, el('button', { class: 'main', type: 'submit', 'data-preview': '' }, 'Show what changes')),
  );
}

function settingsOf(state, values) {
  const stable = stableOf(state);
  const field = (name, label, says, attributes = {}) => input(values, name, label, says, attributes);
  const baseline = stable && el('label', { class: 'field' }, el('span', {}, 'Compared with'), el('output', {}, `Version ${stable.version} (live)`));
  switch (strategyOf(state, values)) {
    case 'canary':
      values.steps ??= '5, 25, 50';
      return [
        baseline,
        field('steps', 'Steps in percent', 'Rising, up to 99', { pattern: '\\s*[0-9]+(\\s*,\\s*[0-9]+)*\\s*', required: true }),
        field('pause', 'Next step after', 'By hand unless given', PERIOD),
      ].filter(Boolean);
    case 'ab':
      values.weight ??= '50';
      return [baseline, field('weight', `Share of version ${state.version} in percent`, 'The rest stays with the live version', { ...WHOLE, required: true })].filter(Boolean);
    case 'shadow':
      values.percent ??= '100';
      return [baseline, field('percent', 'Mirrored in percent', 'Of the requests', { ...WHOLE, required: true })].filter(Boolean);
    case 'blue-green':
      return [
        baseline,
        field('auto', 'Flips by itself after', 'By hand unless given', PERIOD),
        field('delay', 'Keeps the old colour for', '30m unless given', PERIOD),
      ].filter(Boolean);
    default:
      return stable ? [el('label', { class: 'field' }, el('span', {}, 'Takes the place of'), el('output', {}, `Version ${stable.version}`))] : [];
  }
}

function input(values, name, label, says, attributes) {
  const box = el('input', { name, value: values[name] ?? '', autocomplete: 'off', spellcheck: 'false', oninput: (event) => (values[name] = event.target.value), ...attributes });
  return el('label', { class: 'field' }, el('span', {}, label), box, el('small', {}, says));
}

/** Where the release goes, and what serves it: usually as it is. */
function place(state, values, move) {
  const { key, environments, namespaces } = state;
  const changed = (part) => (event) => {
    if (!event.target.checkValidity()) return event.target.reportValidity();
    const next = { ...key, [part]: event.target.value.trim() };
    return move(`${next.environment}/${next.namespace}/${next.name}`);
  };
  const label = { pattern: '[a-z0-9]([a-z0-9\\-]*[a-z0-9])?', required: true, autocomplete: 'off', spellcheck: 'false' };
  const options = environments.map(({ name, hold }) => el('option', { value: name, selected: name === key.environment }, hold ? `${name} (held)` : name));
  const known = el('datalist', { id: 'namespaces' }, ...namespaces.map((name) => el('option', { value: name })));
  return el(
    'details',
    { open: Boolean(values.isPlaceOpen), ontoggle: (event) => (values.isPlaceOpen = event.target.open) },
    el('summary', {}, 'Where: ', el('b', {}, `${key.environment} / ${key.namespace} / ${key.name}`)),
    el(
      'div',
      { class: 'fields' },
      el('label', { class: 'field' }, el('span', {}, 'Environment'), el('select', { name: 'environment', onchange: changed('environment') }, ...options)),
      el('label', { class: 'field' }, el('span', {}, 'Namespace'), el('input', { name: 'namespace', value: key.namespace, list: 'namespaces', maxlength: '63', onchange: changed('namespace'), ...label })),
      el('label', { class: 'field' }, el('span', {}, 'Name'), el('input', { name: 'name', value: key.name, maxlength: '40', onchange: changed('name'), ...label })),
      known,
    ),
    input(values, 'artifact', 'Image or model URI', 'As the tags and the artifact of the version say unless given', {}),
  );
}

/** What is asked for. */
export function bodyOf(state, values) {
  const strategy = strategyOf(state, values);
  const body = { model: state.model, version: state.version, strategy, release: state.key };
  const text = (name) => values[name]?.trim() || undefined;
  const stable = stableOf(state);
  if (stable && strategy !== 'single') body.baseline = stable.version;
  switch (strategy) {
    case 'canary': {
      const weights = text('steps').split(',').map((step) => Number(step.trim()));
      const pause = text('pause');
      body.steps = pause ? weights.map((weight) => ({ weight, pause })) : weights;
      break;
    }
    case 'ab': {
      const weight = Number(text('weight'));
      body.weights = { a: 100 - weight, b: weight };
      break;
    }
    case 'shadow':
      body.percent = Number(text('percent'));
      break;
    case 'blue-green':
      body.scaleDownDelay = text('delay');
      body.autoPromoteAfter = text('auto');
      break;
  }
  const artifact = text('artifact');
  if (artifact) body[MODEL_URI.test(artifact) ? 'modelUri' : 'image'] = artifact;
  return body;
}
