// What the dialog is made of.

/** An element with attributes, handlers and children; texts become text. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A sentence whose words in backticks are code. */
export function prose(text) {
  return String(text)
    .split('`')
    .map((part, at) => (at % 2 ? el('code', {}, part) : part));
}

/** A moment, and how long ago it was. */
export function when(text) {
  const moment = new Date(text);
  const seconds = Math.max(0, (Date.now() - moment) / 1000);
  const units = [['day', 86400], ['hour', 3600], ['minute', 60], ['second', 1]];
  const [unit, length] = units.find(([, length]) => seconds >= length) || units[3];
  const ago = new Intl.RelativeTimeFormat('en', { numeric: 'auto' }).format(-Math.floor(seconds / length), unit);
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' }).format(moment);
  return el('time', { datetime: text }, `${exact} (${ago})`);
}

/** A refusal with what helps. */
export function problemBox({ detail, cure, violations = [] }) {
  const capital = (text) => text && text[0].toUpperCase() + text.slice(1);
  const others = violations.length > 1 ? [el('ul', {}, ...violations.map(({ field, detail }) => el('li', {}, el('code', {}, field), ' ', ...prose(detail))))] : [];
  return el('div', { class: 'problem', role: 'alert' }, el('strong', {}, ...prose(capital(detail))), ...others, cure ? el('p', {}, ...prose(capital(cure))) : null);
}

/** A diff with its lines told apart. */
export function diffBox(diff, label = 'Changes in the repository') {
  const kind = (line) => {
    if (line.startsWith('+++') || line.startsWith('---')) return 'file';
    if (line.startsWith('@@')) return 'hunk';
    return { '+': 'added', '-': 'removed' }[line[0]] || '';
  };
  const lines = diff.trimEnd().split('\n').map((line) => el('span', { class: kind(line) }, line || ' '));
  return el('pre', { tabindex: '0', role: 'region', 'aria-label': label }, ...lines);
}
