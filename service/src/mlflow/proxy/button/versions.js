// The versions of a model, for a page that names none: asked of MLflow itself, newest first.
import { el, problemBox } from './parts.js';

// As many as a list can be looked through; the others follow by a press.
const PAGE = 100;

/** The view in which one is chosen; `take` gets its number. What MLflow refuses is thrown as a problem. */
export async function versionChoice(base, model, take) {
  const select = el('select', { name: 'version' });
  const trouble = el('div');
  let token;
  const older = el('button', { type: 'button', 'data-older': '', onclick: () => more().catch((problem) => trouble.replaceChildren(problemBox(problem))) }, 'Older versions');
  const more = async () => {
    let page;
    do {
      page = await search(base, model, token);
      token = page.token;
    } while (token && !page.versions.length);
    select.append(...page.versions.map((version) => el('option', { value: version }, version)));
    older.hidden = !token;
    trouble.replaceChildren();
  };
  await more();
  if (!select.length) throw { detail: `MLflow has no version of the model \`${model}\``, cure: 'register one, then try again' };
  const field = el('label', { class: 'field' }, el('span', {}, 'Version'), select);
  const go = el('button', { class: 'main', type: 'button', onclick: () => take(select.value) }, 'Go on');
  return { content: [field, trouble], actions: [older, go] };
}

async function search(base, model, token) {
  const query = new URLSearchParams({ filter: isOf(model), max_results: String(PAGE), order_by: 'version_number DESC', ...(token && { page_token: token }) });
  const answer = await fetch(new URL(`../ajax-api/2.0/mlflow/model-versions/search?${query}`, base)).catch(() => null);
  const said = await answer?.json().catch(() => null);
  if (!answer?.ok || !said) {
    const why = said?.message ? `: ${said.message}` : answer ? ` (${answer.status})` : ', because the service cannot be reached';
    throw { status: answer?.status, detail: `MLflow does not list the versions of \`${model}\`${why}`, cure: 'try again, or open the page of a version and press Release there' };
  }
  const mine = (said.model_versions || []).filter(({ name }) => name === model);
  return { versions: mine.map(({ version }) => version), token: said.next_page_token };
}

/** The condition that a version is of a model. MLflow's language quotes but cannot escape; what cannot be quoted stands for any character. */
function isOf(model) {
  if (!/['\\]/.test(model)) return `name = '${model}'`;
  if (!/["\\]/.test(model)) return `name = "${model}"`;
  return `name LIKE '${model.replace(/['"\\]/g, '_')}'`;
}
