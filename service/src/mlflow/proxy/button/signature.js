// How what callers send would change: what breaks them first, then what they need not know.
import { el, prose, diffBox } from './parts.js';

/** The difference between what the live version takes and what the new one takes. */
export function signatureBox({ lines, breaks = [], moreBreaks = 0, warning }, live) {
  const box = el('section', { class: 'signature', 'aria-labelledby': 'signature' }, el('h3', { id: 'signature' }, 'What callers send'));
  if (breaks.length) {
    const items = breaks.map(({ input, fault }) => el('li', {}, el('code', {}, input), ' ', ...prose(fault)));
    if (moreBreaks) items.push(el('li', {}, `… and ${moreBreaks} more`));
    box.append(el('div', { class: 'problem', 'data-breaks': '' }, el('strong', {}, `This breaks callers of the live version ${live}`), el('ul', {}, ...items)));
  }
  if (warning) box.append(el('p', { class: 'note warn' }, `${warning[0].toUpperCase()}${warning.slice(1)}.`));
  // A long difference ends with how much is left out of it.
  const left = lines.filter((line) => line.startsWith('… '));
  const isOf = (line, { input }) => line.startsWith(`- ${input}: `) || line.startsWith(`+ ${input}: `);
  const others = lines.filter((line) => !left.includes(line) && !breaks.some((one) => isOf(line, one)));
  if (others.length) box.append(el('p', { class: 'weak' }, kindOf(others, warning)), diffBox(others.join('\n'), 'Inputs that differ'));
  box.append(...left.map((line) => el('p', { class: 'weak' }, line)));
  return box;
}

/** What can be said of differences that break nobody, as far as that is known. */
function kindOf(lines, warning) {
  const isAdded = lines.every((line) => line.startsWith('+ '));
  if (warning) return isAdded ? 'What this version takes:' : 'What the live version takes:';
  return isAdded ? 'Merely added, which breaks nobody:' : 'Merely added or made wider, which breaks nobody:';
}
